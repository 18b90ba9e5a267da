package sparkvision.models;

import java.util.Arrays;
import sparkvision.graph.Tensor;

/** What networks for images of any size read: (B, C, H, W). */
final class Images {

  private Images() {}

  /**
   * The shape of a batch.
   *
   * @throws IllegalArgumentException if {@code imageSize} is neither one number nor two
   */
  static long[] shape(String model, long channels, int batch, int... imageSize) {
    if (imageSize.length != 1 && imageSize.length != 2) {
      throw new IllegalArgumentException(
          String.format(
              "Invalid image-size: %s (model %s takes one number or 2)",
              Arrays.toString(imageSize), model));
    }
    return new long[] {batch, channels, imageSize[0], imageSize[imageSize.length - 1]};
  }

  /**
   * Checks what a network is to read.
   *
   * @throws IllegalArgumentException if its rank or its number of channels is another
   */
  static void require(String model, long channels, Tensor x) {
    if (x.rank() != 4 || x.size(1) != channels) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot build %s: it takes images of %d channels, the input is %s",
              model, channels, x));
    }
  }
}
