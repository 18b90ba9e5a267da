package sparkvision.weights;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import sparkvision.Draw;

class SafetensorsTest {

  /** A file with this header, blanks appended, and this much data, all zero. */
  private static byte[] file(String header, int dataLength) {
    byte[] text = header.getBytes(StandardCharsets.UTF_8);
    return ByteBuffer.allocate(8 + text.length + dataLength)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(text.length)
        .put(text)
        .array();
  }

  private static Safetensors.Contents read(byte[] file) throws IOException {
    return Safetensors.read(new ByteArrayInputStream(file));
  }

  private static byte[] written(Map<String, HostTensor> tensors, Map<String, String> metadata)
      throws IOException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    Safetensors.write(out, tensors, metadata);
    return out.toByteArray();
  }

  @Test
  void survivesWritingAndReading() throws IOException {
    Map<String, HostTensor> tensors = new LinkedHashMap<>();
    tensors.put("z.weight", Draw.normal(1, 3, 5, 2, 2));
    tensors.put("a.num_batches_tracked", HostTensor.ofLongs(new long[] {1L << 40}));
    tensors.put("größe \"quoted\"", Draw.normal(2, 40_000));
    tensors.put("empty", HostTensor.of(new float[0], 0, 3));
    tensors.put("step", HostTensor.ofLongs(new long[] {-1, 2, 3}, 3));
    tensors.put("long", Draw.normal(4, (1 << 20) + 12_345)); // longer than a reader's first array
    Map<String, String> metadata = Map.of("format", "pt", "a: \"{\\", "b", "c", "[");

    byte[] file = written(tensors, metadata);
    Safetensors.Contents contents = read(file);

    assertThat(contents.metadata()).isEqualTo(metadata);
    assertThat(contents.tensors().keySet()).containsExactlyElementsOf(tensors.keySet());
    tensors.forEach(
        (name, tensor) -> {
          HostTensor found = contents.tensors().get(name);
          assertThat(found.shape()).containsExactly(tensor.shape());
          if (tensor.isFloat()) {
            assertThat(found.floats()).isEqualTo(tensor.floats());
          } else {
            assertThat(found.longs()).containsExactly(tensor.longs());
          }
        });
    assertThat(written(contents.tensors(), contents.metadata())).isEqualTo(file);
  }

  @Test
  void bytesDoNotDependOnTheOrderOfTheMetadata() throws IOException {
    Map<String, String> one = new LinkedHashMap<>();
    one.put("a", "1");
    one.put("b", "2");
    Map<String, String> other = new LinkedHashMap<>();
    other.put("b", "2");
    other.put("a", "1");
    assertThat(written(Map.of(), one)).containsExactly(written(Map.of(), other));
    assertThat(read(written(Map.of(), other)).metadata().keySet()).containsExactly("a", "b");
  }

  /** A lie of the header about gigabytes must not take them. */
  @Test
  void takesMemoryAsDataArrives() {
    String header =
        "{\"a\":{\"dtype\":\"I64\",\"shape\":[2147483639],\"data_offsets\":[0,17179869112]}}";
    assertThatThrownBy(() -> read(file(header, 100)))
        .isInstanceOf(IOException.class)
        .hasMessage("Cannot read safetensors: it ends within tensor a");
  }

  @Test
  void dataStartsAtAMultipleOfEight() throws IOException {
    byte[] file = written(Map.of("a", HostTensor.of(new float[] {1}, 1)), Map.of());
    long header = ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN).getLong();
    assertThat(header % 8).isZero();
    assertThat(file).hasSize((int) (8 + header + 4));
    assertThat(new String(file, 8, (int) header, StandardCharsets.UTF_8).stripTrailing())
        .isEqualTo("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}");
  }

  @Test
  void readsAnEmptyFile() throws IOException {
    assertThat(read(file("{}", 0)).tensors()).isEmpty();
    assertThat(read(file("{}      ", 0)).metadata()).isEmpty();
  }

  @ParameterizedTest
  @CsvSource({
    "F16, 00 3C, 1.0",
    "F16, 00 C0, -2.0",
    "F16, 01 00, 5.9604645E-8",
    "F16, FF 7B, 65504.0",
    "F16, 00 7C, Infinity",
    "BF16, 80 3F, 1.0",
    "BF16, 20 C1, -10.0",
    "F64, 00 00 00 00 00 00 F8 3F, 1.5",
    "F32, 00 00 40 BF, -0.75",
    "I32, FE FF FF FF, -2",
    "I64, 05 00 00 00 01 00 00 00, 4294967301"
  })
  void readsEveryElementType(String dtype, String bytes, String expected) throws IOException {
    byte[] value = HexFormat.ofDelimiter(" ").parseHex(bytes);
    byte[] file =
        file(
            "{\"a\":{\"dtype\":\"%s\",\"shape\":[1],\"data_offsets\":[0,%d]}}"
                .formatted(dtype, value.length),
            value.length);
    System.arraycopy(value, 0, file, file.length - value.length, value.length);
    HostTensor tensor = read(file).tensors().get("a");
    if (dtype.startsWith("I")) {
      assertThat(tensor.longs()).containsExactly(Long.parseLong(expected));
    } else {
      assertThat(tensor.floats()).containsExactly(Float.parseFloat(expected));
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{\"a\": | 0 | the header is not a JSON object of distinct names",
        "[1] | 0 | the header is not a JSON object of distinct names",
        "{\"a\":3} | 0 | tensor a lacks a sound dtype, shape or data_offsets",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}} | 4"
            + " | tensor a lacks a sound dtype, shape or data_offsets",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}} | 4"
            + " | tensor a lacks a sound dtype, shape or data_offsets",
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}} | 1"
            + " | tensor a is U8 (must be F32, F64, F16, BF16, I64 or I32)",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}} | 4"
            + " | tensor a of shape [2] takes 8 bytes, its data_offsets span 4",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}} | 0"
            + " | tensor a of shape [4294967296, 4294967296] is larger than an array can be",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}} | 8"
            + " | data of tensor a begins at byte 4, expected 0",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}} | 7"
            + " | it ends within tensor a",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}} | 5"
            + " | there is data after the last tensor's 4 bytes",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}} | 4"
            + " | tensor a lacks a sound dtype, shape or data_offsets",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4.5]}} | 4"
            + " | tensor a lacks a sound dtype, shape or data_offsets",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]},"
            + "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}} | 4"
            + " | the header is not a JSON object of distinct names",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2147483639],\"data_offsets\":[0,8589934556]}} | 9"
            + " | it ends within tensor a",
        "{\"__metadata__\":{\"a\":1}} | 0 | __metadata__ holds a value that is no text"
      })
  void refusesAMalformedFile(String header, int dataLength, String why) {
    assertThatThrownBy(() -> read(file(header, dataLength)))
        .isInstanceOf(IOException.class)
        .hasMessage("Cannot read safetensors: " + why);
  }

  @Test
  void refusesATruncatedOrAbsurdHeader() {
    assertThatThrownBy(() -> read(new byte[5]))
        .hasMessage("Cannot read safetensors: it ends within the header's length");
    byte[] cut = {100, 0, 0, 0, 0, 0, 0, 0, '{'};
    assertThatThrownBy(() -> read(cut))
        .hasMessage("Cannot read safetensors: it ends within the header");
    byte[] absurd = {-1, -1, -1, -1, -1, -1, -1, -1};
    assertThatThrownBy(() -> read(absurd))
        .hasMessage("Cannot read safetensors: the header's length is -1, must be 2 to 100000000");
  }
}
