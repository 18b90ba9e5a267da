package sparkvision.data;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/**
 * Where the files of a tar archive lie, found by its headers alone; their contents are not read.
 *
 * <p>An archive is a row of 512-byte blocks: a header, then the contents padded to whole blocks,
 * and so on; a block of zeros ends it. Read are POSIX.1-1988 ustar headers (name, prefix, octal
 * size), POSIX.1-2001 pax headers ({@code path} and {@code size}), and GNU's long names (type L)
 * and base-256 sizes.
 *
 * @param members whole files, in the archive's order
 * @param cut the file that the archive ends in, with the bytes that are left of it
 * @param problem why the archive could be read no further, with the byte; empty if it is intact
 * @param others members that are not files: folders, links
 * @see <a href="https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html">POSIX, pax:
 *     ustar and pax interchange formats</a>
 * @see <a href="https://www.gnu.org/software/tar/manual/html_node/Standard.html">GNU tar manual,
 *     Basic Tar Format</a>
 */
record TarIndex(List<Member> members, Optional<Member> cut, Optional<String> problem, int others) {

  private static final int BLOCK = 512;

  /** Of a long name or a pax header; more is damage. */
  private static final long MAX_NAME_BYTES = 1 << 20;

  /**
   * A file in an archive.
   *
   * @param offset of its contents, from where the archive's bytes count
   * @param length of its contents
   */
  record Member(String name, long offset, long length) {

    /** The name without its folders. */
    String baseName() {
      return name.substring(name.lastIndexOf('/') + 1);
    }
  }

  /** The bytes that the archive lies in. */
  interface Bytes {
    /** Fills the target with the bytes from a position on. */
    void read(long position, byte[] target) throws IOException;
  }

  /**
   * Walks an archive, which may itself lie inside another one.
   *
   * @param from first byte of the archive
   * @param to the byte behind its last
   * @throws IOException if the bytes cannot be read; damage is no exception but a problem
   */
  static TarIndex read(Bytes bytes, long from, long to) throws IOException {
    List<Member> members = new ArrayList<>();
    int others = 0;
    String longName = null; // by a header before the member's own
    long longSize = -1;
    byte[] header = new byte[BLOCK];
    long at = from;
    while (true) {
      if (to - at < BLOCK) {
        return damaged(members, others, "ends at byte " + to + " without an end mark");
      }
      bytes.read(at, header);
      if (isZero(header)) {
        return new TarIndex(members, Optional.empty(), Optional.empty(), others);
      }
      if (octal(header, 148, 8) != checksum(header)) {
        return damaged(members, others, "the header at byte " + at + " has a wrong checksum");
      }
      char type = (char) header[156];
      boolean withoutContents = type >= '1' && type <= '6';
      long size = withoutContents ? 0 : longSize >= 0 ? longSize : size(header);
      long start = at + BLOCK;
      if (size < 0) {
        return damaged(members, others, "the header at byte " + at + " has no valid size");
      }
      String name = longName != null ? longName : name(header);
      if (size > to - start) {
        String problem =
            String.format(
                "%s at byte %d is cut: it has %d bytes, %d are left",
                name, start, size, to - start);
        return new TarIndex(
            members,
            Optional.of(new Member(name, start, to - start)),
            Optional.of(problem),
            others);
      }

      boolean describesNext = type == 'L' || type == 'x';
      if (describesNext) {
        if (size > MAX_NAME_BYTES) {
          return damaged(members, others, "the header at byte " + at + " is of " + size + " bytes");
        }
        byte[] contents = new byte[(int) size];
        bytes.read(start, contents);
        if (type == 'L') {
          longName = text(contents, 0, contents.length);
        } else {
          for (String[] record : paxRecords(contents)) {
            if (record[0].equals("path")) {
              longName = record[1];
            }
            if (record[0].equals("size") && record[1].matches("\\d{1,18}")) {
              longSize = Long.parseLong(record[1]);
            }
          }
        }
      } else if (type != 'K' && type != 'g') { // a link's long name; what holds for all members
        if (type == '0' || type == 0 || type == '7') {
          members.add(new Member(name, start, size));
        } else {
          others++;
        }
        longName = null;
        longSize = -1;
      }
      at = start + (size + BLOCK - 1) / BLOCK * BLOCK;
    }
  }

  private static TarIndex damaged(List<Member> members, int others, String problem) {
    return new TarIndex(members, Optional.empty(), Optional.of(problem), others);
  }

  private static boolean isZero(byte[] block) {
    for (byte value : block) {
      if (value != 0) {
        return false;
      }
    }
    return true;
  }

  /** The sum of the header's bytes, with blanks where the sum itself stands. */
  private static long checksum(byte[] header) {
    long sum = 0;
    for (int i = 0; i < BLOCK; i++) {
      sum += i >= 148 && i < 156 ? ' ' : header[i] & 0xFF;
    }
    return sum;
  }

  private static String name(byte[] header) {
    String name = text(header, 0, 100);
    boolean posix = text(header, 257, 6).equals("ustar"); // GNU writes a blank behind it
    String prefix = posix ? text(header, 345, 155) : "";
    return prefix.isEmpty() ? name : prefix + "/" + name;
  }

  private static long size(byte[] header) {
    if (header[124] >= 0) {
      return octal(header, 124, 12);
    }
    long value = header[124] & 0x7F; // GNU: the high bit says base 256
    for (int i = 125; i < 136; i++) {
      if (value >> 55 != 0) {
        return -1;
      }
      value = value << 8 | (header[i] & 0xFF);
    }
    return value;
  }

  /** Octal digits, blanks before them and a blank or zero behind; -1 if it is none. */
  private static long octal(byte[] header, int from, int length) {
    String digits = text(header, from, length).strip();
    return digits.matches("[0-7]{1,12}") ? Long.parseLong(digits, 8) : -1;
  }

  /** UTF-8 up to the first zero. */
  private static String text(byte[] bytes, int from, int length) {
    int end = from;
    while (end < from + length && bytes[end] != 0) {
      end++;
    }
    return new String(bytes, from, end - from, StandardCharsets.UTF_8);
  }

  /** Key and value of each record {@code LENGTH KEY=VALUE\n}, as far as they are well formed. */
  private static List<String[]> paxRecords(byte[] contents) {
    List<String[]> records = new ArrayList<>();
    int at = 0;
    while (at < contents.length) {
      int blank = at;
      while (blank < contents.length && contents[blank] != ' ') {
        blank++;
      }
      String digits = text(contents, at, blank - at);
      int length = digits.matches("\\d{1,7}") ? Integer.parseInt(digits) : 0;
      if (length <= blank - at + 1 || length > contents.length - at) {
        return records;
      }
      byte[] record = Arrays.copyOfRange(contents, blank + 1, at + length - 1);
      String[] pair = new String(record, StandardCharsets.UTF_8).split("=", 2);
      if (pair.length == 2) {
        records.add(pair);
      }
      at += length;
    }
    return records;
  }
}
