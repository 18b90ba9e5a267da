package sparkvision.report;

import static org.assertj.core.api.Assertions.assertThat;

import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.StringReader;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import javax.imageio.ImageIO;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.w3c.dom.Document;
import org.w3c.dom.Element;
import org.w3c.dom.NodeList;
import org.xml.sax.InputSource;
import sparkvision.data.DetectedObject;
import sparkvision.data.Images;
import sparkvision.data.Sample;
import sparkvision.data.ShardManifest;
import sparkvision.data.Task;
import sparkvision.data.coco.Rle;
import sparkvision.data.volume.Affine;
import sparkvision.data.volume.Nifti;
import sparkvision.data.volume.Volume;

class ShardPageTest {

  private static final byte[] NONE = {};
  private static final List<String> CLASSES = List.of("sky & sea", "road", "tree");

  @Test
  void isWellFormedAndTellsWhatIsInTheSet() throws Exception {
    Sample sample = new Sample("a/<b>.png", 1, 50, 60, grey(60, 50, 100));
    Document page =
        parse(ShardPage.render(manifest(Task.CLASSIFICATION), "hdfs://nn/s", List.of(sample)));
    String text = page.getDocumentElement().getTextContent();
    assertThat(text)
        .contains(
            "imagenet val", "hdfs://nn/s", "hdfs://nn/raw", "shorter side 256, JPEG quality 90")
        .contains("sky & sea", "1,234", "32 to 63", "a/<b>.png", "60 x 50", "road")
        .contains("x.tar", "4,096", "empty file");
    assertThat(page.getElementsByTagName("img").getLength()).isEqualTo(1);
    assertThat(page.getElementsByTagName("script").getLength()).isZero();
    assertThat(text).doesNotContain("depth");
  }

  @Test
  void masksAreDrawnInTheColoursOfTheirClasses() throws Exception {
    byte[] mask = new byte[60 * 50];
    Arrays.fill(mask, 0, 60 * 25, (byte) 1);
    Arrays.fill(mask, 60 * 25, 60 * 50, (byte) 255);
    byte[] png = Images.encodePng(new Images.Picture(60, 50, 1, mask));
    BufferedImage drawn =
        drawn(Task.SEGMENTATION, new Sample("a", -1, 1, 50, 60, grey(60, 50, 100), png, List.of()));
    assertThat(saturation(drawn.getRGB(30, 5))).isGreaterThan(0.2f);
    assertThat(saturation(drawn.getRGB(30, 45))).as("ignored is grey").isEqualTo(0f);
    assertThat(drawn.getRGB(30, 45) & 0xFF).isEqualTo(100 + Math.round(0.45f * 28));
  }

  @Test
  void boxesAndTheirMasksAreDrawnWhereTheyAre() throws Exception {
    byte[] mask = new byte[600 * 500];
    for (int y = 200; y < 300; y++) {
      Arrays.fill(mask, y * 600 + 300, y * 600 + 400, (byte) 1);
    }
    String rle = Rle.ofMask(mask, 500, 600).toString();
    List<DetectedObject> objects =
        List.of(
            new DetectedObject(1, 300, 200, 100, 100, 10_000, false, rle),
            new DetectedObject(2, 60, 300, 120, 120, 14_400, false, ""));
    BufferedImage drawn =
        drawn(Task.DETECTION, new Sample("a", -1, 1, 500, 600, grey(600, 500, 100), NONE, objects));
    assertThat(drawn.getWidth()).isEqualTo(320);
    double scale = 320 / 600.0;
    assertThat(saturation(at(drawn, scale, 350, 250))).as("inside the mask").isGreaterThan(0.2f);
    assertThat(saturation(at(drawn, scale, 450, 250))).as("beside it").isLessThan(0.1f);
    assertThat(saturation(at(drawn, scale, 120, 360))).as("inside the box").isLessThan(0.1f);
    assertThat(saturation(at(drawn, scale, 120, 420))).as("its edge").isGreaterThan(0.2f);
  }

  @Test
  void ofAVolumeTheMiddleSliceIsDrawnFrontUp() throws Exception {
    float[] voxels = new float[3 * 4 * 5];
    float[] classes = new float[3 * 4 * 5];
    voxels[20 + 3 * 5 + 1] = 50; // slice 1, the row furthest in front, second from the left
    voxels[0] = 100; // in another slice
    classes[20 + 2] = 2; // the row furthest behind, in the middle
    BufferedImage drawn =
        drawn(
            Task.VOLUME_SEGMENTATION,
            new Sample("v", -1, 3, 4, 5, nifti(voxels), nifti(classes), List.of()));
    assertThat(drawn.getRGB(1, 0) & 0xFFFFFF).isEqualTo(0x808080);
    assertThat(drawn.getRGB(1, 1) & 0xFFFFFF).isEqualTo(0);
    assertThat(saturation(drawn.getRGB(2, 3))).isGreaterThan(0.2f);
  }

  @Test
  void classesThatAreToBeSeenAreNamed() throws Exception {
    DetectedObject tree = new DetectedObject(2, 5, 5, 20, 20, 400, false, "");
    Sample sample = new Sample("a", -1, 1, 50, 60, grey(60, 50, 100), NONE, List.of(tree, tree));
    String page = ShardPage.render(manifest(Task.DETECTION), "here", List.of(sample));
    String card = page.substring(page.indexOf("<figcaption>"), page.indexOf("</figcaption>"));
    assertThat(card).contains("</i>tree</span>", "60 x 50, 2 objects").doesNotContain("road");
  }

  private static int at(BufferedImage drawn, double scale, int x, int y) {
    return drawn.getRGB((int) (scale * x), (int) (scale * y));
  }

  private static float saturation(int rgb) {
    return java.awt.Color.RGBtoHSB(rgb >> 16 & 0xFF, rgb >> 8 & 0xFF, rgb & 0xFF, null)[1];
  }

  private static byte[] nifti(float[] voxels) {
    return Nifti.write(new Volume(3, 4, 5, voxels, Affine.ofSpacing(1, 1, 1)));
  }

  private static byte[] grey(int width, int height, int value) {
    byte[] pixels = new byte[width * height];
    Arrays.fill(pixels, (byte) value);
    return Images.encodePng(new Images.Picture(width, height, 1, pixels));
  }

  /** The picture on the page of a set of this one sample. */
  private static BufferedImage drawn(Task task, Sample sample) throws Exception {
    Document page = parse(ShardPage.render(manifest(task), "here", List.of(sample)));
    NodeList images = page.getElementsByTagName("img");
    String source = ((Element) images.item(0)).getAttribute("src");
    byte[] bytes = Base64.getDecoder().decode(source.substring(source.indexOf(',') + 1));
    return ImageIO.read(new ByteArrayInputStream(bytes));
  }

  private static Document parse(String page) throws Exception {
    try {
      return DocumentBuilderFactory.newInstance()
          .newDocumentBuilder()
          .parse(new InputSource(new StringReader(page.replace("<!DOCTYPE html>", ""))));
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }

  private static ShardManifest manifest(Task task) {
    return new ShardManifest(
        ShardManifest.VERSION,
        task,
        "imagenet",
        "val",
        "",
        "hdfs://nn/raw",
        "",
        1234,
        256,
        CLASSES,
        List.of(3L, 1234L, 0L),
        List.of(0.5),
        List.of(0.25),
        List.of(new ShardManifest.Sizes(32, 1234)),
        List.of(new ShardManifest.Sizes(32, 1234)),
        List.of(),
        List.of(),
        List.of(new ShardManifest.Quarantined("bad.png", "x.tar", 4096, "empty file")),
        256,
        90,
        1,
        0,
        0,
        "",
        0,
        "0.1.0");
  }
}
