/**
 * What happens to pictures between decoding and the network.
 *
 * <pre>
 * classification   RandomResizedCrop or padded crop -&gt; Resize -&gt; flip -&gt; policy -&gt; ColorJitter
 *                  -&gt; Normalization -&gt; RandomErasing; a batch of them: Mixing (mixup, CutMix)
 * segmentation     resize by a ratio -&gt; crop -&gt; flip -&gt; PhotometricDistortion -&gt; Normalization -&gt; pad
 * detection        large-scale jitter -&gt; crop -&gt; flip -&gt; Normalization -&gt; pad
 * </pre>
 *
 * <p>The first two are {@link sparkvision.data.SampleTransform}s, as training wants them. {@link
 * sparkvision.data.ImageTransform} runs the first chain, and {@link
 * sparkvision.data.transform.Augment} says what of it; policies are AutoAugment, RandAugment and
 * 3-Augment. {@link sparkvision.data.transform.SegmentationTransform} takes the mask along, {@link
 * sparkvision.data.transform.DetectionTransform} boxes and masks. Volumes have {@link
 * sparkvision.data.volume.VolumeTransform}.
 *
 * <p><b>Bits.</b> {@link sparkvision.data.transform.Resize} and {@link
 * sparkvision.data.transform.PillowOps} give the pixels that Pillow 9.4.0 gives; {@link
 * sparkvision.data.transform.OpenCvOps} is OpenCV, with which segmentation's recipes were made.
 * Random numbers are our own, so single pictures differ from those of torchvision, timm,
 * mmsegmentation and detectron2, distributions do not.
 *
 * <p><b>Determinism.</b> A picture draws everything, in the order that its transform states, from
 * the stream keyed (seed, epoch, hash(id)), with the number of the repeat behind it from the second
 * repeat on; a batch from the stream keyed (seed, epoch, step, rank), since its pictures are those
 * of one rank. Without mixing, what a picture looks like depends neither on ranks nor on threads.
 */
package sparkvision.data.transform;
