/** Weights outside an engine: tensors on the Java heap, and the safetensors format. */
package sparkvision.weights;
