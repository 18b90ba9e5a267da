package sparkvision.data.coco;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import sparkvision.data.DataException;

final class RleTest {

  private static final Path DATA = Path.of("../../shared/data/coco");

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '"',
      textBlock =
          """
          a triangle                | 1.5 1.2 9.7 3.3 4.4 8.9                                    | g0391N3MO1O2N1O1Oo0                      | 31
          the same backwards        | 4.4 8.9 9.7 3.3 1.5 1.2                                    | g0391N3MO1O2N1O1Oo0                      | 31
          corners given twice       | 1.5 1.2 1.5 1.2 9.7 3.3 9.7 3.3 4.4 8.9                    | g0391N3MO1O2N1O1Oo0                      | 31
          corners between pixels    | 2 2 8 2 8 7 2 7                                            | h056000000000e1                          | 30
          corners in mid-pixel      | 2.5 2.5 8.5 2.5 8.5 7.5 2.5 7.5                            | T156000000000Y1                          | 30
          crossing itself           | 1 1 10 9 10 1 1 9                                          | <75O1N2N<0D2N2N1P1                       | 38
          a ring                    | 0 0 12 0 12 10 0 10 0 0 3 3 9 3 9 8 3 8                    | 191H25NL41L04OL14OL14OL14OL14OL14OL80000; | 81
          out on every side         | -5.3 4 6 -7.1 19.9 5 7 16.2                                | 0:1j3                                    | 142
          wholly outside            | 20 20 30 20 30 30                                          | _4                                       | 0
          left of the picture       | -9 1 -2 1 -2 9                                             | _4                                       | 0
          the whole picture         | 0 0 13 0 13 11 0 11                                        | 0_4                                      | 143
          a line                    | 1 1 9 9 5 5                                                | _4                                       | 0
          one point                 | 5 5 5 5 5 5                                                | _4                                       | 0
          between column middles    | 4.1 1 4.3 1 4.3 9 4.1 9                                    | _4                                       | 0
          around a column's middle  | 4.4 1 5.2 1 5.2 9 4.4 9                                    | ]18j2                                    | 8
          around a pixel's middle   | 3.4 3.4 3.6 3.4 3.6 3.6 3.4 3.6                            | T11Z3                                    | 1
          steep and shallow         | 0.13 0.77 12.9 1.31 12.2 10.8 6.61 2.17 5.99 10.4          | <292N1O2N1OJ6002N2N1O2NM2                | 62
          closing over the corner   | 12.99 10.99 0.01 10.99 6.5 0.01                            | :182O1N2N2O<OF2N2N2N1O2N                 | 74
          """)
  void drawsAPolygonLikeTheOriginal(String what, String corners, String text, int area) {
    Rle rle = Rle.ofPolygon(numbers(corners), 11, 13);
    assertThat(rle).as(what).hasToString(text);
    assertThat(rle.area()).isEqualTo(area);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '"',
      textBlock =
          """
          1 2 5 6         | =650000000[2 | 30
          0.4 0.6 3.2 2.2 | 12900000R3   | 8
          -3 -2 6 20      | 0Q1^3        | 33
          5 5 0 3         | _4           | 0
          0 0 13 11       | 0_4          | 143
          12 10 1 1       | ^41          | 1
          3.5 3.5 1 1     | `11n2        | 1
          """)
  void drawsABoxLikeTheOriginal(String box, String text, int area) {
    double[] b = numbers(box);
    Rle rle = Rle.ofBox(new Box(b[0], b[1], b[2], b[3]), 11, 13);
    assertThat(rle).hasToString(text);
    assertThat(rle.area()).isEqualTo(area);
  }

  private static double[] numbers(String text) {
    return Stream.of(text.split(" ")).mapToDouble(Double::parseDouble).toArray();
  }

  @Test
  void keepsRandomMasks() {
    Random random = new Random(1);
    for (int i = 0; i < 300; i++) {
      int height = 1 + random.nextInt(20);
      int width = 1 + random.nextInt(20);
      byte[] mask = mask(random, height, width);
      Rle rle = Rle.ofMask(mask, height, width);
      assertThat(rle.toMask()).isEqualTo(mask);
      Rle read = Rle.parse(rle.toString(), height, width);
      assertThat(read.toMask()).isEqualTo(mask);
      assertThat(read).hasToString(rle.toString());

      int area = 0;
      for (byte pixel : mask) {
        area += pixel;
      }
      assertThat(rle.area()).isEqualTo(area);
      assertThat(rle.box()).isEqualTo(box(rle, mask));
    }
  }

  /** Of pixels, but as high as the picture where a run goes on in the next column. */
  private static Box box(Rle rle, byte[] mask) {
    int left = Integer.MAX_VALUE;
    int top = Integer.MAX_VALUE;
    int right = -1;
    int bottom = -1;
    for (int x = 0; x < rle.width(); x++) {
      for (int y = 0; y < rle.height(); y++) {
        if (mask[y * rle.width() + x] == 0) {
          continue;
        }
        boolean goesOn =
            y == rle.height() - 1 && x + 1 < rle.width() && mask[x + 1] != 0; // at the next top
        left = Math.min(left, x);
        right = Math.max(right, x);
        top = goesOn ? 0 : Math.min(top, y);
        bottom = goesOn ? rle.height() - 1 : Math.max(bottom, y);
      }
    }
    return right < 0 ? new Box(0, 0, 0, 0) : new Box(left, top, right - left + 1, bottom - top + 1);
  }

  @Test
  void countsTheOverlapOfRandomMasks() {
    Random random = new Random(2);
    for (int i = 0; i < 300; i++) {
      int height = 1 + random.nextInt(20);
      int width = 1 + random.nextInt(20);
      byte[] a = mask(random, height, width);
      byte[] b = mask(random, height, width);
      byte[] any = new byte[a.length];
      byte[] all = new byte[a.length];
      int areaOfA = 0;
      int areaOfAny = 0;
      int areaOfAll = 0;
      for (int p = 0; p < a.length; p++) {
        any[p] = (byte) (a[p] | b[p]);
        all[p] = (byte) (a[p] & b[p]);
        areaOfA += a[p];
        areaOfAny += any[p];
        areaOfAll += all[p];
      }
      Rle rleA = Rle.ofMask(a, height, width);
      Rle rleB = Rle.ofMask(b, height, width);
      assertThat(Rle.union(List.of(rleA, rleB)))
          .hasToString(Rle.ofMask(any, height, width).toString());
      assertThat(Rle.intersection(List.of(rleA, rleB)))
          .hasToString(Rle.ofMask(all, height, width).toString());
      assertThat(rleA.iou(rleB)).isEqualTo(areaOfAll == 0 ? 0 : (double) areaOfAll / areaOfAny);
      assertThat(rleA.shareInside(rleB))
          .isEqualTo(areaOfAll == 0 ? 0 : (double) areaOfAll / areaOfA);
    }
  }

  /** Blocks, so that runs are long and some begin or end a column; some full, some empty. */
  private static byte[] mask(Random random, int height, int width) {
    byte[] mask = new byte[height * width];
    int blocks = random.nextInt(4);
    for (int i = 0; i < blocks; i++) {
      int top = random.nextInt(height);
      int left = random.nextInt(width);
      int bottom = top + random.nextInt(height - top + 1);
      int right = left + random.nextInt(width - left + 1);
      for (int y = top; y < bottom; y++) {
        Arrays.fill(mask, y * width + left, y * width + right, (byte) 1);
      }
    }
    if (random.nextInt(10) == 0) {
      Arrays.fill(mask, (byte) 1);
    }
    return mask;
  }

  @Test
  void mergesManyMasksAndOne() {
    Rle a = Rle.ofBox(new Box(0, 0, 3, 3), 9, 9);
    Rle b = Rle.ofBox(new Box(2, 2, 3, 3), 9, 9);
    Rle c = Rle.ofBox(new Box(2, 2, 7, 1), 9, 9);
    assertThat(Rle.union(List.of(a, b, c)).area()).isEqualTo(9 + 8 + 4);
    assertThat(Rle.intersection(List.of(a, b, c)).area()).isEqualTo(1);
    assertThat(Rle.union(List.of(c))).hasToString(c.toString());
  }

  @Test
  void writesLongRunsWithBothSigns() {
    int[] counts = {0, 1, 100_000_000, 2_000_000, 3, 40_000_000, 0, 5_000, 99_999_999};
    int width = Arrays.stream(counts).sum();
    Rle rle = Rle.ofCounts(counts, 1, width);
    assertThat(rle).hasToString("01PXh[o2oSQm1ShWdPMP\\eWT1MX\\^kiNoWh[o2");
    assertThat(Rle.parse(rle.toString(), 1, width)).hasToString(rle.toString());
    assertThat(rle.area()).isEqualTo(1 + 2_000_000 + 40_000_000 + 5_000);
  }

  @Test
  void runsOfNoPixelsMakeNoDifference() {
    Rle plain = Rle.ofCounts(new int[] {5, 3, 4}, 3, 4);
    Rle padded = Rle.ofCounts(new int[] {0, 0, 5, 1, 0, 2, 4, 0}, 3, 4);
    assertThat(padded.toMask()).isEqualTo(plain.toMask());
    assertThat(padded.area()).isEqualTo(3);
    assertThat(padded.box()).isEqualTo(plain.box());
    assertThat(padded.iou(plain)).isEqualTo(1);
    assertThat(Rle.union(List.of(plain, padded))).hasToString(plain.toString());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '"',
      textBlock =
          """
          ""          | mask has runs of 0 pixels in all, 4 x 3 has 12
          "5"         | mask has runs of 5 pixels in all, 4 x 3 has 12
          "534 "      | mask string is wrong at character 3
          "53p"       | mask string is wrong at character 2
          "53T"       | mask string ends within a number
          "5O8"       | mask has a run of -1 pixels
          "PPPPPPPP0" | mask string is wrong at character 7
          "PPPPPPP0"  | mask string is wrong at character 7
          "PPPPPP0"   | mask has runs of 0 pixels in all, 4 x 3 has 12
          "PPPPPP2"   | mask has a run of 2147483648 pixels
          """)
  void refusesWhatIsNoMask(String text, String reason) {
    assertThatThrownBy(() -> Rle.parse(text, 3, 4))
        .isInstanceOf(DataException.class)
        .hasMessage(reason);
  }

  @Test
  void refusesWhatCannotBeDrawn() {
    refuses(new double[] {1, 2, 3, 4}, "polygon has 4 numbers, not x, y of 3 corners");
    refuses(new double[] {1, 2, 3, 4, 5, 6, 7}, "polygon has 7 numbers, not x, y of 3 corners");
    refuses(new double[] {1, 2, 3, 4, 5, Double.NaN}, "polygon has the coordinate NaN");
    refuses(new double[] {1, 2, -1e9, 4, 5, 6}, "polygon has the coordinate -1.0E9");
    assertThatThrownBy(() -> Rle.ofCounts(new int[] {-1, 13}, 3, 4))
        .isInstanceOf(DataException.class)
        .hasMessage("mask has a run of -1 pixels");
    assertThatThrownBy(() -> Rle.parse("", 0, 4))
        .isInstanceOf(DataException.class)
        .hasMessage("mask is 4 x 0 pixels");
    assertThatThrownBy(() -> Rle.parse("", 1 << 16, 1 << 15))
        .isInstanceOf(DataException.class)
        .hasMessage("mask is 32768 x 65536 pixels");
    Rle wide = Rle.ofCounts(new int[] {12}, 3, 4);
    Rle high = Rle.ofCounts(new int[] {12}, 4, 3);
    assertThatThrownBy(() -> wide.iou(high))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid mask: 3 x 4 (must be 4 x 3 like the other)");
  }

  private static void refuses(double[] polygon, String reason) {
    assertThatThrownBy(() -> Rle.ofPolygon(polygon, 3, 4))
        .isInstanceOf(DataException.class)
        .hasMessage(reason);
  }

  @Test
  void equalsTheOriginalOnEveryMaskOfTheSample() throws IOException {
    Assumptions.assumeTrue(Files.exists(DATA), "no ../shared/data beside the checkout");
    Map<String, String> expected = new HashMap<>();
    try (InputStream in = RleTest.class.getResourceAsStream("masks.csv")) {
      new String(in.readAllBytes(), StandardCharsets.UTF_8)
          .lines()
          .filter(line -> !line.startsWith("#"))
          .forEach(line -> expected.put(line.replaceFirst("(.*?,.*?),.*", "$1"), line));
    }
    Map<String, String> found = new LinkedHashMap<>();
    truth("train", "annotations/instances_train2017.json", found);
    truth("val", "annotations/instances_val2017.json", found);
    truth("truth", "eval_fixture/annotations/instances_val2014_100.json", found);
    int truths = found.size();
    CocoJson.readArray(
        new Configuration(),
        DATA.resolve("eval_fixture/results/instances_val2014_fakesegm100_results.json").toString(),
        (result, at) -> {
          Segmentation.Runs mask =
              (Segmentation.Runs) Segmentation.parse(result.get("segmentation"));
          String key = "results," + (found.size() - truths);
          found.put(key, line(key, mask.rle()));
        });
    assertThat(found).hasSameSizeAs(expected);
    found.forEach((key, line) -> assertThat(line).isEqualTo(expected.get(key)));
  }

  private static void truth(String set, String file, Map<String, String> found) throws IOException {
    Map<Long, int[]> sizes = new HashMap<>();
    String path = DATA.resolve(file).toString();
    CocoJson.readObject(
        new Configuration(),
        path,
        Map.of(
            "images",
            (image, at) ->
                sizes.put(
                    CocoJson.whole(image, "id"),
                    new int[] {image.get("height").intValue(), image.get("width").intValue()})));
    CocoJson.readObject(
        new Configuration(),
        path,
        Map.of(
            "annotations",
            (annotation, at) -> {
              int[] size = sizes.get(CocoJson.whole(annotation, "image_id"));
              String key = set + "," + CocoJson.whole(annotation, "id");
              Segmentation segmentation = Segmentation.parse(annotation.get("segmentation"));
              found.put(key, line(key, segmentation.toRle(size[0], size[1])));
            }));
  }

  private static String line(String key, Rle rle) {
    CRC32 crc = new CRC32();
    crc.update(rle.toString().getBytes(StandardCharsets.US_ASCII));
    Box box = rle.box();
    return String.format(
        "%s,%d,%.0f,%.0f,%.0f,%.0f,%08x",
        key, rle.area(), box.x(), box.y(), box.width(), box.height(), crc.getValue());
  }
}
