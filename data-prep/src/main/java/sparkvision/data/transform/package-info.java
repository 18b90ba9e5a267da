/**
 * What happens to pictures between decoding and the network, for classification.
 *
 * <pre>
 * RandomResizedCrop or padded crop -> Resize -> flip -> policy -> ColorJitter -> normalise -> RandomErasing   a picture
 *                                                 Mixing: mixup, CutMix                                       a batch
 * </pre>
 *
 * <p>{@link sparkvision.data.ImageTransform} runs this chain; {@link
 * sparkvision.data.transform.Augment} says what of it. Policies are AutoAugment, RandAugment and
 * 3-Augment.
 *
 * <p><b>Bits.</b> {@link sparkvision.data.transform.Resize} and {@link
 * sparkvision.data.transform.PillowOps} give the pixels that Pillow 9.4.0 gives. Random numbers are
 * our own, so single pictures differ from those of torchvision and timm, distributions do not.
 *
 * <p><b>Determinism.</b> A picture draws everything, in the order of the chain, from the stream
 * keyed (seed, epoch, hash(id)), with the number of the repeat behind it from the second repeat on;
 * a batch from the stream keyed (seed, epoch, step, rank), since its pictures are those of one
 * rank. Without mixing, what a picture looks like depends neither on ranks nor on threads.
 */
package sparkvision.data.transform;
