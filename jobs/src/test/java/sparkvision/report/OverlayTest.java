package sparkvision.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.w3c.dom.Document;
import org.w3c.dom.Element;
import sparkvision.data.Images;

class OverlayTest {

  private static final Palette PALETTE = new Palette(List.of(0xFF0000, 0x00FF00, 0x0000C8));

  @Test
  void coloursAreMixedIntoThePicture() {
    Images.Picture picture =
        new Images.Picture(4, 1, 3, new byte[] {0, 0, 0, 0, 0, 0, 100, 100, 100, 90, 60, 30});
    Images.Picture labels = new Images.Picture(4, 1, 1, new byte[] {0, 2, 1, -1});
    // 160/256 of the colour, 96/256 of the pixel; a third where there is no label.
    assertThat(Overlay.paint(picture, labels, PALETTE).pixels())
        .containsExactly((byte) 159, 0, 0, 0, 0, 125, 37, (byte) 196, 37, 30, 20, 10);
  }

  @Test
  void showsPictureLabelsAndPrediction() throws IOException {
    byte[] truth = new byte[60 * 40];
    Arrays.fill(truth, 0, 60 * 20, (byte) 255);
    Arrays.fill(truth, 60 * 20, 60 * 40, (byte) 1);
    Overlay.Example example =
        new Overlay.Example(
            "val/<1>", picture(60, 40, 3, 250), mask(60, 40, truth), mask(60, 40, new byte[2400]));
    Document page =
        Fragments.parse(Overlay.render(List.of(example), List.of("sky", "a & b", "sea"), PALETTE));

    List<Element> images = Fragments.elements(page, "img");
    assertThat(images)
        .extracting(image -> image.getAttribute("alt"))
        .containsExactly("picture", "labels", "prediction");
    assertNear(image(images.get(0)).getRGB(30, 10), 250, 250, 250);
    assertNear(image(images.get(1)).getRGB(30, 5), 83, 83, 83); // ignored
    assertNear(image(images.get(1)).getRGB(30, 35), 93, 253, 93);
    assertNear(image(images.get(2)).getRGB(30, 5), 253, 93, 93);
    assertThat(Fragments.elements(page, "i"))
        .extracting(key -> key.getAttribute("style"))
        .containsExactly("background:#ff0000", "background:#00ff00");
    assertThat(Fragments.elements(page, "p").get(1).getTextContent()).isEqualTo("skya & b");
    assertThat(page.getDocumentElement().getTextContent()).contains("val/<1>");
  }

  @Test
  void largePicturesAreShrunk() throws IOException {
    Overlay.Example example =
        new Overlay.Example(
            "a",
            picture(1000, 500, 3, 9),
            mask(1000, 500, new byte[500_000]),
            mask(1000, 500, new byte[500_000]));
    Document page = Fragments.parse(Overlay.render(List.of(example), List.of("sky"), PALETTE));
    for (Element image : Fragments.elements(page, "img")) {
      assertThat(image(image).getWidth()).isEqualTo(480);
      assertThat(image(image).getHeight()).isEqualTo(240);
    }
  }

  @Test
  void nothingToShowIsNoSection() {
    assertThat(Overlay.render(List.of(), List.of("sky"), PALETTE)).isEmpty();
  }

  @Test
  void refusesSegmentationsThatDoNotFit() {
    byte[] picture = picture(3, 2, 3, 9);
    byte[] good = mask(3, 2, new byte[6]);
    List<String> classes = List.of("sky", "sea");
    assertThatThrownBy(
            () ->
                Overlay.render(
                    List.of(new Overlay.Example("a", picture, mask(2, 3, new byte[6]), good)),
                    classes,
                    PALETTE))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot draw a: its picture has 3 x 2 pixels, a segmentation 2 x 3");
    byte[] seven = {0, 0, 7, 0, 0, 0};
    assertThatThrownBy(
            () ->
                Overlay.render(
                    List.of(new Overlay.Example("a", picture, good, mask(3, 2, seven))),
                    classes,
                    PALETTE))
        .hasMessage("Cannot draw a: label 7 is none of the 2 classes");
  }

  private static void assertNear(int rgb, int red, int green, int blue) {
    assertThat(rgb >> 16 & 0xFF).isBetween(red - 6, red + 6);
    assertThat(rgb >> 8 & 0xFF).isBetween(green - 6, green + 6);
    assertThat(rgb & 0xFF).isBetween(blue - 6, blue + 6);
  }

  private static BufferedImage image(Element element) throws IOException {
    String source = element.getAttribute("src");
    assertThat(source).startsWith("data:image/jpeg;base64,");
    byte[] bytes = Base64.getDecoder().decode(source.substring(source.indexOf(',') + 1));
    return ImageIO.read(new ByteArrayInputStream(bytes));
  }

  private static byte[] picture(int width, int height, int channels, int value) {
    byte[] pixels = new byte[width * height * channels];
    Arrays.fill(pixels, (byte) value);
    return Images.encodePng(new Images.Picture(width, height, channels, pixels));
  }

  private static byte[] mask(int width, int height, byte[] classes) {
    return Images.encodePng(new Images.Picture(width, height, 1, classes));
  }
}
