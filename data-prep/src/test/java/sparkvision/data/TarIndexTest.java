package sparkvision.data;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveInputStream;
import org.apache.commons.compress.archivers.tar.TarArchiveOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

final class TarIndexTest {

  private static final String LONG = "a folder/".repeat(20) + "Bär 1.JPEG";

  private static Map<String, byte[]> files() {
    Map<String, byte[]> files = new LinkedHashMap<>();
    files.put("n01440764_1.JPEG", bytes(700));
    files.put("empty.JPEG", bytes(0));
    files.put("folder/", bytes(0));
    files.put(LONG, bytes(512));
    files.put("größe.JPEG", bytes(1025));
    return files;
  }

  @ParameterizedTest
  @ValueSource(ints = {TarArchiveOutputStream.LONGFILE_GNU, TarArchiveOutputStream.LONGFILE_POSIX})
  void findsTheFilesOfAnotherProgramsArchive(int longFileMode) throws IOException {
    byte[] tar = Tars.of(files(), longFileMode);
    TarIndex index = read(tar);
    assertThat(index.problem()).isEmpty();
    assertThat(index.others()).isEqualTo(1);
    Map<String, byte[]> expected = files();
    expected.remove("folder/");
    assertThat(index.members())
        .extracting(TarIndex.Member::name)
        .containsExactlyElementsOf(expected.keySet());
    for (TarIndex.Member member : index.members()) {
      assertThat(contents(tar, member)).isEqualTo(expected.get(member.name()));
    }
    assertThat(index.members().get(2).baseName()).isEqualTo("Bär 1.JPEG");
  }

  @Test
  void readsPrefixesAndBinarySizesAsCommonsCompressDoes() throws IOException {
    byte[] posix = header("name.JPEG", 5);
    put(posix, 345, "some/prefix");
    byte[] binary = header("binary.JPEG", 0);
    Arrays.fill(binary, 124, 136, (byte) 0);
    binary[124] = (byte) 0x80;
    binary[134] = 2; // 2 * 256 + 3
    binary[135] = 3;
    byte[] gnu = header("gnu.JPEG", 1);
    put(gnu, 257, "ustar  ");
    put(gnu, 345, "14012345670"); // a time, not a prefix
    byte[] tar =
        join(
            seal(posix), bytes(512), seal(binary), bytes(1024), seal(gnu), bytes(512), bytes(1024));
    Arrays.fill(tar, tar.length - 1024, tar.length, (byte) 0);

    List<String> theirs = new ArrayList<>();
    try (var in = new TarArchiveInputStream(new ByteArrayInputStream(tar))) {
      for (TarArchiveEntry e = in.getNextTarEntry(); e != null; e = in.getNextTarEntry()) {
        theirs.add(e.getName() + " " + e.getSize());
      }
    }
    assertThat(theirs).containsExactly("some/prefix/name.JPEG 5", "binary.JPEG 515", "gnu.JPEG 1");
    assertThat(read(tar).members())
        .extracting(member -> member.name() + " " + member.length())
        .isEqualTo(theirs);
  }

  @Test
  void findsAnArchiveInsideAnother() throws IOException {
    byte[] inner = Tars.of(files());
    Map<String, byte[]> outerFiles = new LinkedHashMap<>();
    outerFiles.put("first.tar", bytes(100));
    outerFiles.put("second.tar", inner);
    byte[] outer = Tars.of(outerFiles);
    TarIndex.Member second = read(outer).members().get(1);
    TarIndex nested =
        TarIndex.read(source(outer), second.offset(), second.offset() + second.length());
    assertThat(nested.problem()).isEmpty();
    assertThat(contents(outer, nested.members().get(0))).isEqualTo(bytes(700));
  }

  @Test
  void saysWhereAnArchiveIsCutAndKeepsWhatIsWhole() throws IOException {
    byte[] tar = Tars.of(files());
    List<TarIndex.Member> whole = read(tar).members();
    TarIndex.Member last = whole.get(whole.size() - 1);
    long endMark = last.offset() + 3 * 512;
    for (int length = 0; length <= tar.length; length += 128) {
      TarIndex index = read(Arrays.copyOf(tar, length));
      long end = length;
      assertThat(index.members())
          .isEqualTo(
              whole.stream().filter(member -> member.offset() + member.length() <= end).toList());
      assertThat(index.problem().isPresent()).isEqualTo(length < endMark + 512);
    }
    TarIndex cut = read(Arrays.copyOf(tar, (int) last.offset() + 300));
    assertThat(cut.cut()).contains(new TarIndex.Member("größe.JPEG", last.offset(), 300));
    assertThat(cut.problem())
        .contains(
            "größe.JPEG at byte " + last.offset() + " is cut: it has 1025 bytes, 300 are left");
    assertThat(read(Arrays.copyOf(tar, (int) endMark)).problem())
        .contains("ends at byte " + endMark + " without an end mark");
  }

  @Test
  void noticesEveryChangedByteOfAHeader() throws IOException {
    byte[] tar = Tars.of(files());
    TarIndex intact = read(tar);
    for (int i = 0; i < 512; i++) {
      for (int bit = 0; bit < 8; bit++) {
        byte[] changed = tar.clone();
        changed[i] ^= (byte) (1 << bit);
        TarIndex index = read(changed);
        assertThat(index.equals(intact) || index.problem().isPresent()).isTrue();
        assertThat(index.equals(intact)).isEqualTo(index.problem().isEmpty());
      }
    }
    tar[0] ^= 1;
    assertThat(read(tar).problem()).contains("the header at byte 0 has a wrong checksum");
  }

  @Test
  void believesNoSizeThatGoesBeyondTheArchive() throws IOException {
    byte[] huge = header("huge.JPEG", 0);
    Arrays.fill(huge, 124, 136, (byte) 0xFF);
    huge[124] = (byte) 0x80;
    assertThat(read(seal(huge)).problem()).contains("the header at byte 0 has no valid size");
    byte[] blank = header("blank.JPEG", 0);
    Arrays.fill(blank, 124, 136, (byte) ' ');
    assertThat(read(seal(blank)).problem()).contains("the header at byte 0 has no valid size");
  }

  private static TarIndex read(byte[] tar) throws IOException {
    return TarIndex.read(source(tar), 0, tar.length);
  }

  private static TarIndex.Bytes source(byte[] bytes) {
    return (position, target) ->
        System.arraycopy(bytes, Math.toIntExact(position), target, 0, target.length);
  }

  private static byte[] contents(byte[] tar, TarIndex.Member member) {
    int from = (int) member.offset();
    return Arrays.copyOfRange(tar, from, from + (int) member.length());
  }

  private static byte[] bytes(int length) {
    byte[] bytes = new byte[length];
    for (int i = 0; i < length; i++) {
      bytes[i] = (byte) (i * 31 + 1);
    }
    return bytes;
  }

  private static byte[] header(String name, int size) {
    byte[] header = new byte[512];
    put(header, 0, name);
    put(header, 100, "0000644");
    put(header, 124, String.format("%011o", size));
    put(header, 136, "00000000000");
    header[156] = '0';
    put(header, 257, "ustar");
    put(header, 263, "00");
    return header;
  }

  private static byte[] seal(byte[] header) {
    Arrays.fill(header, 148, 156, (byte) ' ');
    int sum = 0;
    for (byte value : header) {
      sum += value & 0xFF;
    }
    put(header, 148, String.format("%06o", sum));
    header[154] = 0;
    return header;
  }

  private static void put(byte[] header, int at, String text) {
    byte[] bytes = text.getBytes(StandardCharsets.US_ASCII);
    System.arraycopy(bytes, 0, header, at, bytes.length);
  }

  private static byte[] join(byte[]... parts) {
    byte[] joined = new byte[Arrays.stream(parts).mapToInt(part -> part.length).sum()];
    int at = 0;
    for (byte[] part : parts) {
      System.arraycopy(part, 0, joined, at, part.length);
      at += part.length;
    }
    return joined;
  }
}
