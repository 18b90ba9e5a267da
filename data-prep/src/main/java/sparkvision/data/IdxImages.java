package sparkvision.data;

import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.UUID;
import java.util.zip.GZIPInputStream;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * Lays a data set in MNIST's IDX format out as an image folder of PNG files.
 *
 * <p>The input holds {@code train-images-idx3-ubyte.gz}, {@code train-labels-idx1-ubyte.gz}, {@code
 * t10k-images-idx3-ubyte.gz}, {@code t10k-labels-idx1-ubyte.gz} and {@code classes.txt}: one class
 * name a line, in label order.
 *
 * @see <a href="http://yann.lecun.com/exdb/mnist/">The MNIST database: file format</a>
 */
public final class IdxImages {

  private static final String DONE = "_unpacked";

  private IdxImages() {}

  /**
   * Writes {@code train/<class>/<number>.png} and {@code val/<class>/<number>.png}; the number is
   * the place in the IDX file. Does nothing if the output was unpacked from the same input before.
   *
   * @throws IllegalArgumentException if the input is missing or the output holds something else
   * @throws DataException if a file is not in IDX format, or images and labels do not fit
   */
  public static void unpack(
      Configuration hadoop, String input, String output, Sharding.Listener listener) {
    try {
      Path from = new Path(input);
      FileSystem source = Storage.of(from, hadoop);
      FileSystem target = Storage.of(new Path(output), hadoop);
      Path to = target.makeQualified(new Path(output));
      if (!source.exists(new Path(from, "classes.txt"))) {
        throw new IllegalArgumentException(
            "Cannot unpack " + input + ": there is no classes.txt in it");
      }
      String key = key(source, from);
      Path done = new Path(to, DONE);
      if (target.exists(done)
          && new String(readAll(target, done), StandardCharsets.UTF_8).equals(key)) {
        return;
      }
      if (target.exists(to) && !Storage.list(target, to).isEmpty()) {
        throw new IllegalArgumentException(
            "Cannot unpack to " + output + ": it holds something else; choose an empty directory");
      }

      Path temporary = new Path(to.getParent(), "." + to.getName() + "." + UUID.randomUUID());
      try {
        List<String> classes =
            new String(readAll(source, new Path(from, "classes.txt")), StandardCharsets.UTF_8)
                .lines()
                .map(String::strip)
                .filter(line -> !line.isEmpty())
                .toList();
        split(source, from, "train", classes, target, new Path(temporary, "train"), listener);
        split(source, from, "t10k", classes, target, new Path(temporary, "val"), listener);
        try (OutputStream out = Storage.create(target, new Path(temporary, DONE))) {
          out.write(key.getBytes(StandardCharsets.UTF_8));
        }
        target.delete(to, false); // an empty directory; a rename would go into it
        Storage.rename(target, temporary, to);
      } finally {
        target.delete(temporary, true);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(
          "Cannot unpack " + input + " to " + output + ": " + e.getMessage(), e);
    }
  }

  private static void split(
      FileSystem source,
      Path from,
      String prefix,
      List<String> classes,
      FileSystem target,
      Path to,
      Sharding.Listener listener)
      throws IOException {
    Path imagesPath = new Path(from, prefix + "-images-idx3-ubyte.gz");
    Path labelsPath = new Path(from, prefix + "-labels-idx1-ubyte.gz");
    try (DataInputStream images = open(source, imagesPath);
        DataInputStream labels = open(source, labelsPath)) {
      expect(imagesPath, "magic number", images.readInt(), 0x803);
      expect(labelsPath, "magic number", labels.readInt(), 0x801);
      int count = images.readInt();
      expect(labelsPath, "number of labels", labels.readInt(), count);
      int height = images.readInt();
      int width = images.readInt();
      for (int i = 0; i < count; i++) {
        byte[] pixels = new byte[width * height];
        images.readFully(pixels);
        int label = labels.readUnsignedByte();
        if (label >= classes.size()) {
          throw new DataException(
              String.format(
                  "Cannot unpack %s: label %d, but classes.txt names %d classes",
                  labelsPath, label, classes.size()));
        }
        byte[] png = Images.encodePng(new Images.Picture(width, height, 1, pixels));
        Path file = new Path(to, classes.get(label) + "/" + String.format("%05d.png", i));
        try (OutputStream out = Storage.create(target, file)) {
          out.write(png);
        }
        if (i % 100 == 0 || i == count - 1) {
          listener.progress("unpack " + to.getName(), i + 1, count);
        }
      }
    } catch (EOFException e) {
      throw new DataException("Cannot unpack " + imagesPath + ": it or its labels end early", e);
    }
  }

  private static void expect(Path path, String what, int found, int expected) {
    if (found != expected) {
      throw new DataException(
          String.format("Cannot unpack %s: %s is %d, expected %d", path, what, found, expected));
    }
  }

  /** What the output was made from: file names, lengths and checksums. */
  private static String key(FileSystem source, Path from) throws IOException {
    StringBuilder key = new StringBuilder();
    for (String name :
        List.of(
            "classes.txt",
            "train-images-idx3-ubyte.gz",
            "train-labels-idx1-ubyte.gz",
            "t10k-images-idx3-ubyte.gz",
            "t10k-labels-idx1-ubyte.gz")) {
      byte[] bytes = readAll(source, new Path(from, name));
      key.append(
          String.format("%s %d %s%n", name, bytes.length, Storage.hex(Storage.crc32c(bytes))));
    }
    return key.toString();
  }

  private static byte[] readAll(FileSystem files, Path path) throws IOException {
    return Storage.read(files, path, 0, Math.toIntExact(files.getFileStatus(path).getLen()));
  }

  private static DataInputStream open(FileSystem files, Path path) throws IOException {
    return new DataInputStream(new BufferedInputStream(new GZIPInputStream(files.open(path))));
  }
}
