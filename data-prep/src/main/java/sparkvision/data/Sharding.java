package sparkvision.data;

import java.io.IOException;
import java.io.OutputStream;
import java.io.Serializable;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Collectors;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.spark.SparkException;
import org.apache.spark.api.java.JavaFutureAction;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.broadcast.Broadcast;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.util.LongAccumulator;
import org.apache.spark.util.SerializableConfiguration;

/**
 * The Spark job that turns an image folder into a shard set; see the package description for what
 * it writes.
 *
 * <pre>
 * list the folder -> probe every picture -> permute the good ones -> write files -> manifest
 * </pre>
 *
 * Both passes read pictures on the executors; the driver sees names, checksums and counts only,
 * some 300 bytes a picture.
 */
public final class Sharding {

  private static final String TEMPORARY = "_temporary";
  private static final String OWNER = "sparkvision-sharding";
  private static final String FILE_PATTERN = "part-\\d{5}\\.parquet";
  private static final long MAX_BLOCK_BYTES = 1L << 30;
  private static final long POLL_MILLIS = 200;

  private Sharding() {}

  /**
   * What to shard, and how.
   *
   * @param dataset the layout of the input, a name for people
   * @param input an image folder; see {@link ImageFolder}
   * @param output a directory that does not exist, is empty, or holds this very shard set
   * @param samplesPerBlock samples of a row group
   * @param blocksPerFile row groups of a file
   * @param maxQuarantinedShare of the pictures, 0..1; above it the job fails
   * @param seed of the order in which samples are laid down
   */
  public record Options(
      String dataset,
      String input,
      String output,
      int samplesPerBlock,
      int blocksPerFile,
      double maxQuarantinedShare,
      long seed) {

    public Options {
      require(samplesPerBlock >= 1, "samples-per-block", samplesPerBlock, "must be at least 1");
      require(blocksPerFile >= 1, "blocks-per-file", blocksPerFile, "must be at least 1");
      require(
          maxQuarantinedShare >= 0 && maxQuarantinedShare <= 1,
          "max-quarantined-share",
          maxQuarantinedShare,
          "must be between 0 and 1");
    }

    private static void require(boolean holds, String key, Object value, String allowed) {
      if (!holds) {
        throw new IllegalArgumentException(
            String.format("Invalid %s: %s (%s)", key, value, allowed));
      }
    }
  }

  /** Hears how far a job is; called from the thread that started it. */
  public interface Listener {
    void progress(String phase, long done, long total);
  }

  /**
   * How it ended.
   *
   * @param alreadyDone the output was there before, from the same input and options
   */
  public record Outcome(ShardManifest manifest, boolean alreadyDone) {}

  /**
   * Writes a shard set, or finds that it is there already.
   *
   * @throws IllegalArgumentException if the input is missing or the output holds something else
   * @throws DataException if the input is no image folder, or too many pictures are bad
   * @throws IllegalStateException if the job failed; a {@link SparkException} is its cause when the
   *     cluster is to blame and the same call may succeed later
   */
  public static Outcome run(SparkSession spark, Options options, Listener listener) {
    JavaSparkContext context = JavaSparkContext.fromSparkContext(spark.sparkContext());
    Configuration hadoop = context.hadoopConfiguration();
    ImageFolder folder = ImageFolder.list(hadoop, options.input());
    try {
      Path path = new Path(options.output());
      FileSystem storage = Storage.of(path, hadoop);
      Path output = storage.makeQualified(path);
      Broadcast<SerializableConfiguration> conf =
          context.broadcast(new SerializableConfiguration(hadoop));
      try {
        if (storage.exists(new Path(output, ShardManifest.NAME))) {
          return existing(context, conf, options, folder, output, listener);
        }
        refuseForeign(storage, output);
        Probed probed = probe(context, conf, folder, listener);
        refuseBad(options, folder, probed);
        return write(context, conf, options, folder, probed, storage, output, listener);
      } finally {
        conf.destroy();
      }
    } catch (IOException e) {
      throw new UncheckedIOException(
          "Cannot shard " + options.input() + " to " + options.output() + ": " + e.getMessage(), e);
    }
  }

  // The output directory

  /** Compares a finished set with what was asked for; reads the input only if it was touched. */
  private static Outcome existing(
      JavaSparkContext context,
      Broadcast<SerializableConfiguration> conf,
      Options options,
      ImageFolder folder,
      Path output,
      Listener listener) {
    ShardManifest manifest =
        ShardSet.open(context.hadoopConfiguration(), output.toString()).manifest();
    Map<String, List<Object>> compared = new HashMap<>();
    compared.put("dataset", List.of(manifest.dataset(), options.dataset()));
    compared.put(
        "samples-per-block", List.of(manifest.samplesPerBlock(), options.samplesPerBlock()));
    compared.put("blocks-per-file", List.of(manifest.blocksPerFile(), options.blocksPerFile()));
    compared.put("seed", List.of(manifest.seed(), options.seed()));
    compared.forEach(
        (key, values) -> {
          if (!values.get(0).equals(values.get(1))) {
            throw new IllegalArgumentException(
                String.format(
                    "Cannot shard to %s: it holds shards with %s %s, asked for is %s; choose"
                        + " another output",
                    output, key, values.get(0), values.get(1)));
          }
        });

    boolean same = manifest.listing().equals(listing(folder));
    boolean untouched =
        manifest.source().equals(folder.root()) && manifest.newestInput() == newest(folder);
    if (same && !untouched) {
      same = manifest.fingerprint().equals(probe(context, conf, folder, listener).fingerprint);
    }
    if (!same) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot shard %s to %s: it holds shards of other pictures (made from %s); choose"
                  + " another output",
              folder.root(), output, manifest.source()));
    }
    refuseShare(options, folder, manifest.quarantined());
    return new Outcome(manifest, true);
  }

  /** Accepts nothing but an absent or empty directory, or what a broken run of ours left. */
  private static void refuseForeign(FileSystem storage, Path output) throws IOException {
    if (!storage.exists(output)) {
      return;
    }
    if (!storage.getFileStatus(output).isDirectory()) {
      throw new IllegalArgumentException("Cannot shard to " + output + ": it is a file");
    }
    boolean ours = storage.exists(new Path(new Path(output, TEMPORARY), OWNER));
    for (FileStatus entry : Storage.list(storage, output)) {
      String name = entry.getPath().getName();
      if (!ours || !(name.equals(TEMPORARY) || name.matches(FILE_PATTERN))) {
        throw new IllegalArgumentException(
            String.format(
                "Cannot shard to %s: it holds something else (%s); choose an empty directory",
                output, name));
      }
    }
  }

  /**
   * Removes what this job writes, all but the mark of ownership: a task that was given up may still
   * be running, and what it leaves must be known as ours.
   */
  private static void sweep(FileSystem storage, Path output) throws IOException {
    Path temporary = new Path(output, TEMPORARY);
    for (Path directory : List.of(output, temporary)) {
      if (!storage.exists(directory)) {
        return;
      }
      for (FileStatus entry : Storage.list(storage, directory)) {
        String name = entry.getPath().getName();
        if (!name.equals(TEMPORARY) && !name.equals(OWNER)) {
          storage.delete(entry.getPath(), false);
        }
      }
    }
  }

  // Pass 1

  /** What the probe of a part of the pictures found; by index in that part. */
  private static final class Part implements Serializable {
    private static final long serialVersionUID = 1;
    final int[] crcs;
    final int[] widths;
    final int[] heights;
    final Map<Integer, String> problems = new HashMap<>();
    final Sums grey = new Sums();
    final Sums colour = new Sums();

    Part(int pictures) {
      crcs = new int[pictures];
      widths = new int[pictures];
      heights = new int[pictures];
    }
  }

  /** Exact sums over 8-bit pixels, so that they do not depend on how pictures were divided. */
  private static final class Sums implements Serializable {
    private static final long serialVersionUID = 1;
    long pixels;
    final long[] sum = new long[3];
    final long[] squares = new long[3];

    void add(Images.Picture picture) {
      int channels = picture.channels();
      byte[] values = picture.pixels();
      pixels += (long) picture.width() * picture.height();
      for (int i = 0; i < values.length; i += channels) {
        for (int c = 0; c < channels; c++) {
          int value = values[i + c] & 0xFF;
          sum[c] += value;
          squares[c] += (long) value * value;
        }
      }
    }

    void add(Sums other) {
      pixels += other.pixels;
      for (int c = 0; c < 3; c++) {
        sum[c] += other.sum[c];
        squares[c] += other.squares[c];
      }
    }
  }

  /** The whole of pass 1, by index in the folder's pictures. */
  private static final class Probed {
    final int[] crcs;
    final int[] widths;
    final int[] heights;
    final String[] problems;
    final Sums grey = new Sums();
    final Sums colour = new Sums();
    final String fingerprint;

    Probed(ImageFolder folder, List<Part> parts) {
      int pictures = folder.images().size();
      crcs = new int[pictures];
      widths = new int[pictures];
      heights = new int[pictures];
      problems = new String[pictures];
      int at = 0;
      for (Part part : parts) {
        System.arraycopy(part.crcs, 0, crcs, at, part.crcs.length);
        System.arraycopy(part.widths, 0, widths, at, part.widths.length);
        System.arraycopy(part.heights, 0, heights, at, part.heights.length);
        for (Map.Entry<Integer, String> problem : part.problems.entrySet()) {
          problems[at + problem.getKey()] = problem.getValue();
        }
        grey.add(part.grey);
        colour.add(part.colour);
        at += part.crcs.length;
      }
      MessageDigest digest = sha256();
      for (int i = 0; i < pictures; i++) {
        ImageFolder.Image image = folder.images().get(i);
        String line = image.path() + "\t" + image.length() + "\t" + Storage.hex(crcs[i]) + "\n";
        digest.update(line.getBytes(StandardCharsets.UTF_8));
      }
      fingerprint = HexFormat.of().formatHex(digest.digest());
    }
  }

  private static Probed probe(
      JavaSparkContext context,
      Broadcast<SerializableConfiguration> conf,
      ImageFolder folder,
      Listener listener) {
    int pictures = folder.images().size();
    int slots = context.defaultParallelism();
    int slices = Math.max(Math.min(pictures, 8 * slots), pictures / 1024);
    List<byte[]> packed = new ArrayList<>(slices);
    for (long slice = 0; slice < slices; slice++) {
      int from = (int) (slice * pictures / slices);
      int to = (int) ((slice + 1) * pictures / slices);
      packed.add(
          TaskBytes.pack(folder.images().subList(from, to).toArray(ImageFolder.Image[]::new)));
    }
    LongAccumulator done = context.sc().longAccumulator("pictures probed");
    String root = folder.root();
    JavaRDD<byte[]> parts =
        context
            .parallelize(packed, slices)
            .map(
                images ->
                    TaskBytes.pack(
                        probePart(
                            conf.value().value(),
                            root,
                            List.of(TaskBytes.unpack(images, ImageFolder.Image[].class)),
                            done)));
    return new Probed(folder, await(context, parts, Part.class, "probe", done, pictures, listener));
  }

  private static Part probePart(
      Configuration hadoop, String root, List<ImageFolder.Image> mine, LongAccumulator done)
      throws IOException {
    Part part = new Part(mine.size());
    for (int i = 0; i < mine.size(); i++) {
      byte[] bytes = bytes(hadoop, root, mine.get(i).path(), mine.get(i).length());
      part.crcs[i] = Storage.crc32c(bytes);
      try {
        Images.Picture picture = Images.inspect(bytes);
        part.widths[i] = picture.width();
        part.heights[i] = picture.height();
        (picture.channels() == 1 ? part.grey : part.colour).add(picture);
      } catch (DataException e) {
        part.problems.put(i, e.getMessage());
      }
      done.add(1);
    }
    return part;
  }

  private static byte[] bytes(Configuration hadoop, String root, String path, long length)
      throws IOException {
    // Not Path(root, path): Hadoop would take a colon in a file name for a scheme.
    Path full = new Path(root + "/" + path);
    try {
      return Storage.read(Storage.of(full, hadoop), full, 0, Math.toIntExact(length));
    } catch (IOException e) {
      throw new IOException("Cannot read picture " + full + ": " + e.getMessage(), e);
    }
  }

  private static void refuseBad(Options options, ImageFolder folder, Probed probed) {
    refuseShare(options, folder, quarantined(folder, probed));
    long[] counts = classCounts(folder, probed);
    for (int label = 0; label < counts.length; label++) {
      if (counts[label] == 0) {
        throw new DataException(
            String.format(
                "Cannot shard %s: no picture of class %s can be read",
                folder.root(), folder.classes().get(label)));
      }
    }
  }

  private static void refuseShare(
      Options options, ImageFolder folder, List<ShardManifest.Quarantined> quarantined) {
    int pictures = folder.images().size();
    if (quarantined.size() > options.maxQuarantinedShare() * pictures) {
      throw new DataException(
          String.format(
              "Cannot shard %s: %d of %d pictures are bad, more than max-quarantined-share %s"
                  + " allows; the first is %s: %s",
              folder.root(),
              quarantined.size(),
              pictures,
              options.maxQuarantinedShare(),
              quarantined.get(0).path(),
              quarantined.get(0).reason()));
    }
  }

  // Pass 2

  /** A picture on its way into a block. */
  record Entry(String path, int label, long length, int crc, int width, int height)
      implements Serializable {}

  /** A file to be written. */
  record FilePlan(int index, List<Entry> entries) implements Serializable {}

  private static Outcome write(
      JavaSparkContext context,
      Broadcast<SerializableConfiguration> conf,
      Options options,
      ImageFolder folder,
      Probed probed,
      FileSystem storage,
      Path output,
      Listener listener)
      throws IOException {
    List<FilePlan> plans = plan(options, folder, probed);
    sweep(storage, output);
    Path owner = new Path(new Path(output, TEMPORARY), OWNER);
    if (!storage.exists(owner)) {
      Storage.create(storage, owner).close();
    }
    try {
      LongAccumulator done = context.sc().longAccumulator("pictures written");
      String root = folder.root();
      String target = output.toString();
      int samplesPerBlock = options.samplesPerBlock();
      JavaRDD<byte[]> written =
          context
              .parallelize(plans.stream().map(TaskBytes::pack).toList(), plans.size())
              .map(
                  plan ->
                      TaskBytes.pack(
                          writeFile(
                              conf.value().value(),
                              root,
                              target,
                              samplesPerBlock,
                              TaskBytes.unpack(plan, FilePlan.class),
                              done)));
      long total = plans.stream().mapToLong(plan -> plan.entries().size()).sum();
      List<ShardManifest.ShardFile> files =
          await(context, written, ShardManifest.ShardFile.class, "write", done, total, listener);

      ShardManifest manifest = manifest(options, folder, probed, files, total);
      Path temporary = new Path(owner.getParent(), ShardManifest.NAME);
      try (OutputStream out = Storage.create(storage, temporary)) {
        out.write(manifest.toJson());
      }
      Storage.rename(storage, temporary, new Path(output, ShardManifest.NAME));
      storage.delete(owner.getParent(), true);
      return new Outcome(ShardSet.open(context.hadoopConfiguration(), target).manifest(), false);
    } catch (IOException | RuntimeException e) {
      if (!storage.exists(new Path(output, ShardManifest.NAME))) {
        sweep(storage, output);
      }
      throw e;
    }
  }

  /** Lays the good pictures down in a random order, so that every block mixes classes. */
  private static List<FilePlan> plan(Options options, ImageFolder folder, Probed probed) {
    List<Entry> entries = new ArrayList<>();
    for (int i = 0; i < probed.crcs.length; i++) {
      if (probed.problems[i] == null) {
        ImageFolder.Image image = folder.images().get(i);
        entries.add(
            new Entry(
                image.path(),
                image.label(),
                image.length(),
                probed.crcs[i],
                probed.widths[i],
                probed.heights[i]));
      }
    }
    int[] order = new int[entries.size()];
    Arrays.setAll(order, i -> i);
    new SplitMix(options.seed()).shuffle(order, 0, order.length);

    int perFile =
        (int) Math.min(order.length, (long) options.samplesPerBlock() * options.blocksPerFile());
    List<FilePlan> plans = new ArrayList<>();
    for (int from = 0; from < order.length; from += perFile) {
      int to = Math.min(order.length, from + perFile);
      List<Entry> mine =
          Arrays.stream(order, from, to)
              .mapToObj(entries::get)
              .collect(Collectors.toCollection(ArrayList::new));
      plans.add(new FilePlan(plans.size(), mine));
    }
    return plans;
  }

  /**
   * Writes one file under a name of its own and renames it. The bytes are a pure function of the
   * plan, so when another attempt was faster its file is as good.
   */
  static ShardManifest.ShardFile writeFile(
      Configuration hadoop,
      String root,
      String output,
      int samplesPerBlock,
      FilePlan plan,
      LongAccumulator done)
      throws IOException {
    String name = String.format("part-%05d.parquet", plan.index());
    Path temporary = new Path(output, TEMPORARY + "/" + name + "." + UUID.randomUUID());
    Path target = new Path(output, name);
    FileSystem storage = Storage.of(temporary, hadoop);
    ShardManifest.ShardFile file;
    try (ParquetBlocks blocks = new ParquetBlocks(Storage.create(storage, temporary))) {
      List<Entry> entries = plan.entries();
      for (int from = 0; from < entries.size(); from += samplesPerBlock) {
        int to = Math.min(entries.size(), from + samplesPerBlock);
        blocks.append(samples(hadoop, root, entries.subList(from, to)));
        done.add(to - from);
      }
      file = blocks.finish(name);
    }
    if (storage.exists(target) || !storage.rename(temporary, target)) {
      storage.delete(temporary, false);
      if (!Storage.hex(Storage.crc32c(storage, target)).equals(file.crc32c())) {
        throw new IOException(
            "Cannot rename " + temporary + " to " + target + ": another file is in the way");
      }
    }
    return file;
  }

  private static List<Sample> samples(Configuration hadoop, String root, List<Entry> entries)
      throws IOException {
    long total = entries.stream().mapToLong(Entry::length).sum();
    if (total > MAX_BLOCK_BYTES) {
      throw new DataException(
          String.format(
              "Cannot write a block of %d pictures: they have %d bytes, more than 1 GiB; choose a"
                  + " smaller samples-per-block",
              entries.size(), total));
    }
    List<Sample> samples = new ArrayList<>(entries.size());
    for (Entry entry : entries) {
      byte[] bytes = bytes(hadoop, root, entry.path(), entry.length());
      if (Storage.crc32c(bytes) != entry.crc()) {
        throw new DataException(
            String.format(
                "Cannot shard picture %s/%s: it changed while the job ran", root, entry.path()));
      }
      samples.add(new Sample(entry.path(), entry.label(), entry.height(), entry.width(), bytes));
    }
    return samples;
  }

  // The manifest

  private static ShardManifest manifest(
      Options options,
      ImageFolder folder,
      Probed probed,
      List<ShardManifest.ShardFile> files,
      long samples) {
    int channels = probed.colour.pixels == 0 ? 1 : 3;
    List<Double> mean = new ArrayList<>();
    List<Double> std = new ArrayList<>();
    for (int c = 0; c < channels; c++) {
      double pixels = (double) probed.grey.pixels + probed.colour.pixels;
      double average = (probed.grey.sum[0] + probed.colour.sum[c]) / pixels;
      double square = (probed.grey.squares[0] + probed.colour.squares[c]) / pixels;
      mean.add(average / 255);
      std.add(Math.sqrt(Math.max(0, square - average * average)) / 255);
    }
    String version = Sharding.class.getPackage().getImplementationVersion();
    return new ShardManifest(
        ShardManifest.VERSION,
        options.dataset(),
        folder.root(),
        probed.fingerprint,
        samples,
        options.samplesPerBlock(),
        folder.classes(),
        Arrays.stream(classCounts(folder, probed)).boxed().toList(),
        mean,
        std,
        files,
        quarantined(folder, probed),
        options.blocksPerFile(),
        options.seed(),
        folder.ignoredFiles(),
        listing(folder),
        newest(folder),
        version == null ? "development" : version);
  }

  private static long[] classCounts(ImageFolder folder, Probed probed) {
    long[] counts = new long[folder.classes().size()];
    for (int i = 0; i < probed.problems.length; i++) {
      if (probed.problems[i] == null) {
        counts[folder.images().get(i).label()]++;
      }
    }
    return counts;
  }

  private static List<ShardManifest.Quarantined> quarantined(ImageFolder folder, Probed probed) {
    List<ShardManifest.Quarantined> found = new ArrayList<>();
    for (int i = 0; i < probed.problems.length; i++) {
      if (probed.problems[i] != null) {
        found.add(new ShardManifest.Quarantined(folder.images().get(i).path(), probed.problems[i]));
      }
    }
    return found;
  }

  private static String listing(ImageFolder folder) {
    MessageDigest digest = sha256();
    for (ImageFolder.Image image : folder.images()) {
      digest.update((image.path() + "\t" + image.length() + "\n").getBytes(StandardCharsets.UTF_8));
    }
    return HexFormat.of().formatHex(digest.digest());
  }

  private static long newest(ImageFolder folder) {
    return folder.images().stream().mapToLong(ImageFolder.Image::modified).max().orElse(0);
  }

  private static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("Cannot hash: this Java has no SHA-256", e);
    }
  }

  // Spark

  /** Runs a job and tells the listener how far it is; unwraps the cause when it fails. */
  private static <T> List<T> await(
      JavaSparkContext context,
      JavaRDD<byte[]> rdd,
      Class<T> type,
      String phase,
      LongAccumulator done,
      long total,
      Listener listener) {
    context.setJobDescription("shard: " + phase + " " + total + " pictures");
    JavaFutureAction<List<byte[]>> job = rdd.collectAsync();
    context.setJobDescription(null);
    try {
      while (true) {
        listener.progress(phase, Math.min(done.value(), total), total);
        try {
          List<byte[]> packed = job.get(POLL_MILLIS, TimeUnit.MILLISECONDS);
          List<T> result = new ArrayList<>(packed.size());
          packed.forEach(bytes -> result.add(TaskBytes.unpack(bytes, type)));
          listener.progress(phase, total, total);
          return result;
        } catch (TimeoutException e) {
          // still running
        }
      }
    } catch (InterruptedException e) {
      job.cancel(true);
      Thread.currentThread().interrupt();
      throw new IllegalStateException("Cannot finish " + phase + ": interrupted", e);
    } catch (ExecutionException e) {
      throw failure(phase, e.getCause());
    }
  }

  /**
   * What broke a job: our own sentence if a task left one, else its exception, else the cluster.
   */
  private static RuntimeException failure(String phase, Throwable failed) {
    Throwable last = failed;
    Set<Throwable> seen = Collections.newSetFromMap(new IdentityHashMap<>());
    for (Throwable cause = failed; cause != null && seen.add(cause); cause = cause.getCause()) {
      if (cause instanceof DataException data) {
        return new DataException(data.getMessage(), failed);
      }
      if (cause instanceof IOException io) {
        return new UncheckedIOException(io.getMessage(), io);
      }
      last = cause;
    }
    if (last instanceof SparkException) {
      return new IllegalStateException(
          "Cannot finish " + phase + ": the cluster failed: " + firstLine(last), failed);
    }
    return new IllegalStateException("Cannot finish " + phase + ": a task failed: " + last, last);
  }

  /** Spark puts the reason of the last attempt behind the stage's, and traces on further lines. */
  private static String firstLine(Throwable exception) {
    String line = String.valueOf(exception.getMessage()).lines().findFirst().orElse("");
    return line.substring(Math.max(0, line.indexOf("Lost task")));
  }
}
