/**
 * What computes, below any graph: oneDNN's operations ({@code Dnnl}), loops of our own, memory
 * outside the Java heap, and the threads that both run on.
 *
 * <p>Every family of loops is written twice behind one interface, with the vector API and plainly;
 * both give the same bits. A JVM that was started without {@code --add-modules
 * jdk.incubator.vector} runs the plain ones.
 *
 * <p>Learnt by measuring (JDK 17, 2 cores, Zen 4 if nothing else is said):
 *
 * <ul>
 *   <li>A parallel region in Java on oneDNN's own OpenMP threads ({@code Team}) costs 1.5 µs. A
 *       pool of ours beside them would fight for the cores with threads that spin.
 *   <li>{@code OMP_WAIT_POLICY=PASSIVE} costs a DenseNet step 15 to 25 %: threads sleep between two
 *       operations and have to be woken.
 *   <li>A vector access to a direct buffer takes about 1 ns, to a heap array 0.4: coefficients and
 *       sums are heap arrays. One that moves a vector from a buffer to an array and nothing else
 *       took 13 ns (Granite Rapids), a copy of a whole row 1 to 2 a vector: scans copy rows.
 *   <li>Reading 64 of 256 channels of rows that lie in DRAM takes 1.5 ns a number, reading dense
 *       rows 0.3: what is read together must lie together.
 *   <li>A loop of vectors that the compiler inlines into a long caller may leave them on the heap,
 *       in one process and not in the next: 11 µs in place of 3 for a chunk of a scan and its
 *       gradient. Each loop is therefore compiled on its own ({@code Vectors}).
 *   <li>Arrays on the heap rarely begin where a cache line does, and every vector of 64 bytes then
 *       lies in two: a state of the scan took 20.7 ns forward and back, in an array of a region of
 *       its own ({@code Room}) 12.8. Of a step of Vim-Ti that is a third; a sixth copies rows, at
 *       the 9 GB/s that one core gets beyond its own cache (Ice Lake).
 *   <li>Numbers below 2⁻¹²⁶ cost some hundred cycles each: with those of gradients that fade along
 *       the tokens the gradient of Vim-Ti's scans took five times the forward pass.
 *   <li>ND4J is never called here, so there is one OpenMP runtime at work.
 * </ul>
 */
package sparkvision.kernels;
