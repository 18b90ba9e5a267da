/**
 * Measures of a model's answers, counted where the samples are and merged afterwards.
 *
 * <pre>
 *   executor 0:  add add add ...  --+
 *   executor 1:  add add add ...  --+-- merge in partition order --&gt; top-1, mIoU, loss, confusion, worst
 *   executor 2:  add add add ...  --+
 * </pre>
 *
 * <p>{@link sparkvision.metrics.ClassificationMetrics} counts pictures, {@link
 * sparkvision.metrics.SegmentationMetrics} pixels. A segmentation network answers for a picture of
 * any size through {@link sparkvision.metrics.SlidingWindow}, or for the whole picture at once;
 * {@link sparkvision.metrics.LogitMap} brings its logits back to the stored size.
 *
 * <p>Volumes are predicted whole by {@link sparkvision.metrics.VolumeInference} and measured by
 * {@link sparkvision.metrics.VolumeMetrics}, case by case.
 *
 * <p>Counts do not depend on how samples were spread; sums of losses are exact to the bit for one
 * split and one merging order, and equal within float64 rounding otherwise.
 *
 * <p>{@link sparkvision.metrics.CocoEvaluation} keeps the matches of every image and orders them by
 * image when it is asked, so its numbers are the same to the bit for any split.
 */
package sparkvision.metrics;
