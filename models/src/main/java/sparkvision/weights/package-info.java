/**
 * Weights outside an engine: tensors on the Java heap, the safetensors format, and the comparison
 * with the original implementations ({@link sparkvision.weights.Parity} describes its folders).
 */
package sparkvision.weights;
