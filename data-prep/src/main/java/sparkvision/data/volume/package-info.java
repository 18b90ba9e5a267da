/**
 * Volumes: read, brought to one orientation and spacing, and turned into patches.
 *
 * <pre>
 * dataset.json, CSV or class folders --VolumeSource--&gt; samples --VolumeTransform--&gt; patches
 *   Nifti (files) -&gt; Volume (RAS) -&gt; Resampling                  (1, D, H, W) and labels
 * </pre>
 *
 * <p>A volume in a shard is a NIfTI-1 file, gzip, in RAS: D counts axial slices from inferior to
 * superior, H rows from posterior to anterior, W columns from left to right. Its mask has the same
 * size and affine, as uint8: the class, or 255 for voxels that are ignored.
 */
package sparkvision.data.volume;
