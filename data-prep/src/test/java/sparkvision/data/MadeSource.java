package sparkvision.data;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.TaskContext;
import sparkvision.data.volume.Affine;
import sparkvision.data.volume.Nifti;
import sparkvision.data.volume.Volume;

/**
 * Samples of any task, made up from their number.
 *
 * @param failing whether the third read of a task's first attempt fails, as storage does
 */
record MadeSource(Task task, int samples, boolean failing) implements Source {

  /** Reads that failed in this JVM. */
  static final AtomicInteger FAILURES = new AtomicInteger();

  private static final ThreadLocal<long[]> READS = ThreadLocal.withInitial(() -> new long[2]);

  @Override
  public Listing list(Configuration hadoop) {
    List<Item> items = new ArrayList<>();
    for (int i = 0; i < samples; i++) {
      String id = String.format("sample %03d ä漢", i);
      items.add(new Item(id, "all.tar", 512L * i, 100, 5, label(i), new byte[] {(byte) i}));
    }
    return new Listing(
        task, "file:/made", List.of("first", "zweite Klasse", "third"), items, List.of(), 0);
  }

  private int label(int number) {
    return task.isClassification() ? number % 3 : -1;
  }

  @Override
  public Sample read(Configuration hadoop, String root, Item item) throws IOException {
    if (failing && TaskContext.get().attemptNumber() == 0 && thirdOfTask()) {
      FAILURES.incrementAndGet();
      throw new IOException("Cannot read " + item.id() + ": the storage is tired");
    }
    return sample(item.annotation()[0]);
  }

  private static boolean thirdOfTask() {
    long[] reads = READS.get();
    if (reads[0] != TaskContext.get().taskAttemptId()) {
      reads[0] = TaskContext.get().taskAttemptId();
      reads[1] = 0;
    }
    return ++reads[1] == 3;
  }

  /** Sample number i: a picture of (20 + i) x 30, or a volume of 2 x 3 x (4 + i). */
  Sample sample(int i) {
    String id = String.format("sample %03d ä漢", i);
    byte[] none = {};
    byte[] image = Pictures.png(20 + i, 30, BufferedImage.TYPE_3BYTE_BGR, i + 1);
    return switch (task) {
      case CLASSIFICATION -> new Sample(id, label(i), 30, 20 + i, image);
      case SEGMENTATION -> new Sample(id, -1, 1, 30, 20 + i, image, mask(20 + i, 30, i), List.of());
      case DETECTION -> new Sample(id, -1, 1, 30, 20 + i, image, none, objects(i));
      case VOLUME_CLASSIFICATION ->
          new Sample(id, label(i), 2, 3, 4 + i, volume(4 + i, i), none, List.of());
      case VOLUME_SEGMENTATION ->
          new Sample(id, -1, 2, 3, 4 + i, volume(4 + i, i), volume(4 + i, 1), List.of());
    };
  }

  /** Class 0 to the left, ignore to the right; number 3 has class 2 too. */
  static byte[] mask(int width, int height, int i) {
    byte[] pixels = new byte[width * height];
    for (int at = 0; at < pixels.length; at++) {
      pixels[at] = (byte) (at % width < width / 2 ? 0 : 255);
    }
    pixels[width / 4] = (byte) (i == 3 ? 2 : 0);
    return Images.encodePng(new Images.Picture(width, height, 1, pixels));
  }

  private static List<DetectedObject> objects(int i) {
    List<DetectedObject> objects = new ArrayList<>();
    for (int k = 0; k < i % 3; k++) {
      objects.add(new DetectedObject(k + 1, 0.5, k, 10.25, 5, 51.25 + k, k == 1, "0" + k + "\\~"));
    }
    return objects;
  }

  private static byte[] volume(int width, int value) {
    float[] voxels = new float[2 * 3 * width];
    voxels[0] = value;
    return Nifti.write(new Volume(2, 3, width, voxels, Affine.ofSpacing(1, 1, 1)));
  }
}
