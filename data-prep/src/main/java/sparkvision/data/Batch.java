package sparkvision.data;

import java.util.List;

/**
 * One rank's part of a global batch, ready for a graph.
 *
 * @param step global step
 * @param ids sample ids in batch order
 * @param images normalised pixels, (B, C, H, W), or voxels, (B, 1, D, H, W)
 * @param labels class indices: (B), or (B, H, W) or (B, D, H, W) of pixels or voxels
 * @param targets (B, classes), the classes that mixed pictures are made of; empty if none are mixed
 */
public record Batch(long step, List<String> ids, float[] images, long[] labels, float[] targets) {}
