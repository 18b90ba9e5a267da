package sparkvision.data.coco;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import sparkvision.data.DetectedObject;

final class ObjectCodingTest {

  private static final double[] CORNERS = {1.5, 1.25, 9.75, 3.37, 4.4, 8.91};

  @Test
  void keepsEveryKindOfObject() {
    Rle mask = Rle.ofBox(new Box(3, 3, 4, 4), 11, 13);
    Segmentation polygons =
        new Segmentation.Polygons(List.of(CORNERS, new double[] {0, 0, 3, 0, 3, 3.123456789}));
    ByteArrayOutputStream coded = new ByteArrayOutputStream();
    coded.writeBytes(ObjectCoding.picture(11, 13));
    Box box = new Box(0.01, 473.07, 38.99, 28.67);
    coded.writeBytes(ObjectCoding.object(0, false, 12.25, box, Optional.empty()));
    coded.writeBytes(
        ObjectCoding.object(
            300, true, 1e10, new Box(1 / 3.0, -0.0, 5, 1e300), Optional.of(polygons)));
    coded.writeBytes(
        ObjectCoding.object(79, false, 0.1, box, Optional.of(new Segmentation.Runs(mask))));

    ObjectCoding.Objects read = ObjectCoding.read(coded.toByteArray());
    assertThat(read.height()).isEqualTo(11);
    assertThat(read.width()).isEqualTo(13);
    assertThat(read.objects())
        .containsExactly(
            new DetectedObject(0, 0.01, 473.07, 38.99, 28.67, 12.25, false, ""),
            new DetectedObject(
                300, 1 / 3.0, -0.0, 5, 1e300, 1e10, true, polygons.toRle(11, 13).toString()),
            new DetectedObject(79, 0.01, 473.07, 38.99, 28.67, 0.1, false, mask.toString()));
  }

  @Test
  void everyHundredthComesBackExactlyAndTakesFewBytes() {
    double[] corners = new double[2_000];
    for (int i = 0; i < corners.length; i++) {
      corners[i] = Double.parseDouble(String.format("%d.%02d", i % 640, i * 37 % 100));
    }
    byte[] coded =
        ObjectCoding.object(
            1,
            false,
            1,
            new Box(1, 1, 1, 1),
            Optional.of(new Segmentation.Polygons(List.of(corners))));
    assertThat(coded).hasSizeLessThan(2 * corners.length + 100);

    ByteArrayOutputStream picture = new ByteArrayOutputStream();
    picture.writeBytes(ObjectCoding.picture(640, 640));
    picture.writeBytes(coded);
    assertThat(ObjectCoding.read(picture.toByteArray()).objects().get(0).rle())
        .isEqualTo(Rle.ofPolygon(corners, 640, 640).toString());
  }
}
