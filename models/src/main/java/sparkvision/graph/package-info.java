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
 * sparkvision.graph.Node} with a kind, inputs, outputs and attributes; {@code Node.Kind} is the
 * list of them. Every engine has a kernel for a <em>primitive</em>. A <em>region</em> (layer norm,
 * attention, cross-entropy against distributions...) is one node too, but short for other words: an
 * engine may run one kernel of its own, or take {@code Graph.lowered} and run the words. What has
 * no kind at all is written with other words where it stands: {@code rearrange}, {@code split},
 * most losses.
 *
 * <pre>
 *   Graph            inputs, outputs, loss, variables, layers, dropout
 *     extends Words  everything without state; shapes are checked in Shapes, patterns in Rearrange
 *   Conv, Linear...  layers: weights at once, mathematics in apply
 *   Losses           ends of a training graph
 *   Composites       what regions are short for
 *   SameDiffFile     the file; StockOperations has a translation of every word
 * </pre>
 *
 * <p>Letters: B batch, C channels, D, H, W depth, height, width, S all spatial elements, N tokens,
 * O outputs, K classes, k kernel sizes. Layouts are (B, C, H, W) and (B, C, D, H, W), tokens (B, N,
 * C); convolution weights are (O, C/groups, k...), transposed ones (C, O/groups, k...), linear
 * weights (O, I). Names of variables are those of the original implementation's state dict.
 *
 * <p>To add a word: a kind in {@code Node}, a method in {@code Words} (or a layer class, if it has
 * weights) that checks and infers shapes, a stock translation in {@code StockOperations}, plain
 * loops in the tests' {@code Naive} and an example in their {@code Sentences}. A primitive then
 * needs its forward and backward in each engine and an entry in {@code GradientTest}, which fails
 * without; a region needs its composite in {@code Composites}.
 */
package sparkvision.graph;
