package sparkvision.models;

import java.util.Arrays;
import java.util.List;
import sparkvision.graph.Tensor;

/**
 * What a model reads: images (B, C, H, W) of two spatial axes, or volumes (B, C, D, H, W) of three.
 */
record Images(String model, int channels, int spatialDims) {

  /** The shapes of a batch, as {@link Model#inputShapes} gives them. */
  List<long[]> shapes(int batch, int... imageSize) {
    if (imageSize.length != 1 && imageSize.length != spatialDims) {
      throw new IllegalArgumentException(
          String.format(
              "Invalid image-size: %s (model %s takes one number or %d)",
              Arrays.toString(imageSize), model, spatialDims));
    }
    long[] shape = new long[spatialDims + 2];
    shape[0] = batch;
    shape[1] = channels;
    for (int axis = 0; axis < spatialDims; axis++) {
      shape[axis + 2] = imageSize[imageSize.length == 1 ? 0 : axis];
    }
    return List.of(shape);
  }

  /** Refuses an input of another rank or number of channels. */
  void requireFitting(Tensor x) {
    if (x.rank() != spatialDims + 2 || x.size(1) != channels) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot build %s: it takes %d channels and %d spatial axes, the input is %s",
              model, channels, spatialDims, x));
    }
  }

  /** {@link #requireFitting(Tensor)}, and images that are smaller than {@code least} pixels. */
  void requireFitting(Tensor x, long least, String because) {
    requireFitting(x);
    for (int axis = 2; axis < x.rank(); axis++) {
      if (x.size(axis) < least) {
        throw new IllegalArgumentException(
            String.format(
                "Cannot build %s: image size %d is too small, its %s need at least %d",
                model, x.size(axis), because, least));
      }
    }
  }

  /** {@link #requireFitting(Tensor)}, and sizes that are no multiple of {@code factor}. */
  void requireMultiples(Tensor x, long factor, String because) {
    requireFitting(x);
    for (int axis = 2; axis < x.rank(); axis++) {
      if (x.size(axis) % factor != 0) {
        throw new IllegalArgumentException(
            String.format(
                "Cannot build %s: image size %d is no multiple of %d, %s",
                model, x.size(axis), factor, because));
      }
    }
  }
}
