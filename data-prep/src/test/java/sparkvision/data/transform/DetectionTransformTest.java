package sparkvision.data.transform;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import sparkvision.data.DataException;
import sparkvision.data.DetectedObject;
import sparkvision.data.Images.Picture;
import sparkvision.data.Item;
import sparkvision.data.Listing;
import sparkvision.data.Sample;
import sparkvision.data.SplitMix;
import sparkvision.data.coco.CocoSource;
import sparkvision.data.coco.Rle;
import sparkvision.data.transform.DetectionTransform.Instance;
import sparkvision.data.transform.DetectionTransform.Placement;

final class DetectionTransformTest {

  private static final Path COCO = Path.of("../../shared/data/coco");

  @SuppressWarnings("ArrayRecordComponent") // never compared
  private record Trained(float[] image, Placement placement) {}

  @Test
  void atScaleOneNothingMoves() {
    Picture picture = Drawings.noise(4, 4, 3, 256, 1);
    List<DetectedObject> objects =
        List.of(
            object(3, 0, 0, 9, 9, false, mask(4, 4, "0000011001000000")),
            object(5, 1.25, 0.5, 2, 3.25, false, ""));
    DetectionTransform transform = transform(4, 1, 1, 0);
    Trained trained = train(transform, Drawings.detection("a", picture, objects), 1, 0);
    for (int i = 0; i < 48; i++) {
      int c = i / 16;
      assertThat(trained.image[i])
          .isEqualTo((float) ((picture.pixels()[i % 16 * 3 + c] & 0xFF) / 255.0));
    }
    List<Instance> instances = trained.placement.instances();
    assertThat(instances).hasSize(2);
    assertThat(instances.get(0))
        .usingRecursiveComparison()
        .isEqualTo(new Instance(3, 1, 1, 2, 2, new byte[] {1, 1, 1, 0}));
    assertThat(instances.get(1))
        .usingRecursiveComparison()
        .isEqualTo(new Instance(5, 1.25, 0.5, 2, 3.25, new byte[0]));
  }

  @Test
  void matchesAPlainTwinOfThePipeline() {
    int stored = 0;
    int seen = 0;
    int flipped = 0;
    for (int epoch = 0; epoch < 300; epoch++) {
      int width = 12 + epoch % 9;
      int height = 9 + epoch % 11;
      Picture picture = Drawings.noise(width, height, 3, 256, epoch);
      List<DetectedObject> objects = draw(width, height, epoch);
      DetectionTransform transform = transform(16, 0.1, 2, 0.5);
      Trained trained = train(transform, Drawings.detection("twin", picture, objects), 3, epoch);

      SplitMix random = new SplitMix(3, epoch, SplitMix.hash("twin"));
      boolean flip = random.unit() < 0.5;
      flipped += flip ? 1 : 0;
      double factor = 16 * (0.1 + 1.9 * random.unit()) / Math.max(width, height);
      int newWidth = (int) Math.max(1, Math.rint(width * factor));
      int newHeight = (int) Math.max(1, Math.rint(height * factor));
      int top = (int) Math.rint(Math.max(0, newHeight - 16) * random.unit());
      int left = (int) Math.rint(Math.max(0, newWidth - 16) * random.unit());
      int shownHeight = Math.min(16, newHeight);
      int shownWidth = Math.min(16, newWidth);
      assertThat(trained.placement.height()).isEqualTo(shownHeight);
      assertThat(trained.placement.width()).isEqualTo(shownWidth);

      Picture resized =
          Resize.resize(
              flip ? PillowOps.flip(picture) : picture,
              newWidth,
              newHeight,
              Resize.Filter.BILINEAR);
      for (int i = 0; i < trained.image.length; i++) {
        int y = i / 16 % 16;
        int x = i % 16;
        if (y >= shownHeight || x >= shownWidth) {
          assertThat(trained.image[i]).isZero();
          continue;
        }
        int expected = resized.pixels()[((top + y) * newWidth + left + x) * 3 + i / 256] & 0xFF;
        assertThat(255 * trained.image[i]).isCloseTo(expected, within(1.01f));
      }

      List<Instance> expected = new ArrayList<>();
      for (DetectedObject object : objects) {
        if (object.crowd()) {
          continue;
        }
        stored++;
        Instance instance =
            object.rle().isEmpty()
                ? box(object, width, height, newWidth, newHeight, top, left, flip)
                : mask(object, width, height, newWidth, newHeight, top, left, flip);
        if (instance != null) {
          expected.add(instance);
        }
      }
      seen += expected.size();
      assertThat(trained.placement.instances())
          .usingRecursiveComparison()
          .withComparatorForType(
              (a, b) -> Math.abs(a - b) < 1e-9 ? 0 : Double.compare(a, b), Double.class)
          .isEqualTo(expected);
    }
    assertThat(flipped).isBetween(120, 180);
    assertThat(seen).isLessThan(stored - 50).isGreaterThan(stored / 2); // some were cut off
  }

  private static Instance box(
      DetectedObject object,
      int width,
      int height,
      int newWidth,
      int newHeight,
      int top,
      int left,
      boolean flip) {
    double[] xs = {object.x(), object.x() + object.width()};
    double[] ys = {object.y(), object.y() + object.height()};
    for (int i = 0; i < 2; i++) {
      double x = (flip ? width - xs[i] : xs[i]) * newWidth / width - left;
      xs[i] = Math.max(0, Math.min(Math.min(16, newWidth), x));
      ys[i] = Math.max(0, Math.min(Math.min(16, newHeight), ys[i] * newHeight / height - top));
    }
    double across = Math.abs(xs[1] - xs[0]);
    double down = ys[1] - ys[0];
    return across <= 1e-5 || down <= 1e-5
        ? null
        : new Instance(object.category(), Math.min(xs[0], xs[1]), ys[0], across, down, new byte[0]);
  }

  private static Instance mask(
      DetectedObject object,
      int width,
      int height,
      int newWidth,
      int newHeight,
      int top,
      int left,
      boolean flip) {
    byte[] raster = Rle.parse(object.rle(), height, width).toMask();
    int shownHeight = Math.min(16, newHeight);
    int shownWidth = Math.min(16, newWidth);
    byte[][] shown = new byte[shownHeight][shownWidth];
    int y0 = 99;
    int y1 = -1;
    int x0 = 99;
    int x1 = -1;
    for (int y = 0; y < shownHeight; y++) {
      for (int x = 0; x < shownWidth; x++) {
        int row = (2 * (top + y) + 1) * height / (2 * newHeight);
        int column = (2 * (left + x) + 1) * width / (2 * newWidth);
        shown[y][x] = raster[row * width + (flip ? width - 1 - column : column)];
        if (shown[y][x] == 1) {
          y0 = Math.min(y0, y);
          y1 = Math.max(y1, y);
          x0 = Math.min(x0, x);
          x1 = Math.max(x1, x);
        }
      }
    }
    if (y1 < 0) {
      return null;
    }
    byte[] cut = new byte[(y1 - y0 + 1) * (x1 - x0 + 1)];
    for (int y = y0; y <= y1; y++) {
      System.arraycopy(shown[y], x0, cut, (y - y0) * (x1 - x0 + 1), x1 - x0 + 1);
    }
    return new Instance(object.category(), x0, y0, x1 - x0 + 1, y1 - y0 + 1, cut);
  }

  /** Two with masks, two with boxes, one crowd. */
  private static List<DetectedObject> draw(int width, int height, long seed) {
    SplitMix random = new SplitMix(seed, 1);
    List<DetectedObject> objects = new ArrayList<>();
    for (int i = 0; i < 5; i++) {
      double x = random.unit() * (width - 2);
      double y = random.unit() * (height - 2);
      double w = 1 + random.unit() * (width - x - 1);
      double h = 1 + random.unit() * (height - y - 1);
      char[] digits = new char[width * height];
      Arrays.fill(digits, '0');
      for (int p = 0; p < digits.length; p++) {
        int row = p / width;
        int column = p % width;
        boolean inside = column >= x && column < x + w && row >= y && row < y + h;
        if (inside && random.below(4) > 0) {
          digits[p] = '1';
        }
      }
      objects.add(
          object(i, x, y, w, h, i == 4, i % 2 == 0 ? mask(height, width, new String(digits)) : ""));
    }
    return objects;
  }

  @Test
  void emptyObjectsAreDropped() {
    List<DetectedObject> objects =
        List.of(
            object(0, 1, 1, 2, 2, false, mask(4, 4, "0000000000000000")),
            object(1, 1, 1, 0, 2, false, ""),
            object(2, -5, 0, 5, 2, false, ""),
            object(3, 0, 0, 4, 4, true, mask(4, 4, "1111111111111111")),
            object(4, 1, 1, 1, 1, false, ""));
    Sample sample = Drawings.detection("a", Drawings.noise(4, 4, 3, 256, 1), objects);
    assertThat(train(transform(4, 1, 1, 0.5), sample, 1, 0).placement.instances())
        .extracting(Instance::category)
        .containsExactly(4);
  }

  @Test
  void jitterCoversItsRange() {
    Sample sample = Drawings.detection("a", Drawings.noise(20, 10, 3, 256, 1), List.of());
    DetectionTransform transform = transform(100, 0.1, 2, 0.5);
    int smallest = 1000;
    int full = 0;
    for (int epoch = 0; epoch < 200; epoch++) {
      Placement placement = train(transform, sample, 1, epoch).placement;
      smallest = Math.min(smallest, placement.width());
      full += placement.width() == 100 ? 1 : 0;
      assertThat(placement.height()).isBetween(placement.width() / 2 - 1, 100);
    }
    assertThat(smallest).isBetween(10, 14);
    assertThat(full).isBetween(85, 125); // scale above 1: 1.0 of 1.9
  }

  @Test
  void evaluationBringsTheLongerSideToTheSize() {
    Sample sample =
        Drawings.detection(
            "a",
            new Picture(640, 427, 3, filled(640 * 427 * 3, 51)),
            List.of(object(1, 1, 1, 5, 5, false, "")));
    float[] target = new float[3 * 1024 * 1024];
    Arrays.fill(target, 9);
    Placement placement = transform(1024, 0.1, 2, 0.5).evaluate(sample, target, 0);
    assertThat(placement.width()).isEqualTo(1024);
    assertThat(placement.height()).isEqualTo(683);
    assertThat(placement.instances()).isEmpty();
    for (int y = 0; y < 1024; y += 11) {
      assertThat(target[1024 * y + 1023]).isEqualTo(y < 683 ? 0.2f : 0);
    }
  }

  @Test
  void augmentationIsAPureFunctionOfSeedEpochAndId() throws Exception {
    Picture picture = Drawings.noise(20, 15, 3, 256, 1);
    Sample sample = Drawings.detection("a", picture, List.of());
    DetectionTransform transform = transform(16, 0.1, 2, 0.5);
    float[] first = train(transform, sample, 1, 0).image;
    assertThat(train(transform, Drawings.detection("b", picture, List.of()), 1, 0).image)
        .isNotEqualTo(first);
    assertThat(train(transform, sample, 2, 0).image).isNotEqualTo(first);
    assertThat(train(transform, sample, 1, 1).image).isNotEqualTo(first);
    assertThat(train(Drawings.sent(transform, DetectionTransform.class), sample, 1, 0).image)
        .isEqualTo(first);
  }

  @Test
  void saysWhatIsBad() {
    DetectionTransform transform = transform(4, 1, 1, 0);
    Picture picture = Drawings.noise(4, 3, 3, 256, 1);
    Sample wrongMask =
        Drawings.detection(
            "x/y", picture, List.of(object(0, 0, 0, 1, 1, false, mask(2, 2, "0110"))));
    assertThatThrownBy(() -> train(transform, wrongMask, 1, 0))
        .isInstanceOf(DataException.class)
        .hasMessage("Cannot use sample x/y: mask has runs of 4 pixels in all, 4 x 3 has 12");
    assertThatThrownBy(
            () -> transform.evaluate(new Sample("z", 0, 1, 1, new byte[] {1}), new float[48], 0))
        .isInstanceOf(DataException.class)
        .hasMessage("Cannot decode sample z: cannot be decoded");
    assertThatThrownBy(() -> transform(4, 0, 1, 0))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid min-scale: 0.0 (must be > 0)");
    assertThatThrownBy(() -> transform(4, 1, 1, 2))
        .hasMessage("Invalid flip-probability: 2.0 (must be in 0..1)");
  }

  @Test
  void realObjectsKeepTheirMasks() throws IOException {
    Assumptions.assumeTrue(Files.exists(COCO), "no ../shared/data beside the checkout");
    Configuration hadoop = new Configuration();
    CocoSource source = CocoSource.ofSplit(hadoop, COCO.toString(), "val");
    Listing listing = source.list(hadoop);
    int instances = 0;
    for (Item item : listing.items()) {
      Sample sample = source.read(hadoop, listing.root(), item);
      int size = Math.max(sample.height(), sample.width());
      List<DetectedObject> objects = sample.objects().stream().filter(o -> !o.crowd()).toList();
      List<Instance> found = train(transform(size, 1, 1, 0), sample, 1, 0).placement.instances();
      assertThat(found).hasSameSizeAs(objects);
      for (int i = 0; i < found.size(); i++) {
        Rle mask = Rle.parse(objects.get(i).rle(), sample.height(), sample.width());
        Instance instance = found.get(i);
        int area = 0;
        for (byte pixel : instance.mask()) {
          area += pixel;
        }
        assertThat(area).isEqualTo(mask.area());
        // The smallest box; that of the run lengths may be higher.
        assertThat(instance.x()).isEqualTo(mask.box().x());
        assertThat(instance.width()).isEqualTo(mask.box().width());
        assertThat(instance.height()).isLessThanOrEqualTo(mask.box().height());
      }
      instances += found.size();
    }
    assertThat(instances).isEqualTo(560 - 8); // annotations but for crowds
  }

  /** A digit for each pixel as COCO's string. */
  private static String mask(int height, int width, String digits) {
    byte[] mask = new byte[digits.length()];
    for (int i = 0; i < mask.length; i++) {
      mask[i] = (byte) (digits.charAt(i) - '0');
    }
    return Rle.ofMask(mask, height, width).toString();
  }

  private static byte[] filled(int length, int value) {
    byte[] bytes = new byte[length];
    Arrays.fill(bytes, (byte) value);
    return bytes;
  }

  private static DetectedObject object(
      int category, double x, double y, double width, double height, boolean crowd, String rle) {
    return new DetectedObject(category, x, y, width, height, width * height, crowd, rle);
  }

  private static DetectionTransform transform(
      int imageSize, double minScale, double maxScale, double flipProbability) {
    return new DetectionTransform(
        new DetectionTransform.Options(
            imageSize, minScale, maxScale, flipProbability, Drawings.ZERO, Drawings.ONE));
  }

  private static Trained train(DetectionTransform transform, Sample sample, long seed, int epoch) {
    float[] image = new float[transform.size()];
    Placement placement = transform.train(sample, seed, epoch, image, 0);
    return new Trained(image, placement);
  }
}
