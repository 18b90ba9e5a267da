package sparkvision.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

final class MatStructsTest {

  /**
   * Written by SciPy 1.10.1 with compression: an array {@code other}, and {@code synsets} as the
   * ILSVRC2012 development kit has it: three classes (ids 1, 2, 300) and the group 1001.
   */
  static final byte[] META =
      Base64.getDecoder()
          .decode(
              "TUFUTEFCIDUuMCBNQVQtZmlsZSBQbGF0Zm9ybTogcG9zaXgsIENyZWF0ZWQgb246IFdlZCBOb3YgMjUgMjM6"
                  + "MTc6MTQgMjAyNgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB"
                  + "SU0PAAAANQAAAHic42NgYEgAYjYg5gBiPgYIYIXyGaFsGJ1fkpFaBKR5gFiDAQEYoTQTlGaG0ixQGgC5dQME"
                  + "DwAAAJwBAAB4nO1VQUvDMBTOZp0rwlDxsGN+wA7tnHY7WVBhAxFRmcdSurgGu1SaDLd/4M2LP9SfYLKmmoVq"
                  + "y6bgYQ9eX98r39e8L69pAwAATQBqPNa5V0Fq2zI3uFek73Cnc0IRo/y5AfZl/YX74PJ2eHPWtuy2NzgXBPdX"
                  + "afy05zgZUbUwjmK6VCDTiReEOBoliCwKS0nGQRDzQoTHIZMQlviYeHjijxEFDV7sgq9+alo/FcWFmbKe2vup"
                  + "wLsK3sjBmwp+T+bEatt2z+n2ZF3w9At4mhqPyB8xgw/xrAWH0+gJUTjxgyRmmJbhO9T4RO7DhcyQhT6DmEc0"
                  + "Y9n6LIXPLNCpKu90nK5vZqq+GW71fQHuWvjrt/Xw8v0uWG0uLMs5OlZ0KOJpaDwivyDjCNMQ8o+PoaTcfG3m"
                  + "4ed5UNe9W4A3eMetSrn9y58Du9OxnJOO0n/R/h1oPCJniARhC95hEviQiWt5vs08/NH50H9d43zgZjsd6xsd"
                  + "8nhqGo/IEWGYzf/XHKjryNNzS9OzmenJ/8Pyxk1D/VfO73Xm4wPqLXmu");

  @Test
  void readsTextAndSingleNumbersOfEveryStruct() {
    List<Map<String, String>> synsets = MatStructs.read(META, "synsets");
    assertThat(synsets).hasSize(4);
    assertThat(synsets)
        .extracting(synset -> synset.get("ILSVRC2012_ID") + " " + synset.get("WNID"))
        .containsExactly("1 n02119789", "2 n02100735", "300 n01440764", "1001 n00001740");
    assertThat(synsets.get(0))
        .containsEntry("words", "kit fox, Vulpes macrotis")
        .containsEntry("num_train_images", "1300")
        .containsEntry("num_children", "0")
        .doesNotContainKey("children");
  }

  @Test
  void saysWhatIsWrong() {
    assertThatThrownBy(() -> MatStructs.read(new byte[200], "synsets"))
        .isInstanceOf(DataException.class)
        .hasMessage("not a MATLAB 5 file");
    assertThatThrownBy(() -> MatStructs.read(META, "absent"))
        .isInstanceOf(DataException.class)
        .hasMessage("no variable absent");
    assertThatThrownBy(() -> MatStructs.read(META, "other"))
        .isInstanceOf(DataException.class)
        .hasMessage("variable other is not a struct array");
  }

  @Test
  void refusesEveryTruncation() {
    for (int length = 0; length < META.length; length++) {
      byte[] cut = Arrays.copyOf(META, length);
      assertThatThrownBy(() -> MatStructs.read(cut, "synsets")).isInstanceOf(DataException.class);
    }
  }

  @Test
  void takesChangedBytesWithoutAnyOtherException() {
    int refused = 0;
    for (int i = 126; i < META.length; i++) {
      byte[] changed = META.clone();
      changed[i] ^= 0x55;
      try {
        MatStructs.read(changed, "synsets");
      } catch (DataException e) {
        refused++;
      }
    }
    assertThat(refused).isGreaterThan((META.length - 126) / 2);
  }
}
