/**
 * The vocabulary that networks are written in.
 *
 * <pre>
 *   model file ── words ──▶ Graph: nodes, variables, inputs, outputs, loss
 *                             ├──▶ an engine runs it (training or inference)
 *                             └──▶ save: a file of stock SameDiff operations (inference)
 * </pre>
 *
 * <p>A {@link sparkvision.graph.Graph} holds shapes and no numbers. Every word used is one {@link
 * sparkvision.graph.Node} with a kind, inputs, outputs and attributes. A kind that ND4J has no good
 * operation for (batch norm in training, cross-entropy) is still one node: an engine may expand it
 * into stock operations or run one kernel of its own.
 *
 * <p>Letters: B batch, C channels, D, H, W depth, height, width, S all spatial elements, O outputs,
 * K classes, k kernel sizes. Layouts are (B, C, H, W) and (B, C, D, H, W); convolution weights are
 * (O, C, k...), linear weights (O, I). Names of variables are those of the original
 * implementation's state dict.
 *
 * <p>To add a word: a kind in {@code Node}, a method in {@code Graph} (or a layer class, if it has
 * weights) that checks and infers shapes, its forward and backward in each engine, a stock
 * translation in {@code SameDiffFile}, and an entry in {@code GradientTest}, which fails without.
 */
package sparkvision.graph;
