/**
 * The networks, one file per family; {@link sparkvision.models.Models} finds them by name.
 *
 * <p>To add a family: a file like {@code DenseNet} that reads its keys, declares weights under the
 * original's state-dict names and computes its outputs; its names in {@code Models}; its parameter
 * counts and its parity fixtures in tests.
 *
 * <p>An attention block is a public class: its constructor declares the weights in a graph, {@code
 * apply} computes and may be called again with the same weights. {@code Blocks} makes each a model
 * of its own, so that fixtures can be made of it, and a network is made of those same classes.
 */
package sparkvision.models;
