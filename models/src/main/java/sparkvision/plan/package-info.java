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
 * Attention}). <b>Deferred</b>: a batch norm that one convolution reads is made some images at a
 * time in front of it, forward and again backward, and its gradient is consumed likewise ({@code
 * Convolution}, {@code BatchNorm}): the largest tensors of a DenseNet never reach memory. A
 * concatenation of channels is not carried out ({@code Concatenations}).
 *
 * <p><b>bfloat16</b>: what convolutions and products multiply, and activations between them.
 * Weights, their gradients, sums, moments, softmax and losses stay float32. On a CPU without
 * oneDNN's bfloat16 kernels (below AVX-512) the plan is compiled in float32.
 *
 * <h2>Measured</h2>
 *
 * See {@code scripts/bench --peer}.
 */
package sparkvision.plan;
