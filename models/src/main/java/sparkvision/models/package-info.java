/**
 * The networks, one file per family; {@link sparkvision.models.Models} finds them by name.
 *
 * <p>To add a family: a file like {@code DenseNet} that reads its keys, declares weights under the
 * original's state-dict names and computes its outputs; its names in {@code Models}; its parameter
 * counts and its parity fixtures in tests.
 */
package sparkvision.models;
