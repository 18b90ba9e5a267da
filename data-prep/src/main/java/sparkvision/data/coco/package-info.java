/**
 * COCO's annotations and masks.
 *
 * <pre>
 * instances JSON --CocoJson--&gt; CocoSource --&gt; samples with {@link
 * sparkvision.data.DetectedObject}
 *                     polygons, runs --Segmentation--&gt; Rle
 * </pre>
 *
 * <p>Masks, their boxes and overlaps equal those of COCO's own tools (maskApi.c) to the bit.
 */
package sparkvision.data.coco;
