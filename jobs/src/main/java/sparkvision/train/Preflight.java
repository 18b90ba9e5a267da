package sparkvision.train;

import com.typesafe.config.Config;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.UUID;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.util.SerializableConfiguration;
import sparkvision.JobException;
import sparkvision.data.ShardManifest;
import sparkvision.data.ShardSet;
import sparkvision.engine.EngineOptions;

/**
 * Whether a cluster can run a training configuration, found out before it does: executors, their
 * JVMs, memory, network, storage, data, and one step.
 *
 * <p>One barrier job asks every slot at once ({@link PreflightTask}); the rest is arithmetic on the
 * answers. Nothing of it is left in the output.
 */
public final class Preflight {

  /** How much is tried. */
  public enum Depth {
    /** What takes a second: no step, and of the shards the manifests alone. */
    BRIEF,
    /** Everything. */
    FULL
  }

  /** What became of one check. */
  public enum Status {
    /** As it should be. */
    OK,
    /** Training would run, though worse than it could. */
    WARNING,
    /** Training would not run, or not to its end. */
    FAILED
  }

  /**
   * One line of the answer.
   *
   * @param found what there is
   * @param advice what to change; empty if nothing
   */
  public record Check(String name, Status status, String found, String advice) {}

  /** One slot, for the table. */
  public record Slot(
      int slot,
      String executor,
      String host,
      int threads,
      long heapBytes,
      long tensorBytes,
      List<String> processorFeatures,
      List<String> gpus,
      String cudaVisibleDevices,
      Double stepSeconds) {}

  /** Everything that was found. */
  public record Result(List<Check> checks, List<Slot> slots) {

    /** Those that ended so. */
    public List<Check> with(Status status) {
      return checks.stream().filter(check -> check.status() == status).toList();
    }
  }

  /** Exchanges should take no more than this share of the time. */
  private static final double EXCHANGE_SHARE = 0.05;

  private final JavaSparkContext spark;
  private final TrainConfig config;
  private final Depth depth;
  private final Configuration hadoop;
  private final List<Check> checks = new ArrayList<>();

  private Preflight(JavaSparkContext spark, TrainConfig config, Depth depth) {
    this.spark = spark;
    this.config = config;
    this.depth = depth;
    this.hadoop = spark.hadoopConfiguration();
  }

  /**
   * Tries out {@code config} on the executors of {@code spark}.
   *
   * @throws IllegalArgumentException if the model does not fit the data
   * @throws sparkvision.data.DataException if the driver cannot read the shard set
   */
  public static Result run(JavaSparkContext spark, TrainConfig config, Depth depth)
      throws IOException, InterruptedException {
    Preflight preflight = new Preflight(spark, config, depth);
    List<ExecutorProbe> probes = preflight.look();
    return new Result(List.copyOf(preflight.checks), probes.stream().map(Preflight::slot).toList());
  }

  private static Slot slot(ExecutorProbe probe) {
    return new Slot(
        probe.slot(),
        probe.executor(),
        probe.host(),
        probe.threads(),
        probe.heap(),
        probe.tensors(),
        probe.processorFeatures(),
        probe.gpus(),
        probe.cudaVisibleDevices(),
        stepped(probe) ? probe.step().seconds() : null);
  }

  private static boolean stepped(ExecutorProbe probe) {
    return probe.step() != null && probe.step().failure().isEmpty();
  }

  private List<ExecutorProbe> look() throws IOException, InterruptedException {
    String output = HadoopPaths.absolute(config.output(), hadoop);
    HadoopPaths.requireAtomicRename(output);
    List<String> places =
        Stream.concat(Stream.of(config.input()), config.validation().stream())
            .map(path -> HadoopPaths.absolute(path, hadoop))
            .toList();
    ShardManifest manifest = ShardSet.open(hadoop, places.get(0)).manifest();
    Objective objective =
        Objective.of(manifest, places.get(0), config, manifest.mean(), manifest.std());
    Config model = Network.withClasses(config.model(), manifest.classes().size());
    Network network = new Network(model, config.batchSize(), objective);
    long parameters = network.parameters();

    if (!slots()) {
      return List.of();
    }
    int slots = concurrentTasks();
    Path run = new Path(output);
    FileSystem files = run.getFileSystem(hadoop);
    Path made = null;
    Path staged = new Path(run, ".preflight-" + UUID.randomUUID());
    List<ExecutorProbe> probes = List.of();
    Check writable;
    try {
      made = firstMissing(files, run);
      writable = writable(files, staged);
    } catch (IOException e) {
      writable = outputFailed(firstLine(e));
    }
    try {
      probes =
          ask(
              new PreflightTask.Plan(
                  places,
                  staged.toString(),
                  depth == Depth.FULL,
                  model,
                  config.engine(),
                  config.precision(),
                  config.memory(),
                  slots,
                  config.batchSize(),
                  config.seed(),
                  config.optimizer(),
                  objective,
                  config.augment().repeats(),
                  config.loader(),
                  new SerializableConfiguration(hadoop)));
      if (probes.isEmpty()) {
        return probes;
      }
      jvm(probes);
      natives(probes);
      gpus(probes);
      network(probes);
      checks.add(writable.status() == Status.OK ? output(files, staged, probes) : writable);
      shards(probes, places);
      if (depth == Depth.FULL) {
        step(probes);
      }
      memory(probes, manifest, network, parameters);
      if (depth == Depth.FULL) {
        exchange(probes);
      }
    } finally {
      if (writable.status() == Status.OK) {
        files.delete(made == null ? staged : made, true);
      }
    }
    return probes;
  }

  private void check(String name, Status status, String found, String advice) {
    checks.add(new Check(name, status, found, status == Status.OK ? "" : advice));
  }

  // Executors.

  private int concurrentTasks() {
    return spark
        .sc()
        .maxNumConcurrentTasks(spark.sc().resourceProfileManager().defaultResourceProfile());
  }

  /** Whether there is anybody to ask. */
  private boolean slots() throws InterruptedException {
    SparkConf conf = spark.getConf();
    String taskCpus = conf.get("spark.task.cpus", "1");
    if (conf.getBoolean("spark.dynamicAllocation.enabled", false)) {
      check(
          "slots",
          Status.FAILED,
          "dynamic allocation is on, and Spark refuses barrier stages then",
          "set spark.dynamicAllocation.enabled=false and spark.executor.instances");
      return false;
    }
    Status status = Status.OK;
    try {
      Slots.await(spark.sc(), config.ranks(), Duration.ofSeconds(config.timeoutSeconds()));
    } catch (JobException e) {
      status = Status.FAILED;
    }
    int slots = concurrentTasks();
    int ranks = config.ranks() == 0 ? slots : config.ranks();
    String found =
        String.format(
            "%d for %d ranks (a slot is spark.task.cpus=%s of an executor's cores)",
            slots, ranks, taskCpus);
    if (status == Status.OK && slots > ranks) {
      status = Status.WARNING;
      found += String.format("; %d stay idle", slots - ranks);
    }
    check(
        "slots",
        status,
        found,
        status == Status.FAILED
            ? String.format("start more executors, or set ranks=%d", Math.max(1, slots))
            : "set ranks=0 to use all of them");
    return slots > 0;
  }

  /** The slots' answers; none, and a failed check, if they do not come in time. */
  private List<ExecutorProbe> ask(PreflightTask.Plan plan) {
    String group = "preflight " + plan.staged();
    ScheduledExecutorService watch = Executors.newSingleThreadScheduledExecutor();
    Future<?> deadline =
        watch.schedule(
            () -> spark.sc().cancelJobGroup(group), config.timeoutSeconds(), TimeUnit.SECONDS);
    spark.setJobGroup(group, "preflight on " + plan.slots() + " slots", true);
    try {
      return BarrierJob.run(spark, new PreflightTask(plan), plan.slots(), ExecutorProbe.class);
    } catch (Exception e) { // Spark throws what is checked without saying so
      check(
          "executors",
          Status.FAILED,
          deadline.isDone()
              ? String.format("no answer of all slots within %d s", config.timeoutSeconds())
              : Transport.reason(e),
          "look into the executors' logs");
      return List.of();
    } finally {
      spark.clearJobGroup();
      watch.shutdownNow();
    }
  }

  // What the answers say.

  /** Sentences of those who have one, each with its executors: "1, 2: no such file". */
  private static String complaints(
      List<ExecutorProbe> probes, Function<ExecutorProbe, String> complaint) {
    Map<String, Set<String>> executors = new LinkedHashMap<>();
    for (ExecutorProbe probe : probes) {
      String sentence = complaint.apply(probe);
      if (!sentence.isEmpty()) {
        executors
            .computeIfAbsent(sentence, key -> new LinkedHashSet<>())
            .add(probe.executor() + " (" + probe.host() + ")");
      }
    }
    return executors.entrySet().stream()
        .map(entry -> "executor " + String.join(", ", entry.getValue()) + ": " + entry.getKey())
        .collect(Collectors.joining("; "));
  }

  private static <T> Set<T> different(
      Collection<ExecutorProbe> probes, Function<ExecutorProbe, T> part) {
    return probes.stream().map(part).collect(Collectors.toCollection(LinkedHashSet::new));
  }

  private void jvm(List<ExecutorProbe> probes) {
    String found =
        String.format(
            "Java %s, threads of a rank: %s",
            joined(different(probes, ExecutorProbe::java)),
            joined(different(probes, ExecutorProbe::threads)));
    String without = complaints(probes, probe -> probe.vectors() ? "" : "no vector module");
    if (!without.isEmpty()) {
      check(
          "java",
          Status.WARNING,
          found + "; " + without,
          "put --add-modules=jdk.incubator.vector into spark.executor.extraJavaOptions: the engine's"
              + " own loops are slow without it");
      return;
    }
    if (different(probes, ExecutorProbe::java).size() > 1) {
      check("java", Status.WARNING, found, "use the same Java on every node: bits may differ");
      return;
    }
    check("java", Status.OK, found + ", vector module", "");
  }

  private void natives(List<ExecutorProbe> probes) {
    String failures = complaints(probes, ExecutorProbe::natives);
    if (!failures.isEmpty()) {
      check(
          "natives",
          Status.FAILED,
          failures,
          "submit the jar of this platform, and let -Dorg.bytedeco.javacpp.cachedir name a"
              + " directory that can be written");
      return;
    }
    Set<List<String>> features = different(probes, ExecutorProbe::processorFeatures);
    String found =
        "they load on every executor; processors with "
            + features.stream().map(f -> String.join(" ", f)).collect(Collectors.joining(" / "));
    boolean slowBfloat16 =
        config.precision() == EngineOptions.Precision.BFLOAT16
            && features.stream().flatMap(List::stream).noneMatch(f -> f.contains("bf16"));
    if (features.size() > 1) {
      check(
          "natives",
          Status.WARNING,
          found,
          "use one kind of processor where bits shall be the same");
    } else if (slowBfloat16) {
      check(
          "natives",
          Status.WARNING,
          found,
          "set precision=float32: no processor here multiplies bfloat16");
    } else {
      check("natives", Status.OK, found, "");
    }
  }

  private void gpus(List<ExecutorProbe> probes) {
    String asked = spark.getConf().get("spark.executor.resource.gpu.amount", "0");
    int visible =
        different(probes, ExecutorProbe::host).stream()
            .mapToInt(
                host ->
                    probes.stream()
                        .filter(probe -> probe.host().equals(host))
                        .mapToInt(probe -> probe.visibleGpus().size())
                        .max()
                        .orElse(0))
            .sum();
    if (asked.equals("0")) {
      check("gpus", Status.OK, String.format("none asked for, %d visible", visible), "");
      return;
    }
    String given =
        probes.stream()
            .map(probe -> probe.slot() + ": " + String.join(" ", probe.gpus()))
            .collect(Collectors.joining(", "));
    String failures = complaints(probes, ExecutorProbe::gpuFailure);
    if (!failures.isEmpty()) {
      check(
          "gpus",
          Status.FAILED,
          failures,
          "set spark.executor.resource.gpu.amount=1 and spark.task.resource.gpu.amount=1: a rank is an"
              + " executor with one GPU");
      return;
    }
    String found =
        String.format("address by rank: %s; %d visible without Spark's choice", given, visible);
    if (config.engine().equals("compiled")) {
      check("gpus", Status.WARNING, found, "ask for no GPUs: engine compiled computes on the CPU");
      return;
    }
    check("gpus", Status.OK, found, "");
  }

  private void network(List<ExecutorProbe> probes) {
    int tried = probes.size() * probes.size();
    List<String> failures = new ArrayList<>();
    for (ExecutorProbe probe : probes) {
      probe
          .peers()
          .forEach(
              (peer, sentence) ->
                  failures.add(
                      String.format(
                          "slot %d (%s) to slot %d: %s",
                          probe.slot(), probe.host(), peer, sentence)));
    }
    if (!failures.isEmpty()) {
      check(
          "network",
          Status.FAILED,
          String.format(
              "%d of %d ways closed: %s", failures.size(), tried, String.join("; ", failures)),
          "check name resolution and firewalls between executors");
      return;
    }
    String found = String.format("all %d ways between slots open", tried);
    if (depth == Depth.FULL) {
      found +=
          String.format(
              Locale.ROOT,
              ", %.0f MB/s and %.2f ms at worst",
              bandwidth(probes) / 1e6,
              1e3 * roundTrip(probes));
    }
    check("network", Status.OK, found, "");
  }

  private static double bandwidth(List<ExecutorProbe> probes) {
    return probes.stream().mapToDouble(ExecutorProbe::bytesPerSecond).min().orElse(0);
  }

  private static double roundTrip(List<ExecutorProbe> probes) {
    return probes.stream().mapToDouble(ExecutorProbe::roundTripSeconds).max().orElse(0);
  }

  // Storage.

  /** The topmost directory of {@code run} that does not exist yet; null if all do. */
  private static Path firstMissing(FileSystem files, Path run) throws IOException {
    Path missing = null;
    for (Path path = run; path != null && !files.exists(path); path = path.getParent()) {
      missing = path;
    }
    return missing;
  }

  private static Check writable(FileSystem files, Path staged) throws IOException {
    return files.mkdirs(staged)
        ? new Check("output", Status.OK, "", "")
        : outputFailed("the directory " + staged + " cannot be made");
  }

  private static Check outputFailed(String found) {
    return new Check(
        "output",
        Status.FAILED,
        found,
        "choose an output where driver and executors may write, on storage that they share");
  }

  private Check output(FileSystem files, Path staged, List<ExecutorProbe> probes) {
    String failures = complaints(probes, ExecutorProbe::storage);
    if (!failures.isEmpty()) {
      return outputFailed(failures);
    }
    try {
      Set<String> names =
          Stream.of(files.listStatus(staged))
              .map(FileStatus::getPath)
              .map(Path::getName)
              .collect(Collectors.toSet());
      String lost =
          complaints(
              probes,
              probe ->
                  names.contains("slot-" + probe.slot())
                      ? ""
                      : "what it wrote is not here: " + staged.getParent() + " is its own disk");
      if (!lost.isEmpty()) {
        return outputFailed(lost);
      }
      Path renamed = staged.suffix("-renamed");
      if (!files.rename(staged, renamed) || !files.exists(renamed)) {
        return outputFailed("a directory in " + staged.getParent() + " cannot be renamed");
      }
      if (!files.delete(renamed, true)) {
        return outputFailed(renamed + " cannot be deleted");
      }
    } catch (IOException e) {
      return outputFailed(firstLine(e));
    }
    return new Check(
        "output",
        Status.OK,
        String.format("%s: written by every slot, renamed, deleted", staged.getParent()),
        "");
  }

  private static String firstLine(Exception e) {
    return String.valueOf(e.getMessage()).lines().findFirst().orElse("");
  }

  private void shards(List<ExecutorProbe> probes, List<String> places) {
    String failures = complaints(probes, ExecutorProbe::shards);
    check(
        "shards",
        failures.isEmpty() ? Status.OK : Status.FAILED,
        failures.isEmpty()
            ? String.join(", ", places)
                + (depth == Depth.FULL
                    ? ": a block of each read by every slot"
                    : ": opened by every slot")
            : failures,
        "use storage that every executor reaches under the same name");
  }

  // The step, memory and time.

  private void step(List<ExecutorProbe> probes) {
    String failures =
        complaints(
            probes,
            probe -> {
              if (probe.step() == null) {
                return "not tried without native libraries";
              }
              if (!stepped(probe)) {
                return probe.step().failure();
              }
              return Double.isFinite(probe.step().loss()) ? "" : "loss " + probe.step().loss();
            });
    if (!failures.isEmpty()) {
      check(
          "step",
          Status.FAILED,
          failures,
          "lower batch-size or set memory=lean; the line memory has the sizes");
      return;
    }
    check(
        "step",
        Status.OK,
        String.format(
            Locale.ROOT,
            "%d images in %.3f s on the slowest, %.3f s on the fastest slot, loss %.4f",
            config.batchSize(),
            stepSeconds(probes),
            probes.stream().mapToDouble(probe -> probe.step().seconds()).min().orElse(0),
            probes.get(0).step().loss()),
        "");
  }

  private static double stepSeconds(List<ExecutorProbe> probes) {
    return probes.stream().mapToDouble(probe -> probe.step().seconds()).max().orElse(0);
  }

  private void memory(
      List<ExecutorProbe> probes, ShardManifest manifest, Network network, long parameters) {
    Map<String, List<ExecutorProbe>> executors =
        probes.stream()
            .collect(
                Collectors.groupingBy(ExecutorProbe::executor, TreeMap::new, Collectors.toList()));
    MemoryBudget.Need need = need(probes, manifest, network, parameters);
    List<String> failures = new ArrayList<>();
    List<String> warnings = new ArrayList<>();
    MemoryBudget smallest = null;
    for (Map.Entry<String, List<ExecutorProbe>> entry : executors.entrySet()) {
      ExecutorProbe probe = entry.getValue().get(0);
      MemoryBudget budget = budget(probe, entry.getValue().size());
      smallest = smallest == null || budget.heap() < smallest.heap() ? budget : smallest;
      String name = "executor " + entry.getKey() + ": ";
      if (!budget.tensorsFit(need)) {
        failures.add(
            name
                + String.format(
                    "tensors need %s, maxbytes is %s",
                    megabytes(budget.ranks() * need.planned()), megabytes(budget.tensors())));
      }
      if (budget.outgrowsContainer()) {
        failures.add(
            name
                + String.format(
                    "maxbytes %s and %s for all else exceed the overhead of %s: the container would"
                        + " be killed",
                    megabytes(budget.tensors()),
                    megabytes(MemoryBudget.UNCOUNTED),
                    megabytes(budget.overhead())));
      }
      if (!budget.heapFits(need)) {
        warnings.add(
            name
                + String.format(
                    "the heap of %s may not hold batches and weights, about %s",
                    megabytes(budget.heap()), megabytes(budget.heapNeed(need))));
      }
      if (budget.stopsEarly()) {
        warnings.add(
            name
                + String.format(
                    "maxphysicalbytes %s is less than heap and maxbytes, %s",
                    megabytes(budget.process()), megabytes(budget.heap() + budget.tensors())));
      }
    }
    crowded(executors.values()).ifPresent(warnings::add);
    String found =
        String.format(
            "per executor: heap %s, tensors %s, overhead %s; a rank needs heap %s, tensors %s",
            megabytes(smallest.heap()),
            megabytes(smallest.tensors()),
            smallest.overhead() == 0 ? "not limited" : megabytes(smallest.overhead()),
            megabytes(need.heap()),
            need.planned() == 0 ? "not known" : megabytes(need.planned()));
    Status status =
        !failures.isEmpty() ? Status.FAILED : warnings.isEmpty() ? Status.OK : Status.WARNING;
    failures.addAll(warnings);
    check(
        "memory",
        status,
        failures.isEmpty() ? found : found + "; " + String.join("; ", failures),
        "set " + smallest.settings(need));
  }

  /** Executors of one machine that together may take more than it has. */
  private Optional<String> crowded(Collection<List<ExecutorProbe>> executors) {
    Map<String, Long> wanted = new TreeMap<>();
    Map<String, Long> machine = new TreeMap<>();
    for (List<ExecutorProbe> slots : executors) {
      ExecutorProbe probe = slots.get(0);
      wanted.merge(
          probe.host(), probe.heap() + probe.tensors() + MemoryBudget.UNCOUNTED, Long::sum);
      machine.put(probe.host(), probe.machine());
    }
    // In containers each executor sees a machine of its own.
    if (contained()) {
      return Optional.empty();
    }
    return wanted.keySet().stream()
        .filter(host -> machine.get(host) > 0 && wanted.get(host) > machine.get(host))
        .map(
            host ->
                String.format(
                    "the executors on %s may take %s of its %s",
                    host, megabytes(wanted.get(host)), megabytes(machine.get(host))))
        .findFirst();
  }

  private boolean contained() {
    String master = spark.getConf().get("spark.master", "");
    return master.startsWith("yarn") || master.startsWith("k8s");
  }

  private MemoryBudget.Need need(
      List<ExecutorProbe> probes, ShardManifest manifest, Network network, long parameters) {
    long batch = 4L * config.batchSize() * network.imageLength();
    long longestBlock =
        manifest.files().stream()
            .flatMap(file -> file.blocks().stream())
            .mapToLong(ShardManifest.Block::length)
            .max()
            .orElse(0);
    // A loader holds its share of two windows, and the block that it reads.
    long windows =
        2 * longestBlock * config.loader().windowBlocks() / probes.size() + 2 * longestBlock;
    int optimizerCopies =
        switch (config.optimizer().name()) {
              case SGD, LARS -> 1;
              case ADAM, ADAMW, LAMB -> 2;
            }
            + (config.optimizer().emaDecay() > 0 ? 1 : 0);
    List<ExecutorProbe.Step> steps =
        probes.stream().filter(Preflight::stepped).map(ExecutorProbe::step).toList();
    return new MemoryBudget.Need(
        Math.max(config.loader().prefetchBytes(), 2 * batch) + windows,
        4 * Math.max(parameters, steps.isEmpty() ? 0 : steps.get(0).averagedSize()),
        optimizerCopies,
        steps.stream().mapToLong(ExecutorProbe.Step::plannedBytes).max().orElse(0));
  }

  /** Only YARN and Kubernetes hold an executor to its overhead. */
  private MemoryBudget budget(ExecutorProbe probe, int ranks) {
    SparkConf conf = spark.getConf();
    long overhead = 0;
    if (contained()) {
      double factor = conf.getDouble("spark.executor.memoryOverheadFactor", 0.1);
      overhead =
          conf.contains("spark.executor.memoryOverhead")
              ? conf.getSizeAsMb("spark.executor.memoryOverhead") << 20
              : Math.max((long) (factor * probe.heap()), 384L << 20);
    }
    return new MemoryBudget(probe.heap(), probe.tensors(), probe.process(), overhead, ranks);
  }

  private static String megabytes(long bytes) {
    return (bytes + (1 << 20) - 1) / (1 << 20) + " MB";
  }

  private void exchange(List<ExecutorProbe> probes) {
    if (!probes.stream().allMatch(Preflight::stepped) || bandwidth(probes) == 0) {
      check("exchange", Status.WARNING, "not estimated", "mend step and network first");
      return;
    }
    int ranks = config.ranks() == 0 ? probes.size() : Math.min(config.ranks(), probes.size());
    double bytes = 4.0 * probes.get(0).step().averagedSize();
    double seconds =
        ExchangeCosts.ofNetwork(bandwidth(probes), roundTrip(probes))
            .seconds(config.exchange(), bytes, ranks);
    double step = stepSeconds(probes) * config.accumulateSteps();
    long every = everyForShare(seconds, step);
    double share = seconds / (seconds + step * config.sync().rule().firstSteps());
    String found =
        String.format(
            Locale.ROOT,
            "%.1f MB a rank, about %.3f s a round by exchange=%s between %d ranks: %.1f %% of the"
                + " time with sync.every=%d",
            bytes / 1e6,
            seconds,
            config.exchange().name().toLowerCase(Locale.ROOT),
            ranks,
            100 * share,
            config.sync().rule().firstSteps());
    check(
        "exchange",
        share <= EXCHANGE_SHARE ? Status.OK : Status.WARNING,
        found,
        String.format("set sync.every=%d to keep it under 5 %%", every));
  }

  /** Steps between two exchanges that leave exchanges 5 % of the time. */
  static long everyForShare(double exchangeSeconds, double stepSeconds) {
    return Math.max(
        1,
        (long)
            Math.ceil(
                exchangeSeconds * (1 - EXCHANGE_SHARE) / (EXCHANGE_SHARE * stepSeconds) - 1e-9));
  }

  private static String joined(Set<?> values) {
    return values.stream().map(String::valueOf).collect(Collectors.joining(" / "));
  }
}
