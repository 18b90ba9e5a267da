package sparkvision.data;

import static sparkvision.data.Setting.require;

import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.spark.SparkException;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.SparkSession;

/**
 * The Spark job that turns a source into a shard set; see the package description for what it
 * writes.
 *
 * <pre>
 * list -> probe every item -> permute the good ones -> write files -> rename them -> manifest
 * </pre>
 *
 * Both passes read on the executors; the driver sees items, checksums and counts only, some 300
 * bytes a picture.
 */
public final class Sharding {

  private static final String TEMPORARY = "_temporary";
  private static final String OWNER = "sparkvision-sharding";
  private static final String FILE_PATTERN = "part-\\d{5}\\.parquet";

  /** Renames at a time: where a rename is a copy, one after the other would take hours. */
  private static final int RENAMES = 8;

  private Sharding() {}

  /**
   * How to shard.
   *
   * @param dataset the layout of the input, for the manifest
   * @param split of the data set, for the manifest; empty if it has none
   * @param preparation what the source does to samples, for the manifest; empty if nothing
   * @param output a directory that does not exist, is empty, or holds this very shard set
   * @param samplesPerBlock samples of a row group
   * @param targetFileBytes about the bytes of a file
   * @param files their number; 0 follows from {@code targetFileBytes}, and is at least one for
   *     every task that can run at a time
   * @param resize shorter side of the stored pictures, pixels; 0 stores the bytes as they came
   * @param jpegQuality of resized pictures, 1 to 100
   * @param maxBadShare bad inputs of all, 0..1; above it the job fails
   * @param seed of the order in which samples are laid down
   */
  public record Options(
      String dataset,
      String split,
      String preparation,
      String output,
      int samplesPerBlock,
      long targetFileBytes,
      int files,
      int resize,
      int jpegQuality,
      double maxBadShare,
      long seed) {

    public Options {
      require(samplesPerBlock >= 1, "samples-per-block", samplesPerBlock, "must be at least 1");
      require(targetFileBytes >= 1, "target-file-bytes", targetFileBytes, "must be at least 1");
      require(files >= 0, "files", files, "must be at least 0; 0 chooses");
      require(resize >= 0, "resize", resize, "must be at least 0; 0 keeps the bytes as they came");
      require(
          jpegQuality >= 1 && jpegQuality <= 100,
          "jpeg-quality",
          jpegQuality,
          "must be between 1 and 100");
      require(
          maxBadShare >= 0 && maxBadShare <= 1,
          "max-bad-share",
          maxBadShare,
          "must be between 0 and 1");
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
   * What a run would do, from a part of the items.
   *
   * @param items that the source lists
   * @param tried items that were read
   * @param bad of those that were tried
   * @param blocks in the set
   * @param files in the set
   * @param bytes of the set
   * @param slots tasks that run at a time
   * @param seconds of reading, checking and encoding on that many slots; not of writing
   */
  public record Estimate(
      Task task,
      int classes,
      long items,
      long tried,
      long bad,
      long blocks,
      long files,
      long bytes,
      int slots,
      double seconds) {}

  /**
   * Writes a shard set, or finds that it is there already.
   *
   * @throws IllegalArgumentException if the input is missing or the output holds something else
   * @throws DataException if the input is laid out otherwise, or too much of it is bad
   * @throws IllegalStateException if the job failed; a {@link SparkException} is its cause when the
   *     cluster is to blame and the same call may succeed later
   */
  public static Outcome run(SparkSession spark, Source source, Options options, Listener listener) {
    JavaSparkContext context = JavaSparkContext.fromSparkContext(spark.sparkContext());
    Configuration hadoop = context.hadoopConfiguration();
    try (SparkPass pass = new SparkPass(context, listener)) {
      Input input = list(hadoop, source, options);
      Path path = new Path(options.output());
      FileSystem storage = Storage.of(path, hadoop);
      Path output = storage.makeQualified(path);
      if (isFinished(storage, output)) {
        return existing(hadoop, pass, options, input, output);
      }
      refuseForeign(storage, output);
      Probe probe = Probe.run(pass, input.reading(), input.items());
      List<ShardManifest.Quarantined> quarantined = quarantined(input, probe);
      refuseBad(options, input, probe, quarantined);
      return write(hadoop, pass, options, input, probe, quarantined, storage, output);
    } catch (IOException e) {
      throw new UncheckedIOException(
          "Cannot shard to " + options.output() + ": " + e.getMessage(), e);
    }
  }

  /**
   * Tries out a part of the items on the executors, and writes nothing.
   *
   * @throws IllegalArgumentException if the input is missing
   * @throws DataException if the input is laid out otherwise
   */
  public static Estimate estimate(
      SparkSession spark, Source source, Options options, Listener listener) {
    JavaSparkContext context = JavaSparkContext.fromSparkContext(spark.sparkContext());
    try (SparkPass pass = new SparkPass(context, listener)) {
      Input input = list(context.hadoopConfiguration(), source, options);
      Trial.Result trial = Trial.run(pass, input.reading(), input.items());
      long items = input.items().size();
      long good = items - Math.round((double) items * trial.bad() / trial.tried());
      long bytes =
          Math.round((double) trial.bytes() * good / Math.max(1, trial.tried() - trial.bad()));
      return new Estimate(
          input.reading().task(),
          input.reading().classes(),
          items,
          trial.tried(),
          trial.bad(),
          ShardWriter.blocks(good, options.samplesPerBlock()),
          files(options, good, bytes, pass.slots()),
          bytes,
          pass.slots(),
          trial.seconds() / trial.tried() * items / pass.slots());
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot list the input: " + e.getMessage(), e);
    }
  }

  // The input

  /**
   * What there is to shard.
   *
   * @param items by id, without a second of the same id
   * @param quarantined before anything was read
   */
  private record Input(
      Reading reading,
      Listing listing,
      List<Item> items,
      List<ShardManifest.Quarantined> quarantined) {

    /** Samples, good and bad. */
    long inputs() {
      return items.size() + (long) quarantined.size();
    }

    String root() {
      return listing.root();
    }

    /** Hash of what the listing says; neither the root nor times are part of it. */
    String hash() {
      MessageDigest digest = sha256();
      update(digest, listing.task().toString());
      listing.classes().forEach(name -> update(digest, name));
      for (Item item : items) {
        update(
            digest,
            String.format(
                "%s\t%s\t%d\t%d\t%d\t%s",
                item.id(),
                item.path(),
                item.offset(),
                item.length(),
                item.label(),
                Storage.hex(Storage.crc32c(item.annotation()))));
      }
      return HexFormat.of().formatHex(digest.digest());
    }

    /** Hash of what was read. */
    String fingerprint(Probe probe) {
      MessageDigest digest = sha256();
      update(digest, hash());
      for (int i = 0; i < items.size(); i++) {
        update(digest, probe.problems[i] == null ? Storage.hex(probe.crcs[i]) : "bad");
      }
      return HexFormat.of().formatHex(digest.digest());
    }

    long newest() {
      return items.stream().mapToLong(Item::modified).max().orElse(0);
    }

    private static MessageDigest sha256() {
      try {
        return MessageDigest.getInstance("SHA-256");
      } catch (NoSuchAlgorithmException e) {
        throw new IllegalStateException("Cannot hash: this Java has no SHA-256", e);
      }
    }

    private static void update(MessageDigest digest, String line) {
      digest.update((line + "\n").getBytes(StandardCharsets.UTF_8));
    }
  }

  private static Input list(Configuration hadoop, Source source, Options options)
      throws IOException {
    Listing listing = source.list(hadoop);
    if (options.resize() > 0 && listing.task().isVolume()) {
      throw new IllegalArgumentException(
          String.format(
              "Invalid resize: %d (must be 0 for %s: volumes are resampled by millimetres, with"
                  + " volumes.spacing=[D, H, W])",
              options.resize(), listing.task()));
    }
    Map<String, Item> items = new LinkedHashMap<>();
    List<ShardManifest.Quarantined> quarantined = new ArrayList<>(listing.quarantined());
    for (Item item : listing.items().stream().sorted(Comparator.comparing(Item::id)).toList()) {
      Item first = items.putIfAbsent(item.id(), item);
      if (first != null) {
        quarantined.add(
            new ShardManifest.Quarantined(
                item.id(),
                item.path(),
                item.offset(),
                String.format(
                    "duplicate id: the first is at byte %d of %s", first.offset(), first.path())));
      }
    }
    if (items.isEmpty()) {
      String why =
          quarantined.isEmpty()
              ? ""
              : String.format(
                  "; of %d inputs that are none the first is %s: %s",
                  quarantined.size(), quarantined.get(0).path(), quarantined.get(0).reason());
      throw new DataException("Cannot shard " + listing.root() + ": it holds no samples" + why);
    }
    StoredForm form = new StoredForm(options.resize(), options.jpegQuality());
    Reading reading =
        new Reading(source, listing.task(), listing.root(), listing.classes().size(), form);
    return new Input(reading, listing, List.copyOf(items.values()), quarantined);
  }

  private static List<ShardManifest.Quarantined> quarantined(Input input, Probe probe) {
    List<ShardManifest.Quarantined> found = new ArrayList<>(input.quarantined());
    for (int i = 0; i < probe.problems.length; i++) {
      if (probe.problems[i] != null) {
        Item item = input.items().get(i);
        found.add(
            new ShardManifest.Quarantined(
                item.id(), item.path(), item.offset(), probe.problems[i]));
      }
    }
    found.sort(Comparator.comparing(ShardManifest.Quarantined::id));
    return found;
  }

  private static void refuseBad(
      Options options, Input input, Probe probe, List<ShardManifest.Quarantined> quarantined) {
    refuseShare(options, input, quarantined);
    int classes = input.reading().classes();
    long[] listed = new long[classes];
    long[] good = new long[classes];
    long samples = 0;
    for (int i = 0; i < probe.problems.length; i++) {
      int label = input.items().get(i).label();
      boolean labelled = label >= 0 && label < classes;
      if (labelled) {
        listed[label]++;
      }
      if (probe.problems[i] == null) {
        samples++;
        if (labelled) {
          good[label]++;
        }
      }
    }
    for (int label = 0; label < classes; label++) {
      if (listed[label] > 0 && good[label] == 0) {
        throw new DataException(
            String.format(
                "Cannot shard %s: no sample of class %s can be read",
                input.root(), input.listing().classes().get(label)));
      }
    }
    if (samples == 0) {
      throw new DataException("Cannot shard " + input.root() + ": no sample can be read");
    }
  }

  private static void refuseShare(
      Options options, Input input, List<ShardManifest.Quarantined> quarantined) {
    if (quarantined.size() > options.maxBadShare() * input.inputs()) {
      throw new DataException(
          String.format(
              "Cannot shard %s: %d of %d inputs are bad, more than max-bad-share %s allows; the"
                  + " first is %s: %s",
              input.root(),
              quarantined.size(),
              input.inputs(),
              options.maxBadShare(),
              quarantined.get(0).id(),
              quarantined.get(0).reason()));
    }
  }

  // The output directory

  /** Compares a finished set with what was asked for; reads the input only if it was touched. */
  private static Outcome existing(
      Configuration hadoop, SparkPass pass, Options options, Input input, Path output) {
    ShardManifest manifest = ShardSet.open(hadoop, output.toString()).manifest();
    Map<String, List<Object>> compared = new HashMap<>();
    compared.put("dataset", List.of(manifest.dataset(), options.dataset()));
    compared.put("split", List.of(manifest.split(), options.split()));
    compared.put("preparation", List.of(manifest.preparation(), options.preparation()));
    compared.put(
        "samples-per-block", List.of(manifest.samplesPerBlock(), options.samplesPerBlock()));
    compared.put("resize", List.of(manifest.resize(), options.resize()));
    compared.put("jpeg-quality", List.of(manifest.jpegQuality(), jpegQuality(options)));
    compared.put("seed", List.of(manifest.seed(), options.seed()));
    if (options.files() > 0) {
      long blocks = ShardWriter.blocks(manifest.samples(), manifest.samplesPerBlock());
      compared.put(
          "files", List.of((long) manifest.files().size(), Math.min(blocks, options.files())));
    } else {
      compared.put(
          "target-file-bytes", List.of(manifest.targetFileBytes(), options.targetFileBytes()));
    }
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

    boolean same = manifest.listing().equals(input.hash());
    boolean untouched =
        manifest.source().equals(input.root()) && manifest.newestInput() == input.newest();
    if (same && !untouched) {
      Probe probe = Probe.run(pass, input.reading(), input.items());
      same = manifest.fingerprint().equals(input.fingerprint(probe));
    }
    if (!same) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot shard %s to %s: it holds shards of other inputs (made from %s); choose"
                  + " another output",
              input.root(), output, manifest.source()));
    }
    refuseShare(options, input, manifest.quarantined());
    return new Outcome(manifest, true);
  }

  /** What the manifest says: no quality where nothing is encoded. */
  private static int jpegQuality(Options options) {
    return options.resize() == 0 ? 0 : options.jpegQuality();
  }

  /**
   * Whether there is a manifest. Half a one beside our mark is what a broken run left on a store
   * that renames by copying.
   */
  private static boolean isFinished(FileSystem storage, Path output) throws IOException {
    Path manifest = new Path(output, ShardManifest.NAME);
    if (!storage.exists(manifest)) {
      return false;
    }
    if (!storage.exists(owner(output))) {
      return true;
    }
    int length = Math.toIntExact(storage.getFileStatus(manifest).getLen());
    return ShardManifest.isWhole(Storage.read(storage, manifest, 0, length));
  }

  private static Path owner(Path output) {
    return new Path(new Path(output, TEMPORARY), OWNER);
  }

  /** Accepts nothing but an absent or empty directory, or what a broken run of ours left. */
  private static void refuseForeign(FileSystem storage, Path output) throws IOException {
    if (!storage.exists(output)) {
      return;
    }
    if (!storage.getFileStatus(output).isDirectory()) {
      throw new IllegalArgumentException("Cannot shard to " + output + ": it is a file");
    }
    boolean ours = storage.exists(owner(output));
    for (FileStatus entry : Storage.list(storage, output)) {
      String name = entry.getPath().getName();
      if (!ours || !name.matches(TEMPORARY + "|" + FILE_PATTERN + "|" + ShardManifest.NAME)) {
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

  // Writing

  /**
   * How many files: those asked for, or as many as {@code bytes} fill and one a slot at least; but
   * never more than blocks.
   */
  private static int files(Options options, long samples, long bytes, int slots) {
    long target = options.targetFileBytes();
    long files =
        options.files() > 0 ? options.files() : Math.max(slots, (bytes + target - 1) / target);
    long blocks = ShardWriter.blocks(samples, options.samplesPerBlock());
    return Math.toIntExact(Math.min(files, blocks));
  }

  private static Outcome write(
      Configuration hadoop,
      SparkPass pass,
      Options options,
      Input input,
      Probe probe,
      List<ShardManifest.Quarantined> quarantined,
      FileSystem storage,
      Path output)
      throws IOException {
    long samples = input.inputs() - quarantined.size();
    List<ShardWriter.FilePlan> plans =
        ShardWriter.plan(
            input.items(),
            probe,
            options.samplesPerBlock(),
            files(options, samples, probe.bytes, pass.slots()),
            options.seed());
    sweep(storage, output);
    Path temporary = new Path(output, TEMPORARY);
    if (!storage.exists(owner(output))) {
      Storage.create(storage, owner(output)).close();
    }
    Reading reading = input.reading();
    String attempts = temporary.toString();
    try {
      List<ShardWriter.Written> written =
          pass.run(
              "write",
              samples,
              plans,
              ShardWriter.FilePlan.class,
              ShardWriter.Written.class,
              (conf, plan, done) -> ShardWriter.write(conf, reading, attempts, plan, done));
      ShardManifest manifest = manifest(options, input, probe, quarantined, samples, written);
      commit(storage, output, temporary, written, manifest);
      return new Outcome(ShardSet.open(hadoop, output.toString()).manifest(), false);
    } catch (IOException | RuntimeException e) {
      if (!isFinished(storage, output)) {
        sweep(storage, output);
      }
      throw e;
    }
  }

  /** Gives the files their names, then writes the manifest, whose name is the commit. */
  static void commit(
      FileSystem storage,
      Path output,
      Path temporary,
      List<ShardWriter.Written> written,
      ShardManifest manifest)
      throws IOException {
    ExecutorService renames = Executors.newFixedThreadPool(RENAMES);
    try {
      List<Future<?>> started = new ArrayList<>();
      for (ShardWriter.Written one : written) {
        Path target = new Path(output, one.file().name());
        started.add(
            renames.submit(
                () -> {
                  Storage.rename(storage, new Path(one.attempt()), target);
                  return null;
                }));
      }
      for (Future<?> rename : started) {
        rename.get();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException("Cannot commit " + output + ": interrupted", e);
    } catch (ExecutionException e) {
      throw new IOException(e.getCause().getMessage(), e.getCause());
    } finally {
      renames.shutdownNow();
    }
    for (ShardWriter.Written one : written) {
      Path target = new Path(output, one.file().name());
      long length = storage.getFileStatus(target).getLen();
      if (length != one.file().length()) {
        throw new IOException(
            String.format(
                "Cannot commit %s: it has %d bytes after the rename, %d were written",
                target, length, one.file().length()));
      }
    }
    Path draft = new Path(temporary, ShardManifest.NAME);
    try (OutputStream out = Storage.create(storage, draft)) {
      out.write(manifest.toJson());
    }
    Storage.rename(storage, draft, new Path(output, ShardManifest.NAME));
    storage.delete(temporary, true);
  }

  private static ShardManifest manifest(
      Options options,
      Input input,
      Probe probe,
      List<ShardManifest.Quarantined> quarantined,
      long samples,
      List<ShardWriter.Written> written) {
    SampleStatistics statistics =
        new SampleStatistics(input.reading().task(), input.reading().classes());
    written.forEach(one -> statistics.add(one.statistics()));
    String version = Sharding.class.getPackage().getImplementationVersion();
    return new ShardManifest(
        ShardManifest.VERSION,
        input.reading().task(),
        options.dataset(),
        options.split(),
        options.preparation(),
        input.root(),
        input.fingerprint(probe),
        samples,
        options.samplesPerBlock(),
        input.listing().classes(),
        statistics.classCounts(),
        statistics.mean(),
        statistics.std(),
        statistics.widths(),
        statistics.heights(),
        statistics.depths(),
        written.stream().map(ShardWriter.Written::file).toList(),
        quarantined,
        options.resize(),
        jpegQuality(options),
        options.targetFileBytes(),
        options.seed(),
        input.listing().ignoredFiles(),
        input.hash(),
        input.newest(),
        version == null ? "development" : version);
  }
}
