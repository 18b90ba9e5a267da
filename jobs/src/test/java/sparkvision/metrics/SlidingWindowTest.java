package sparkvision.metrics;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SlidingWindowTest {

  /** Answers differ by the place of a pixel in its window, so that no window may be misplaced. */
  private static LogitMap placeDependent(float[] image, int height, int width) {
    int area = height * width;
    float[] values = new float[2 * area];
    for (int i = 0; i < area; i++) {
      values[i] = image[i] * (i + 1) / 4;
      values[area + i] = image[area + i] - i / 2f;
    }
    return new LogitMap(2, height, width, values);
  }

  @Test
  void equalsMmsegmentation() {
    // Expected: the loops of slide_inference in PyTorch 2, crop 3 x 4, stride 2 x 3.
    float[] expected = {
      0, 26.5f, 6.75f, 38.75f, 9, 53.25f, 27, 100, 54, 155.75f, 73.125f, 1.5f, 94.5f, 20, 78.75f,
      28.5f, 126, 45.5f, 121.5f, 64.75f, 180, 57.5f, 3, 96.25f, 17.875f, 96, 35, 146, 65.25f, 205,
      104.5f, 238.875f, 117.5f, 8.25f, 168, 12, 64.5f, 20, 73.25f, 29.5f, 82, 37.5f, 90, 45.5f, 1,
      54.25f, 10.5f, 63, 18.5f, 73, 28.5f, 81, 37.25f, 90.5f, 46, 1.5f, 56, 11.5f, 64, 20.25f,
      73.5f, 29, 81.5f, 37, 89.5f, 45, 1.25f, 54.5f, 10, 62.5f
    };
    LogitMap map =
        new SlidingWindow(3, 4, 2, 3).predict(SlidingWindowTest::placeDependent, image(5, 7), 5, 7);
    assertThat(map.classes()).isEqualTo(2);
    assertThat(map.height()).isEqualTo(5);
    assertThat(map.width()).isEqualTo(7);
    assertThat(map.values()).isEqualTo(expected);
  }

  @ParameterizedTest
  @CsvSource({
    "10, 13, 4, 5, 3, 2", // edge windows are moved inside
    "9, 9, 3, 3, 3, 3", // no overlap
    "9, 10, 3, 4, 1, 1", // many windows over a pixel
    "4, 20, 6, 6, 4, 4", // lower than a window
    "4, 5, 6, 6, 4, 4", // smaller than a window
    "6, 7, 6, 6, 6, 6" // one pixel more than a window
  })
  void matchesPlainLoopsOverPixels(
      int height, int width, int crop, int cropWidth, int stride, int strideWidth) {
    float[] image = image(height, width);
    SlidingWindow slide = new SlidingWindow(crop, cropWidth, stride, strideWidth);
    float[] values =
        slide.predict(SlidingWindowTest::placeDependent, image, height, width).values();

    List<Integer> tops = starts(height, crop, stride);
    List<Integer> lefts = starts(width, cropWidth, strideWidth);
    int area = height * width;
    for (int y = 0; y < height; y++) {
      for (int x = 0; x < width; x++) {
        float first = 0;
        float second = 0;
        int windows = 0;
        for (int top : tops) {
          for (int left : lefts) {
            if (y >= top && y < top + crop && x >= left && x < left + cropWidth) {
              int place = (y - top) * Math.min(cropWidth, width) + x - left;
              first += image[y * width + x] * (place + 1) / 4;
              second += image[area + y * width + x] - place / 2f;
              windows++;
            }
          }
        }
        assertThat(values[y * width + x]).isEqualTo(first / windows);
        assertThat(values[area + y * width + x]).isEqualTo(second / windows);
      }
    }
  }

  /** Steps of the stride while a window fits; then one at the end if pixels are left. */
  private static List<Integer> starts(int size, int crop, int stride) {
    List<Integer> starts = new ArrayList<>(List.of(0));
    int start = stride;
    while (start + crop <= size) {
      starts.add(start);
      start += stride;
    }
    if (starts.get(starts.size() - 1) + crop < size) {
      starts.add(size - crop);
    }
    return starts;
  }

  @Test
  void aPredictorThatLooksAtPixelsAloneIsNotChanged() {
    SlidingWindow.Predictor negative =
        (image, height, width) -> {
          float[] values = new float[image.length];
          for (int i = 0; i < values.length; i++) {
            values[i] = 1 - image[i];
          }
          return new LogitMap(2, height, width, values);
        };
    float[] image = image(20, 31);
    LogitMap slide = new SlidingWindow(8, 8, 4, 4).predict(negative, image, 20, 31);
    assertThat(slide.values()).isEqualTo(negative.predict(image, 20, 31).values());
  }

  @Test
  void refusesWhatDoesNotFit() {
    assertThatThrownBy(() -> new SlidingWindow(4, 4, 5, 4))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid stride-height: 5 (must be in 1..crop-height 4)");
    assertThatThrownBy(() -> new SlidingWindow(4, 4, 4, 0))
        .hasMessage("Invalid stride-width: 0 (must be in 1..crop-width 4)");
    SlidingWindow slide = new SlidingWindow(4, 4, 4, 4);
    assertThatThrownBy(() -> slide.predict(SlidingWindowTest::placeDependent, new float[19], 3, 3))
        .hasMessage("Invalid image: 19 values (must be channels x 3 x 3)");
    assertThatThrownBy(
            () ->
                slide.predict(
                    (image, height, width) -> new LogitMap(1, 2, 2, new float[4]),
                    image(5, 5),
                    5,
                    5))
        .hasMessage("Invalid logits: 1 classes x 2 x 2 (must be 1 x 4 x 4)");
  }

  private static float[] image(int height, int width) {
    float[] image = new float[2 * height * width];
    for (int i = 0; i < image.length; i++) {
      image[i] = i * 53 % 97;
    }
    return image;
  }
}
