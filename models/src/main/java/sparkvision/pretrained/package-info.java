/**
 * Weights that others trained: {@link sparkvision.pretrained.Pretrained} fits a state dict to a
 * network, whatever its keys are called and whatever image size its positions were learned for.
 */
package sparkvision.pretrained;
