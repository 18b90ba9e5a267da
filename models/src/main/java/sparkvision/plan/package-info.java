/**
 * The compiler: a graph becomes a list of steps over planned memory.
 *
 * <pre>
 *   graph.lowered(kinds that have a kernel)      regions without one become their composites
 *     -> Lowering: a Kernel per node             emits steps, binds values, puts gradients on a tape
 *     -> the tape, in reverse                    emits the backward steps
 *     -> Program.allocate                        places every storage, prepares every primitive
 * </pre>
 *
 * <p><b>Values</b> are sizes and strides over a storage, so permuting, slicing and most reshaping
 * cost nothing. Maps lie channels last; whoever needs another order copies, and such reorders are
 * counted ({@code bench step --explain}). <b>Memory</b> is planned over forward and backward: a
 * storage's life is from its first step to its last, the largest are placed first. With {@code
 * poison} every value has memory of its own, full of NaN; the results are the same bits.
 *
 * <p><b>Fused</b>: batch norm with ReLU; ReLU behind a convolution or a linear layer, in inference
 * with the norm between; bias always; attention as one kernel that keeps no map ({@code
 * Attention}), criss-cross attention as that kernel on rows and on columns ({@code CrissCross});
 * the selective scan ({@code SelectiveScan}) and what is convolved before it ({@code CausalConv}).
 * <b>Deferred</b>: a batch norm that one convolution reads is made some images at a time in front
 * of it, forward and again backward, and its gradient is consumed likewise ({@code Convolution},
 * {@code BatchNorm}): the largest tensors of a DenseNet never reach memory. A concatenation of
 * channels is not carried out ({@code Concatenations}).
 *
 * <p><b>bfloat16</b>: what convolutions and products multiply, and activations between them.
 * Weights, their gradients, sums, moments, softmax and losses stay float32. On a CPU without
 * oneDNN's bfloat16 kernels (below AVX-512) the plan is compiled in float32.
 *
 * <p><b>Fewer multiplications</b>: float32 convolutions of 3 x 3 windows go by {@code Winograd},
 * where maps are large enough to pay for its transforms. {@code bench step} counts the operations
 * of the plain sum all the same.
 *
 * <h2>Measured</h2>
 *
 * <p>{@code scripts/bench --peer --rounds 9} (the last three rows: 7): one step, 8 images of 224
 * pixels (3D: 2 volumes of 64 voxels a side), 2 threads of a Zen 4 server, Java heap 1 GB, beside
 * eager PyTorch 2.13 in the faster of its two memory formats, taking turns; medians.
 *
 * <pre>
 *                           ours s   PyTorch s   faster    ours MB   PyTorch MB
 *   densenet121              0.689       0.937     1.36        850         1493
 *   densenet121, bfloat16    0.441       0.572     1.30        654          971
 *   densenet121-3d           0.337       0.424     1.26        626          729
 *   deit-tiny                0.339       0.422     1.25        843          644
 *   densenet121, inference   0.207       0.319     1.54        589          474
 * </pre>
 *
 * <p>The same on two cores of a Granite Rapids server (AVX-512, AMX); {@code segformer-b0} is 2
 * images of 512 pixels in 3 rounds, the others are 5 rounds ({@code cbam-resnet50} in 2: 1.21):
 *
 * <pre>
 *   segformer-b0             0.687       1.125     1.64       1231         1087
 *   cbam-resnet50            1.594       2.290     1.44       1966         2185
 *   densenet121-3d-96        0.686       1.357     1.98        677         1405
 * </pre>
 *
 * <p>The machines were shared, and other runs gave the first row of all less: 1.24 in one of 3
 * rounds, and, when all that reads memory took half as long again, 1.07 (the second row 1.05).
 * Where a float32 step of DenseNet-121 spends its time ({@code bench step --explain}, the best of
 * each step's runs, 656 ms in all): convolutions 523 ms, of which 3 x 3 windows take 211 (258
 * without Winograd; products of matrices 139, transforms 72); norms 104; copies of weights and
 * their gradients to and from oneDNN's layouts 17. Compiling, with the first step, takes 3.5 to 4.3
 * s.
 *
 * <p>What did not help: one wide buffer for all of a dense block (parts of wide rows are read at a
 * fifth of the speed), huge pages, OpenMP threads that sleep while they wait (15 to 25 % slower),
 * other sizes of chunks and tiles (within 2 %). oneDNN's 1 x 1 convolutions run at what the machine
 * reaches in large matrix products, 230 GFLOP/s.
 */
package sparkvision.plan;
