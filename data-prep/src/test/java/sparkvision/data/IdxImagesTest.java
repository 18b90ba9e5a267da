package sparkvision.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.zip.CRC32C;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class IdxImagesTest {

  private static final String SAMPLE = "samples/fashion-mnist";

  @TempDir Path dir;

  @Test
  void laysTheSampleOutAsAnImageFolder() throws IOException {
    Path output = dir.resolve("deep/out");
    List<String> phases = new ArrayList<>();
    IdxImages.unpack(
        Shards.HADOOP,
        SAMPLE,
        output.toString(),
        (phase, done, total) -> phases.add(phase + " " + done + "/" + total));
    assertThat(phases).contains("unpack train 10000/10000").endsWith("unpack val 2000/2000");

    Listing train = new ImageFolder(output.resolve("train").toString()).list(Shards.HADOOP);
    Listing val = new ImageFolder(output.resolve("val").toString()).list(Shards.HADOOP);
    assertThat(train.classes())
        .containsExactly(
            "ankle-boot",
            "bag",
            "coat",
            "dress",
            "pullover",
            "sandal",
            "shirt",
            "sneaker",
            "t-shirt-top",
            "trouser");
    assertThat(val.classes()).isEqualTo(train.classes());
    for (int label = 0; label < 10; label++) {
      int mine = label;
      assertThat(train.items().stream().filter(image -> image.label() == mine)).hasSize(1000);
      assertThat(val.items().stream().filter(image -> image.label() == mine)).hasSize(200);
    }
    // The first pictures of the original's files are of an ankle boot each.
    assertThat(train.items().get(0).path()).isEqualTo("ankle-boot/00000.png");
    assertThat(val.items().get(0).path()).isEqualTo("ankle-boot/00000.png");

    CRC32C crc = new CRC32C();
    long sum = 0;
    for (Item image : val.items()) {
      byte[] png = Files.readAllBytes(output.resolve("val").resolve(image.path()));
      byte[] pixels = Images.inspect(png).pixels();
      crc.update(pixels);
      for (byte pixel : pixels) {
        sum += pixel & 0xFF;
      }
    }
    assertThat(sum).isEqualTo(VAL_SUM);
    assertThat(Long.toHexString(crc.getValue())).isEqualTo(VAL_CRC);

    Path picture = output.resolve("train/bag/" + train.items().get(1000).path().substring(4));
    FileTime written = Files.getLastModifiedTime(picture);
    phases.clear();
    IdxImages.unpack(
        Shards.HADOOP, SAMPLE, output.toString(), (phase, done, total) -> phases.add(phase));
    assertThat(phases).isEmpty();
    assertThat(Files.getLastModifiedTime(picture)).isEqualTo(written);
  }

  private static final long VAL_SUM = 114072606L;
  private static final String VAL_CRC = "6e908375";

  @Test
  void refusesOtherInputAndOutput() throws IOException {
    Path input = dir.resolve("in");
    Files.createDirectories(input);
    refuses(input, dir.resolve("out"), "there is no classes.txt in it");
    for (String name : Arrays.asList(Path.of(SAMPLE).toFile().list())) {
      Files.copy(Path.of(SAMPLE, name), input.resolve(name));
    }
    Files.createDirectories(dir.resolve("full/things"));
    refuses(input, dir.resolve("full"), "it holds something else");
    Files.writeString(input.resolve("classes.txt"), "one\ntwo\n");
    assertThatThrownBy(
            () ->
                IdxImages.unpack(
                    Shards.HADOOP, input.toString(), dir.resolve("out").toString(), Shards.SILENT))
        .isInstanceOf(DataException.class)
        .hasMessageContaining("classes.txt names 2 classes");
    assertThat(dir.toFile().list()).containsExactlyInAnyOrder("in", "full");
  }

  private static void refuses(Path input, Path output, String reason) {
    assertThatThrownBy(
            () ->
                IdxImages.unpack(Shards.HADOOP, input.toString(), output.toString(), Shards.SILENT))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(reason);
  }
}
