package sparkvision.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

class PaletteTest {

  private static final Path ADE20K = Path.of("../../shared/data/ade20k/ade20k_colors.txt");

  @Test
  void coloursOfManyClassesDiffer() {
    Palette palette = Palette.of(255);
    assertThat(palette.colors()).hasSize(255).doesNotHaveDuplicates();
    for (int c = 1; c < 255; c++) { // neighbours, which are easily mixed up, are far apart
      int distance = 0;
      for (int shift = 0; shift < 24; shift += 8) {
        distance +=
            Math.abs(
                (palette.colors().get(c) >> shift & 0xFF)
                    - (palette.colors().get(c - 1) >> shift & 0xFF));
      }
      assertThat(distance).isGreaterThan(100);
    }
  }

  @Test
  void aClassKeepsItsColourAmongMore() {
    assertThat(Palette.of(200).colors()).startsWith(Palette.of(3).colors().toArray(Integer[]::new));
  }

  @Test
  void readsADataSetsOwnColours() {
    Palette palette = Palette.parse("120 120 120\n 4\t200 3 \n\n0 0 255\n", 3);
    assertThat(palette.colors()).containsExactly(0x787878, 0x04C803, 0x0000FF);
    assertThat(palette.css(1)).isEqualTo("#04c803");
    assertThat(palette.css(2)).isEqualTo("#0000ff");
  }

  @Test
  void saysWhatIsWrongWithAFile() {
    assertThatThrownBy(() -> Palette.parse("1 2 3\n", 2))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot read palette: it has 1 colours (must be one for each of the 2 classes)");
    for (String line :
        new String[] {"1 2", "1 2 256", "1 2 -3", "1 2 3 4", "#010203", "1 2 9999"}) {
      assertThatThrownBy(() -> Palette.parse(line, 1))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage(
              "Cannot read palette: found '" + line + "' (must be three numbers in 0..255)");
    }
  }

  @Test
  void readsTheColoursOfAde20k() throws IOException {
    Assumptions.assumeTrue(Files.exists(ADE20K), "no ../shared/data beside the checkout");
    Palette palette = Palette.parse(Files.readString(ADE20K), 150);
    assertThat(palette.css(0)).isEqualTo("#787878");
    assertThat(palette.css(1)).isEqualTo("#b47878");
  }
}
