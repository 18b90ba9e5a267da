package sparkvision.data.volume;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.tuple;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import sparkvision.data.DataException;
import sparkvision.data.Images;
import sparkvision.data.Item;
import sparkvision.data.Listing;
import sparkvision.data.ResidentMemoryTest;
import sparkvision.data.Sample;
import sparkvision.data.ShardManifest.Quarantined;
import sparkvision.data.SplitMix;
import sparkvision.data.Task;

final class VolumeSourceTest {

  private static final Configuration HADOOP = new Configuration();
  private static final Affine UNIT = Affine.ofSpacing(1, 1, 1);

  @TempDir Path dir;

  // Layouts

  @Test
  void readsTheHippocampusPairs() throws IOException {
    Path root = Path.of("../../shared/data/volumes/Task04_Hippocampus");
    Assumptions.assumeTrue(Files.isDirectory(root), "no ../shared/data beside the checkout");
    VolumeSource source = new VolumeSource(root.toString(), "", List.of(), true, -1);
    Listing listing = source.list(HADOOP);
    assertThat(listing.task()).isEqualTo(Task.VOLUME_SEGMENTATION);
    assertThat(listing.classes()).containsExactly("background", "Anterior", "Posterior");
    assertThat(listing.items()).hasSize(130);
    assertThat(listing.quarantined()).isEmpty();
    assertThat(listing.items().get(0).id()).isEqualTo("imagesTr/hippocampus_001.nii.gz");

    long[] counts = new long[3];
    for (Item item : listing.items()) {
      Sample sample = source.read(HADOOP, listing.root(), item);
      assertThat(sample.depth()).isBetween(24, 47);
      assertThat(sample.height()).isBetween(40, 59);
      assertThat(sample.width()).isBetween(31, 43);
      Volume image = Nifti.read(sample.image(), Nifti.ONLY_CHANNEL);
      Volume mask = Nifti.read(sample.mask(), Nifti.ONLY_CHANNEL);
      assertThat(mask.voxels()).hasSameSizeAs(image.voxels());
      assertThat(mean(image)).isCloseTo(0, within(1e-5));
      for (float label : mask.voxels()) {
        counts[(int) label]++;
      }
    }
    assertThat(counts).containsExactly(HIPPOCAMPUS_VOXELS);
  }

  /** Background, anterior, posterior; counted with nibabel and numpy. */
  private static final long[] HIPPOCAMPUS_VOXELS = {7749169, 223808, 203470};

  private static double mean(Volume volume) {
    double sum = 0;
    for (float voxel : volume.voxels()) {
      sum += voxel;
    }
    return sum / volume.voxels().length;
  }

  @Test
  void readsPairsOfADecathlonAndNamesWhatIsMissing() throws IOException {
    write("imagesTr/b ä.nii.gz", volume(2, 3, 4));
    write("imagesTr/a.nii.gz", volume(2, 3, 4));
    write("labelsTr/a.nii.gz", filled(2, 3, 4, 1));
    write("labelsTr/b ä.nii.gz", filled(2, 3, 4, 255));
    write(
        "dataset.json",
        """
        {"labels": {"0": "background", "1": "liver"}, "numTraining": 8,
         "training": [
           {"image": "./imagesTr/b ä.nii.gz", "label": "./labelsTr/b ä.nii.gz"},
           {"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"},
           {"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"},
           {"image": "imagesTr/c.nii.gz", "label": "labelsTr/c.nii.gz"},
           {"image": "imagesTr/a.nii.gz", "label": "labelsTs/c.nii.gz"},
           {"image": "../secret.nii", "label": "labelsTr/a.nii.gz"},
           {"image": "imagesTr/a.nii.gz"}],
         "test": ["./imagesTs/d.nii.gz"]}
        """);
    VolumeSource source = source();
    Listing listing = source.list(HADOOP);
    assertThat(listing.task()).isEqualTo(Task.VOLUME_SEGMENTATION);
    assertThat(listing.classes()).containsExactly("background", "liver");
    assertThat(listing.items())
        .extracting(Item::id, Item::label)
        .containsExactly(tuple("imagesTr/a.nii.gz", -1), tuple("imagesTr/b ä.nii.gz", -1));
    assertThat(listing.quarantined())
        .containsExactly(
            new Quarantined(
                "imagesTr/a.nii.gz", "another sample has the same id: imagesTr/a.nii.gz"),
            new Quarantined("imagesTr/c.nii.gz", "no such file: labelsTr/c.nii.gz"),
            new Quarantined("imagesTr/a.nii.gz", "no such file: labelsTs/c.nii.gz"),
            new Quarantined("../secret.nii", "not a path inside the folder: ../secret.nii"),
            new Quarantined("dataset.json#training[6]", "names no image and label"));

    Sample sample = source.read(HADOOP, listing.root(), listing.items().get(1));
    assertThat(sample.depth()).isEqualTo(2);
    assertThat(sample.height()).isEqualTo(3);
    assertThat(sample.width()).isEqualTo(4);
    assertThat(Nifti.read(sample.image(), -1).voxels()).isEqualTo(volume(2, 3, 4).voxels());
    assertThat(Nifti.read(sample.mask(), -1).voxels()).containsOnly(255);
  }

  @Test
  void readsTheTestListOfADecathlonWithUnknownVoxels() throws IOException {
    write("imagesTs/d.nii.gz", volume(2, 3, 4));
    write("imagesTs/e.nii.gz", volume(1, 3, 4));
    write(
        "dataset.json",
        """
        {"labels": {"0": "background", "1": "liver"}, "training": [],
         "test": ["./imagesTs/d.nii.gz", {"image": "imagesTs/e.nii.gz"}, 7, "imagesTs/f.nii.gz"]}
        """);
    VolumeSource source =
        new VolumeSource(dir.toString(), "test", List.of(2.0, 1.0, 1.0), true, -1);
    Listing listing = source.list(HADOOP);
    assertThat(listing.task()).isEqualTo(Task.VOLUME_SEGMENTATION);
    assertThat(listing.items())
        .extracting(Item::id)
        .containsExactly("imagesTs/d.nii.gz", "imagesTs/e.nii.gz");
    assertThat(listing.quarantined())
        .containsExactly(
            new Quarantined("dataset.json#test[2]", "names no image"),
            new Quarantined("imagesTs/f.nii.gz", "no such file: imagesTs/f.nii.gz"));
    Sample sample = source.read(HADOOP, listing.root(), listing.items().get(0));
    assertThat(sample.depth()).isEqualTo(1);
    assertThat(Nifti.read(sample.mask(), -1).voxels()).hasSize(12).containsOnly(255);

    assertThatThrownBy(() -> new VolumeSource("x", "val", List.of(), false, -1))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid split: val (must be training or test for volumes)");
    write("classes/a/x.nii.gz", volume(1, 1, 2));
    Path folders = dir.resolve("classes");
    assertThatThrownBy(
            () -> new VolumeSource(folders + "", "test", List.of(), false, -1).list(HADOOP))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("has none: only a folder with dataset.json has");
  }

  @Test
  void readsClassFoldersWithClipsInThem() throws IOException {
    write("lung/deep/x.NII.gz", volume(1, 1, 2));
    write("lung/y.nii.gz", volume(1, 1, 3));
    write("lung/notes.txt", "");
    write("heart/clip 1/frame_10.png", grey(2, 3, 30));
    write("heart/clip 1/frame_9.png", grey(2, 3, 20));
    write("heart/clip 1/frame_2.png", colour(2, 3, 90));
    VolumeSource source = source();
    Listing listing = source.list(HADOOP);
    assertThat(listing.task()).isEqualTo(Task.VOLUME_CLASSIFICATION);
    assertThat(listing.classes()).containsExactly("heart", "lung");
    assertThat(listing.ignoredFiles()).isEqualTo(1);
    assertThat(listing.items())
        .extracting(Item::id, Item::label)
        .containsExactly(
            tuple("heart/clip 1", 0), tuple("lung/deep/x.NII.gz", 1), tuple("lung/y.nii.gz", 1));
    Sample clip = source.read(HADOOP, listing.root(), listing.items().get(0));
    assertThat(clip.label()).isZero();
    assertThat(clip.mask()).isEmpty();
    assertThat(new int[] {clip.depth(), clip.height(), clip.width()}).containsExactly(3, 2, 3);
    assertThat(Nifti.read(clip.image(), -1).voxels())
        .containsExactly(90, 90, 90, 90, 90, 90, 20, 20, 20, 20, 20, 20, 30, 30, 30, 30, 30, 30);
    Sample file = source.read(HADOOP, listing.root(), listing.items().get(2));
    assertThat(file.label()).isEqualTo(1);
    assertThat(file.width()).isEqualTo(3);
  }

  @Test
  void readsACsvOfPathsAndLabels() throws IOException {
    write("data/a, b.nii.gz", volume(1, 1, 2));
    write("data/#c.nii.gz", volume(1, 1, 2));
    write(
        "list.csv",
        "\ufeffpath,label\r\n\"data/a, b.nii.gz\",well\r\ndata/#c.nii.gz, \"ill \"\"x\"\"\" \r\n"
            + "data/d.nii.gz\r\n\r\ndata/e.nii.gz,well\r\n");
    for (Path input : List.of(dir, dir.resolve("list.csv"))) {
      Listing listing = new VolumeSource(input.toString(), "", List.of(), false, -1).list(HADOOP);
      assertThat(listing.task()).isEqualTo(Task.VOLUME_CLASSIFICATION);
      assertThat(listing.classes()).containsExactly("ill \"x\"", "well");
      assertThat(listing.items())
          .extracting(Item::id, Item::label)
          .containsExactly(tuple("data/#c.nii.gz", 0), tuple("data/a, b.nii.gz", 1));
      assertThat(listing.quarantined())
          .containsExactly(
              new Quarantined("list.csv#4", "row 4 has not two values"),
              new Quarantined("data/e.nii.gz", "no such file: data/e.nii.gz"));
    }
  }

  @Test
  void readsACsvOfImagesAndMasks() throws IOException {
    write("a.nii.gz", volume(1, 1, 2));
    write("m.nii.gz", filled(1, 1, 2, 2));
    write("pairs.csv", "image,mask\na.nii.gz,m.nii.gz\n");
    assertThatThrownBy(() -> source().list(HADOOP))
        .isInstanceOf(DataException.class)
        .hasMessageEndingWith(
            "/pairs.csv: there is no classes.txt beside it with the masks' classes, one a line");
    write("classes.txt", "background\nkidney\ntumour\n");
    Listing listing = source().list(HADOOP);
    assertThat(listing.task()).isEqualTo(Task.VOLUME_SEGMENTATION);
    assertThat(listing.classes()).containsExactly("background", "kidney", "tumour");
    Sample sample = source().read(HADOOP, listing.root(), listing.items().get(0));
    assertThat(Nifti.read(sample.mask(), -1).voxels()).containsExactly(2, 2);
  }

  @Test
  void refusesRootsThatAreNone() throws IOException {
    refusesRoot(IllegalArgumentException.class, dir.resolve("none"), "no such path");
    write("x.txt", "");
    refusesRoot(IllegalArgumentException.class, dir.resolve("x.txt"), "a file, but not a .csv");
    refusesRoot(
        DataException.class, dir, "neither dataset.json, nor a CSV file, nor class folders");
    write("heart/notes.txt", "");
    refusesRoot(DataException.class, dir, "class heart has none (files ending in .nii or .nii.gz");
    write("a.csv", "file,class\n");
    refusesRoot(DataException.class, dir, "its header is file,class (path,label for");
    write("b.csv", "");
    refusesRoot(DataException.class, dir.resolve("b.csv"), "its header is  (path,label for");
    refusesRoot(IllegalArgumentException.class, dir, "several CSV files [a.csv, b.csv]; name one");
    write("dataset.json", "{\"labels\": {");
    refusesRoot(DataException.class, dir, "dataset.json: Unexpected end-of-input");
    write("dataset.json", "{\"labels\": {\"1\": \"x\"}, \"training\": []}");
    refusesRoot(DataException.class, dir, "labels must name the classes 0, 1, 2 and so on");
    write("dataset.json", "{\"labels\": {\"0\": \"x\", \"2\": \"y\"}, \"training\": []}");
    refusesRoot(DataException.class, dir, "labels must name the classes 0, 1, 2 and so on");
    write("dataset.json", "{\"labels\": {\"0\": \"x\"}, \"training\": 7}");
    refusesRoot(DataException.class, dir, "it has no training list");
  }

  @Test
  @Tag(ResidentMemoryTest.CHANGED)
  void mutatedListsAreReadOrRefused() throws IOException {
    write("imagesTr/a.nii.gz", volume(2, 3, 4));
    write("labelsTr/a.nii.gz", filled(2, 3, 4, 1));
    byte[] json =
        """
        {"labels": {"0": "background", "1": "liver"}, "training": [
         {"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}]}
        """
            .getBytes(StandardCharsets.UTF_8);
    byte[] csv = "path,label\n\"imagesTr/a.nii.gz\",x\n".getBytes(StandardCharsets.UTF_8);
    SplitMix random = new SplitMix(6);
    int refused = 0;
    for (int i = 0; i < 1000; i++) {
      byte[] mutated = (i % 2 == 0 ? json : csv).clone();
      for (int flips = 1 + random.below(4); flips > 0; flips--) {
        mutated[random.below(mutated.length)] = (byte) random.next();
      }
      if (i % 5 == 0) {
        mutated = Arrays.copyOf(mutated, random.below(mutated.length));
      }
      Path input = i % 2 == 0 ? dir : dir.resolve("list.csv");
      write(i % 2 == 0 ? "dataset.json" : "list.csv", mutated);
      try {
        Listing listing = new VolumeSource(input.toString(), "", List.of(), false, -1).list(HADOOP);
        assertThat(listing.items().size() + listing.quarantined().size()).isLessThan(5);
      } catch (DataException e) {
        refused++;
      }
    }
    assertThat(refused).isBetween(200, 900);
  }

  private static void refusesRoot(Class<? extends Exception> type, Path root, String messagePart) {
    assertThatThrownBy(
            () -> new VolumeSource(root.toString(), "", List.of(), false, -1).list(HADOOP))
        .isInstanceOf(type)
        .hasMessageContaining(messagePart);
  }

  @Test
  void refusesOptionsThatMakeNoSense() {
    for (List<Double> spacing : List.of(List.of(1.0), List.of(1.0, 0.0, 1.0))) {
      assertThatThrownBy(() -> new VolumeSource("x", "", spacing, false, -1))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage(
              "Invalid spacing: " + spacing + " (millimetres along D, H and W, or nothing)");
    }
    assertThatThrownBy(() -> new VolumeSource("x", "", List.of(), false, -2))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid channel: -2 (0 or more; -1 refuses volumes with several)");
  }

  // Samples

  @Test
  void imageAndMaskAreBroughtToRasAndToTheSpacing() throws IOException {
    // Stored with x to the left and y downwards; spacing 2, 1, 1 along D, H, W.
    Affine stored = new Affine(new double[] {-1, 0, 0, 3, 0, 0, 2, 0, 0, -1, 0, 5});
    float[] voxels = new float[2 * 6 * 4];
    float[] labels = new float[voxels.length];
    for (int i = 0; i < voxels.length; i++) {
      voxels[i] = i;
      labels[i] = i % 4 == 0 ? 1 : 0; // right-most voxels, x = 3 mm
    }
    Path image = write("imagesTr/a.nii.gz", new Volume(2, 6, 4, voxels, stored));
    pair(image, new Volume(2, 6, 4, labels, stored));

    Sample ras = read(source());
    assertThat(new int[] {ras.depth(), ras.height(), ras.width()}).containsExactly(6, 2, 4);
    Volume mask = Nifti.read(ras.mask(), -1);
    assertThat(mask.affine().codes()).isEqualTo("RAS");
    for (int i = 0; i < mask.voxels().length; i++) {
      assertThat(mask.voxels()[i]).isEqualTo(i % 4 == 3 ? 1 : 0);
    }

    VolumeSource fine = new VolumeSource(dir.toString(), "", List.of(1.0, 1.0, 0.5), false, -1);
    Sample sample = read(fine);
    assertThat(new int[] {sample.depth(), sample.height(), sample.width()})
        .containsExactly(6, 4, 8);
    assertThat(Nifti.read(sample.image(), -1).spacing()).containsExactly(1.0, 1.0, 0.5);
    Volume resampled = Nifti.read(sample.mask(), -1);
    for (int i = 0; i < resampled.voxels().length; i++) {
      assertThat(resampled.voxels()[i]).isEqualTo(i % 8 >= 6 ? 1 : 0);
    }
  }

  @Test
  void takesTheChannelThatIsAskedFor() throws IOException {
    Path from = Path.of("src/test/resources/nifti/int16-le-4d.nii.gz");
    Files.createDirectories(dir.resolve("c"));
    Files.copy(from, dir.resolve("c/x.nii.gz"));
    assertThatThrownBy(() -> read(source()))
        .isInstanceOf(DataException.class)
        .hasMessage("4-D NIfTI with 3 channels: asked for is the only one");
    VolumeSource second = new VolumeSource(dir.toString(), "", List.of(), false, 1);
    assertThat(Nifti.read(read(second).image(), -1).voxels())
        .isEqualTo(Nifti.read(Files.readAllBytes(from), 1).toRas().voxels());
  }

  @Test
  void quarantinesPairsThatDoNotFit() throws IOException {
    Path image = write("imagesTr/a.nii.gz", volume(2, 3, 4));
    pair(image, filled(2, 4, 3, 0));
    refusesSample("mask a.nii.gz has 2 x 4 x 3 voxels (D, H, W in RAS), the image 2 x 3 x 4");
    pair(image, filled(2, 3, 4, 2));
    refusesSample("mask a.nii.gz: voxel (0, 0, 0) is 2.0, none of the 2 classes from 0 on");
    pair(image, new Volume(1, 1, 1, new float[] {0}, UNIT));
    refusesSample("mask a.nii.gz has 1 x 1 x 1 voxels (D, H, W in RAS), the image 2 x 3 x 4");
    Volume zero = filled(2, 3, 4, 0);
    for (float wrong : new float[] {0.5f, -1, Float.NaN, 256}) {
      float[] labels = zero.voxels().clone();
      labels[17] = wrong;
      pair(image, new Volume(2, 3, 4, labels, UNIT));
      refusesSample(
          "mask a.nii.gz: voxel (1, 1, 1) is " + wrong + ", none of the 2 classes from 0 on");
    }
    Affine shifted = new Affine(new double[] {1, 0, 0, 0.4, 0, 1, 0, 0.4, 0, 0, 1, 0});
    pair(image, new Volume(2, 3, 4, zero.voxels(), shifted));
    refusesSample("mask a.nii.gz lies up to 0.57 mm beside the image, whose voxels are 1.00 mm");
    Affine little = new Affine(new double[] {1, 0, 0, 0.3, 0, 1, 0, 0.3, 0, 0, 1, 0});
    pair(image, new Volume(2, 3, 4, zero.voxels(), little));
    assertThat(Nifti.read(read(source()).mask(), -1).affine().rows()).isEqualTo(UNIT.rows());
    float[] rounded = zero.voxels().clone();
    rounded[3] = 0.9999f;
    pair(image, new Volume(2, 3, 4, rounded, UNIT));
    assertThat(Nifti.read(read(source()).mask(), -1).voxels()).startsWith(0, 0, 0, 1, 0);
    Files.write(dir.resolve("labelsTr/a.nii.gz"), new byte[] {1, 2, 3});
    refusesSample("mask a.nii.gz: truncated NIfTI: it ends in its header");
  }

  @Test
  void quarantinesVoxelsThatAreNoNumbers() throws IOException {
    float[] voxels = new float[24];
    voxels[13] = Float.NaN;
    write("c/x.nii.gz", new Volume(2, 3, 4, voxels, UNIT));
    refusesSample("voxel (1, 0, 1) is NaN");
  }

  @Test
  void quarantinesClipsThatAreNone() throws IOException {
    write("c/clip/1.png", grey(2, 2, 0));
    write("c/clip/01.png", grey(2, 2, 0));
    refusesSample("frame 1.png has the same number as another");
    Files.delete(dir.resolve("c/clip/01.png"));
    write("c/clip/2.png", grey(2, 3, 0));
    refusesSample("frame 2.png has 2 x 3 pixels, the first 2 x 2");
    write("c/clip/2.png", new byte[] {1});
    refusesSample("frame 2.png: neither JPEG nor PNG");
    write("c/clip/last.png", grey(2, 2, 0));
    refusesSample("frame last.png has no number in its name");
  }

  private void refusesSample(String reason) {
    assertThatThrownBy(() -> read(source())).isInstanceOf(DataException.class).hasMessage(reason);
  }

  private VolumeSource source() {
    return new VolumeSource(dir.toString(), "", List.of(), false, Nifti.ONLY_CHANNEL);
  }

  /** Reads the one sample. */
  private static Sample read(VolumeSource source) throws IOException {
    Listing listing = source.list(HADOOP);
    assertThat(listing.items()).hasSize(1);
    return source.read(HADOOP, listing.root(), listing.items().get(0));
  }

  /** Makes {@code dir} a Decathlon of one pair with the classes 0 and 1. */
  private void pair(Path image, Volume mask) throws IOException {
    String name = image.getFileName().toString();
    write("labelsTr/" + name, mask);
    write(
        "dataset.json",
        """
        {"labels": {"0": "background", "1": "liver"},
         "training": [{"image": "imagesTr/%1$s", "label": "labelsTr/%1$s"}]}
        """
            .formatted(name));
  }

  private static Volume volume(int depth, int height, int width) {
    float[] voxels = new float[depth * height * width];
    for (int i = 0; i < voxels.length; i++) {
      voxels[i] = i + 0.5f;
    }
    return new Volume(depth, height, width, voxels, UNIT);
  }

  private static Volume filled(int depth, int height, int width, float value) {
    float[] voxels = new float[depth * height * width];
    Arrays.fill(voxels, value);
    return new Volume(depth, height, width, voxels, UNIT);
  }

  private static byte[] grey(int height, int width, int value) {
    byte[] pixels = new byte[height * width];
    Arrays.fill(pixels, (byte) value);
    return Images.encodePng(new Images.Picture(width, height, 1, pixels));
  }

  private static byte[] colour(int height, int width, int value) {
    byte[] pixels = new byte[3 * height * width];
    Arrays.fill(pixels, (byte) value);
    return Images.encodePng(new Images.Picture(width, height, 3, pixels));
  }

  private Path write(String path, Volume volume) throws IOException {
    return write(path, Nifti.write(volume));
  }

  private Path write(String path, String text) throws IOException {
    return write(path, text.getBytes(StandardCharsets.UTF_8));
  }

  private Path write(String path, byte[] bytes) throws IOException {
    Path file = dir.resolve(path);
    Files.createDirectories(file.getParent());
    return Files.write(file, bytes);
  }
}
