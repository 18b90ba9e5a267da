package sparkvision.engine;

import java.util.Arrays;

/**
 * How a convolution's window meets the image: the pixels, weights and results that belong together.
 *
 * <p>Image (B, C, ...), weight (O, C/groups, k...), result (B, O, ...) of 1 to 3 spatial axes; what
 * lies outside of the image is left out, as zeros are. A transposed convolution has image and
 * result swapped.
 */
final class Windows {

  /** Pixel, weight and result as places in their row-major arrays. */
  interface Visitor {
    void visit(int pixel, int weight, int result);
  }

  private static final int AXES = 3; // fewer are preceded by axes of size 1

  private final int batch;
  private final int groups;
  private final int channels; // of a group
  private final int filters; // of a group
  private final int[] image;
  private final int[] kernel;
  private final int[] result;
  private final int[] stride;
  private final int[] padding;
  private final int[] dilation;

  Windows(
      long[] image,
      long[] weight,
      long[] result,
      long[] stride,
      long[] padding,
      long[] dilation,
      long groups) {
    this.batch = (int) image[0];
    this.groups = (int) groups;
    this.channels = (int) (image[1] / groups);
    this.filters = (int) (result[1] / groups);
    this.image = spatial(image);
    this.kernel = spatial(weight);
    this.result = spatial(result);
    this.stride = filled(stride, 1);
    this.padding = filled(padding, 0);
    this.dilation = filled(dilation, 1);
  }

  private static int[] spatial(long[] shape) {
    return filled(Arrays.copyOfRange(shape, 2, shape.length), 1);
  }

  private static int[] filled(long[] sizes, int missing) {
    int[] filled = new int[AXES];
    Arrays.fill(filled, missing);
    for (int i = 0; i < sizes.length; i++) {
      filled[AXES - sizes.length + i] = (int) sizes[i];
    }
    return filled;
  }

  /** Visits every product of a pixel and a weight that a result sums up. */
  void each(Visitor visitor) {
    int at = 0;
    for (int b = 0; b < batch; b++) {
      for (int o = 0; o < groups * filters; o++) {
        for (int d = 0; d < result[0]; d++) {
          for (int h = 0; h < result[1]; h++) {
            for (int w = 0; w < result[2]; w++) {
              window(visitor, b, o, d, h, w, at++);
            }
          }
        }
      }
    }
  }

  private void window(Visitor visitor, int b, int o, int d, int h, int w, int at) {
    int firstChannel = o / filters * channels;
    int weight = o * channels * kernel[0] * kernel[1] * kernel[2];
    for (int c = firstChannel; c < firstChannel + channels; c++) {
      int plane = (b * groups * channels + c) * image[0] * image[1] * image[2];
      for (int i = 0; i < kernel[0]; i++) {
        int z = d * stride[0] - padding[0] + i * dilation[0];
        for (int j = 0; j < kernel[1]; j++) {
          int y = h * stride[1] - padding[1] + j * dilation[1];
          for (int k = 0; k < kernel[2]; k++, weight++) {
            int x = w * stride[2] - padding[2] + k * dilation[2];
            if (inside(z, image[0]) && inside(y, image[1]) && inside(x, image[2])) {
              visitor.visit(plane + (z * image[1] + y) * image[2] + x, weight, at);
            }
          }
        }
      }
    }
  }

  private static boolean inside(int place, int size) {
    return place >= 0 && place < size;
  }
}
