package sparkvision.weights;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Random;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The two resources were written by PyTorch 2.13:
 *
 * <pre>
 *   base = torch.arange(24, dtype=torch.float32)
 *   d = OrderedDict({'a.weight': base.view(4, 6)[1:3].t(),
 *       'a.half': torch.tensor([1.5, -2.0], dtype=torch.float16), 'a.brain': the same in bfloat16,
 *       'a.double': torch.tensor([[0.1]], dtype=torch.float64), 'a.count': torch.tensor(7),
 *       'a.bytes': torch.tensor([255, 1], dtype=torch.uint8), 'a.flag': torch.tensor([True, False]),
 *       'b': torch.nn.Parameter(torch.tensor([3.0])), 'shared': base})
 *   x = {'epoch': 3, 'lr': 0.1, 'model': d, 'names': ('x', None, [1, -70000, 2**40])}
 *   torch.save(x, 'zip.pth')
 *   torch.save(x, 'legacy.pth', _use_new_zipfile_serialization=False)
 * </pre>
 */
class PyTorchFileTest {

  @TempDir private Path folder;

  private static byte[] resource(String name) throws IOException {
    try (InputStream in = PyTorchFileTest.class.getResourceAsStream(name)) {
      return in.readAllBytes();
    }
  }

  private Path file(byte[] bytes) throws IOException {
    return Files.write(folder.resolve("file.pth"), bytes);
  }

  private Map<String, HostTensor> read(byte[] bytes, String entry) throws IOException {
    try (PyTorchFile file = PyTorchFile.open(file(bytes))) {
      return file.stateDict(entry).tensors();
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"zip.pth", "legacy.pth"})
  void readsWhatPyTorchWrote(String name) throws IOException {
    Map<String, HostTensor> tensors;
    try (PyTorchFile file = PyTorchFile.open(file(resource(name)))) {
      PyTorchFile.StateDict dict = file.stateDict("");
      assertThat(dict.entry()).isEqualTo("model");
      tensors = dict.tensors();
      assertThat(file.stateDict("model").tensors().keySet()).isEqualTo(tensors.keySet());
      assertThatThrownBy(() -> file.stateDict("ema"))
          .hasMessage("Invalid entry: ema (the file holds tensors under [model])");
    }
    assertThat(tensors.keySet())
        .containsExactly(
            "a.weight",
            "a.half",
            "a.brain",
            "a.double",
            "a.count",
            "a.bytes",
            "a.flag",
            "b",
            "shared");
    assertThat(tensors.get("a.weight").shape()).containsExactly(6, 2);
    assertThat(tensors.get("a.weight").floats())
        .containsExactly(6, 12, 7, 13, 8, 14, 9, 15, 10, 16, 11, 17);
    assertThat(tensors.get("a.half").floats()).containsExactly(1.5f, -2);
    assertThat(tensors.get("a.brain").floats()).containsExactly(1.5f, -2);
    assertThat(tensors.get("a.double").floats()).containsExactly(0.1f);
    assertThat(tensors.get("a.count").longs()).containsExactly(7);
    assertThat(tensors.get("a.count").shape()).isEmpty();
    assertThat(tensors.get("a.bytes").longs()).containsExactly(255, 1);
    assertThat(tensors.get("a.flag").longs()).containsExactly(1, 0);
    assertThat(tensors.get("b").floats()).containsExactly(3);
    assertThat(tensors.get("shared").floats()).hasSize(24);
  }

  private static byte[] zip(String pickle) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ZipOutputStream out = new ZipOutputStream(bytes)) {
      out.putNextEntry(new ZipEntry("archive/data.pkl"));
      out.write(pickle.getBytes(StandardCharsets.ISO_8859_1));
      out.closeEntry();
    }
    return bytes.toByteArray();
  }

  /** What runs a shell in Python, in the ways a pickle can say it. */
  @Test
  void refusesEveryOtherNameAndExecutesNothing() throws IOException {
    Path trace = folder.resolve("trace");
    String touch = "touch " + trace;
    String[] pickles = {
      "\u0080\u0002cposix\nsystem\n(V" + touch + "\ntR.",
      "\u0080\u0004\u008c\u0005posix\u008c\u0006system\u0093\u008c"
          + (char) touch.length()
          + touch
          + "\u0085R.",
      "(S'" + touch + "'\ni__builtin__\neval\n.",
      "\u0080\u0002cjava.lang\nRuntime\n)\u0081.",
      "\u0080\u0002cargparse\nNamespace\n)\u0081}b.",
      "\u0080\u0002ctorch\nload\n(V" + trace + "\ntR."
    };
    for (String pickle : pickles) {
      assertThatThrownBy(() -> read(zip(pickle), ""))
          .isInstanceOf(IOException.class)
          .hasMessageStartingWith("Cannot read pickle: ");
    }
    assertThatThrownBy(() -> read(zip(pickles[0]), ""))
        .hasMessage(
            "Cannot read pickle: it wants posix.system, which is no tensor data (save a state dict"
                + " alone)");
    assertThat(trace).doesNotExist();
  }

  @Test
  void saysWhatIsNoSuchFile() throws IOException {
    assertThatThrownBy(() -> read(new byte[1], ""))
        .hasMessage("Cannot read PyTorch file: it has not even two bytes");
    assertThatThrownBy(() -> read("hello".getBytes(StandardCharsets.UTF_8), ""))
        .hasMessage(
            "Cannot read PyTorch file: it begins neither like a zip archive nor like a pickle");
    assertThatThrownBy(() -> read(zip("\u0080\u0002}."), ""))
        .hasMessage("Invalid entry: none (the file holds no state dict)");
    assertThatThrownBy(() -> read("\u0080\u0002}.".getBytes(StandardCharsets.ISO_8859_1), ""))
        .hasMessage("Cannot read PyTorch file: it is a pickle, but not one of torch.save");
  }

  /** Cut short or with changed bytes: one sentence, or tensors, and never anything else. */
  @ParameterizedTest
  @ValueSource(strings = {"zip.pth", "legacy.pth"})
  void survivesDamage(String name) throws IOException {
    byte[] whole = resource(name);
    Random random = new Random(5);
    int refused = 0;
    for (int i = 0; i < 400; i++) {
      byte[] bytes = whole.clone();
      if (i % 4 == 0) {
        bytes = Arrays.copyOf(bytes, random.nextInt(bytes.length));
      } else {
        for (int j = 0; j <= i % 3; j++) {
          bytes[random.nextInt(bytes.length)] = (byte) random.nextInt();
        }
      }
      try {
        read(bytes, "");
      } catch (IOException | IllegalArgumentException e) {
        assertThat(e.getMessage()).startsWith(e instanceof IOException ? "Cannot " : "Invalid ");
        refused++;
      }
    }
    assertThat(refused).isGreaterThan(150);
  }
}
