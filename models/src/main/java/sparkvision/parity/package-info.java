/**
 * The comparison of our models with the original implementations: {@link sparkvision.parity.Parity}
 * describes the fixtures.
 */
package sparkvision.parity;
