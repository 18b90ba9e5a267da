package sparkvision.data;

import java.io.DataOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.Serializable;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import java.util.zip.CRC32C;
import java.util.zip.CheckedOutputStream;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.util.LongAccumulator;

/**
 * The first pass: reads every item and tells the good from the bad. Lasts in the driver's memory,
 * by index in the items.
 */
final class Probe {

  final int[] crcs;
  final String[] problems; // null for a good one
  long bytes; // of the good ones, as they will be stored

  private Probe(int items) {
    crcs = new int[items];
    problems = new String[items];
  }

  /** What one task found; by index in its part. */
  static final class Part implements Serializable {
    private static final long serialVersionUID = 1;
    final int[] crcs;
    final TreeMap<Integer, String> problems = new TreeMap<>();
    long bytes;

    private Part(int items) {
      crcs = new int[items];
    }
  }

  static Probe run(SparkPass pass, Reading reading, List<Item> items) {
    int slices = Math.max(Math.min(items.size(), 8 * pass.slots()), items.size() / 1024);
    List<Item[]> slicesOf = new ArrayList<>(slices);
    for (long slice = 0; slice < slices; slice++) {
      int from = (int) (slice * items.size() / slices);
      int to = (int) ((slice + 1) * items.size() / slices);
      slicesOf.add(items.subList(from, to).toArray(Item[]::new));
    }
    List<Part> parts =
        pass.run(
            "probe",
            items.size(),
            slicesOf,
            Item[].class,
            Part.class,
            (hadoop, slice, done) -> part(hadoop, reading, List.of(slice), done));

    Probe probe = new Probe(items.size());
    int at = 0;
    for (Part part : parts) {
      System.arraycopy(part.crcs, 0, probe.crcs, at, part.crcs.length);
      int start = at;
      part.problems.forEach((index, problem) -> probe.problems[start + index] = problem);
      probe.bytes += part.bytes;
      at += part.crcs.length;
    }
    return probe;
  }

  static Part part(Configuration hadoop, Reading reading, List<Item> items, LongAccumulator done)
      throws IOException {
    Part part = new Part(items.size());
    for (int i = 0; i < items.size(); i++) {
      try {
        Sample sample = reading.read(hadoop, items.get(i));
        part.crcs[i] = crc32c(sample);
        part.bytes += reading.form().estimate(sample);
      } catch (DataException e) {
        part.problems.put(i, e.getMessage());
      }
      done.add(1);
    }
    return part;
  }

  /** A checksum over all that a sample is. */
  static int crc32c(Sample sample) {
    CRC32C crc = new CRC32C();
    try (DataOutputStream out =
        new DataOutputStream(new CheckedOutputStream(OutputStream.nullOutputStream(), crc))) {
      out.writeInt(sample.label());
      out.writeInt(sample.depth());
      out.writeInt(sample.height());
      out.writeInt(sample.width());
      out.writeInt(sample.image().length);
      out.write(sample.image());
      out.writeInt(sample.mask().length);
      out.write(sample.mask());
      for (DetectedObject object : sample.objects()) {
        out.writeInt(object.category());
        out.writeDouble(object.x());
        out.writeDouble(object.y());
        out.writeDouble(object.width());
        out.writeDouble(object.height());
        out.writeDouble(object.area());
        out.writeBoolean(object.crowd());
        out.writeBytes(object.rle());
      }
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot sum a sample", e);
    }
    return (int) crc.getValue();
  }
}
