/**
 * What runs a graph: forward, backward, optimizer step, and the state that these change.
 *
 * <p>{@code nd4j}, the reference, turns the nodes into one list of native ND4J operations, and of
 * plain loops where ND4J lacks a word or its gradient, or gets it wrong:
 *
 * <pre>
 *   call 0 ... forwardEnd    outputs, loss, new running statistics      forward
 *   forwardEnd ... size      gradients of parameters, requested inputs  forwardBackward runs both
 * </pre>
 *
 * <p>Differentiation is ours, node by node in reverse ({@code Kernels}): SameDiff's loses batch
 * norm's axis, drops gradients and is slow where it broadcasts. Shapes are static, so {@code Plan}
 * lays out the memory of all values once and native operations allocate none for them. They are
 * executed directly and not by a SameDiff session, whose bookkeeping takes 36 µs per operation
 * where the call takes 3: a step of a small network has a thousand of them.
 *
 * <p>Parameters and then running statistics lie in one flat array, gradients in another; optimizers
 * are plain Java over copies of their parts.
 */
package sparkvision.engine;
