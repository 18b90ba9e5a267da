package sparkvision.data;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import sparkvision.data.transform.Mixing;

/**
 * The batches of one rank in order, decoded and augmented in background threads while the network
 * trains. What it yields depends on order, seed and slice only, not on threads or timing.
 *
 * <p>One thread reads the blocks of a window, each once, and keeps this rank's samples of it; it
 * runs at most one window ahead of the batch that {@link #next} will return. The other threads
 * share the pictures of each batch. Batches that are ready or in the making hold at most so many
 * bytes of numbers, though there is always one; the encoded pictures of the windows come on top.
 *
 * <p>How pictures of a batch are mixed is a pure function of (seed, epoch, step, rank).
 */
public final class BatchLoader implements AutoCloseable {

  /**
   * Which batches: {@code accumulate} of them are a step of {@code course}, in each of which the
   * ranks take turns.
   *
   * @param batchSize samples of one rank in one batch
   * @param firstStep number of the first batch: {@code accumulate} times its step, and which of it
   * @param endStep number of the batch after the last
   */
  public record Slice(
      int batchSize,
      int rank,
      int ranks,
      long firstStep,
      long endStep,
      int accumulate,
      Course course) {

    public Slice {
      if (batchSize < 1
          || rank < 0
          || rank >= ranks
          || firstStep < course.step() * accumulate
          || course.samplesPerStep() != (long) accumulate * ranks * batchSize) {
        throw new IllegalArgumentException(
            String.format(
                "Invalid slice: rank %d of %d, batch-size %d, from batch %d, %s",
                rank, ranks, batchSize, firstStep, course));
      }
    }

    /** Every batch a step, {@code stepsPerEpoch} of them in an epoch. */
    public Slice(
        int batchSize, int rank, int ranks, long firstStep, long endStep, int stepsPerEpoch) {
      this(
          batchSize,
          rank,
          ranks,
          firstStep,
          endStep,
          1,
          Course.of(stepsPerEpoch * ranks * batchSize, ranks * batchSize));
    }

    int epoch(long batch) {
      return course.epoch(batch / accumulate);
    }

    /** Where sample {@code i} of this rank's batch stands in the epoch's order. */
    public int position(long batch, int i) {
      long turn = batch % accumulate * ranks + rank;
      return Math.toIntExact(course.sample(batch / accumulate) + turn * batchSize + i);
    }
  }

  private static final long CLOSE_MILLIS = 30_000;

  /** Batches: more of them never help. */
  private static final long MOST_AHEAD = 1024;

  private final ShardSet shards;
  private final SampleOrder order;
  private final SampleTransform transform;
  private final Mixing mixing;
  private final long seed;
  private final Slice slice;
  private final int parts; // of a batch
  private final int imageLength;
  private final int labelLength;
  private final int ahead;
  private final ExecutorService workers;
  private final List<Thread> threads = Collections.synchronizedList(new ArrayList<>());

  // Used by the thread that calls next() alone.
  private final ArrayDeque<Making> started = new ArrayDeque<>();
  private long startedUpTo;

  // Guarded by this. A window's ordinal is epoch * windows an epoch + its number in the epoch.
  private final TreeMap<Long, Map<Integer, Sample>> windows = new TreeMap<>();
  private final LinkedHashMap<Integer, SampleOrder.Plan> plans = new LinkedHashMap<>();
  private long nextStep;
  private RuntimeException failure;
  private boolean closed;
  private int blocksRead;

  /** Without mixing. */
  public BatchLoader(
      ShardSet shards,
      SampleOrder order,
      SampleTransform transform,
      long seed,
      Slice slice,
      int threads,
      long prefetchBytes) {
    this(shards, order, transform, Mixing.NONE, seed, slice, threads, prefetchBytes);
  }

  /**
   * Starts reading at once.
   *
   * @param threads that decode, at least 1
   * @param prefetchBytes of batches to keep ready, at least 1
   */
  public BatchLoader(
      ShardSet shards,
      SampleOrder order,
      SampleTransform transform,
      Mixing mixing,
      long seed,
      Slice slice,
      int threads,
      long prefetchBytes) {
    if (threads < 1 || prefetchBytes < 1) {
      throw new IllegalArgumentException(
          String.format(
              "Invalid loader: threads %d, prefetch-bytes %d (both must be >= 1)",
              threads, prefetchBytes));
    }
    Course course = slice.course();
    int used = course.stepsPerEpoch() * course.samplesPerStep();
    if (used > order.samples()) {
      throw new IllegalArgumentException(
          String.format(
              "Invalid slice: %d steps of %d samples need %d, the set has %d",
              course.stepsPerEpoch(), course.samplesPerStep(), used, order.samples()));
    }
    if (mixing.mixes() && transform.labelShape().length > 0) {
      throw new IllegalArgumentException("Invalid mixing: label maps cannot be mixed");
    }
    this.shards = shards;
    this.order = order;
    this.transform = transform;
    this.seed = seed;
    this.slice = slice;
    this.mixing = mixing;
    this.parts = Math.min(threads, slice.batchSize());
    this.imageLength = SampleTransform.length(transform.imageShape());
    this.labelLength = SampleTransform.length(transform.labelShape());
    long sampleBytes = 4L * imageLength + 8L * labelLength;
    this.ahead =
        (int) Math.max(1, Math.min(MOST_AHEAD, prefetchBytes / (slice.batchSize() * sampleBytes)));
    this.startedUpTo = slice.firstStep();
    this.nextStep = slice.firstStep();
    this.workers = Executors.newFixedThreadPool(threads, task -> thread(task, "decode"));
    thread(this::readWindows, "read").start();
    startMore();
  }

  private Thread thread(Runnable task, String what) {
    Thread thread = new Thread(task, "batch-loader-" + slice.rank() + "-" + what);
    thread.setDaemon(true);
    threads.add(thread);
    return thread;
  }

  /**
   * The batch of the next step; waits for it.
   *
   * @throws IllegalStateException past the end, or after {@link #close}
   * @throws DataException if a shard or a picture of it is bad; every later call throws it again
   */
  public Batch next() {
    synchronized (this) {
      if (closed) {
        throw new IllegalStateException("Cannot load a batch: the loader is closed");
      }
      if (failure != null) {
        throw failure;
      }
      if (nextStep >= slice.endStep()) {
        throw new IllegalStateException("Cannot load step " + nextStep + ": it is past the end");
      }
    }
    Batch batch;
    try {
      batch = started.remove().await();
    } catch (ExecutionException e) {
      RuntimeException cause =
          e.getCause() instanceof RuntimeException known
              ? known
              : new IllegalStateException("Cannot load a batch: " + e.getCause(), e.getCause());
      synchronized (this) {
        if (closed) {
          throw new IllegalStateException("Cannot load a batch: the loader is closed", e);
        }
        failure = cause;
        notifyAll();
      }
      throw cause;
    } catch (CancellationException e) {
      throw new IllegalStateException("Cannot load a batch: the loader is closed", e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException("Cannot load a batch: interrupted", e);
    }
    synchronized (this) {
      nextStep++;
      if (nextStep < slice.endStep()) {
        windows.headMap(window(nextStep, 0)).clear();
        plans.keySet().removeIf(epoch -> epoch < epoch(nextStep));
      }
      notifyAll();
    }
    startMore();
    return batch;
  }

  /** Stops the threads and waits for them. */
  @Override
  public void close() {
    synchronized (this) {
      closed = true;
      notifyAll();
    }
    for (Runnable neverRun : workers.shutdownNow()) {
      ((Future<?>) neverRun).cancel(false); // next() may wait for it in another thread
    }
    threads.forEach(Thread::interrupt);
    try {
      for (Thread thread : threads) {
        thread.join(CLOSE_MILLIS);
        if (thread.isAlive()) {
          throw new IllegalStateException(
              "Cannot close the loader: " + thread.getName() + " does not stop");
        }
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  synchronized int blocksRead() {
    return blocksRead;
  }

  /** Batches that are made and wait to be taken. */
  long ready() {
    return started.stream().filter(Making::isDone).count();
  }

  private synchronized void startMore() {
    while (!closed && started.size() < ahead && startedUpTo < slice.endStep()) {
      long step = startedUpTo++;
      started.add(new Making(step));
    }
  }

  // Decoding

  /** A batch in the making: each part of it by a thread, and who comes last mixes it. */
  private final class Making {
    private final Batch batch;
    private final List<Future<?>> futures = new ArrayList<>();
    private final AtomicInteger left = new AtomicInteger(parts);

    Making(long step) {
      int size = slice.batchSize();
      int classes = shards.manifest().classes().size();
      this.batch =
          new Batch(
              step,
              Arrays.asList(new String[size]),
              new float[Math.multiplyExact(size, imageLength)],
              new long[Math.multiplyExact(size, labelLength)],
              new float[mixing.mixes() ? Math.multiplyExact(size, classes) : 0]);
      for (int part = 0; part < parts; part++) {
        int from = (int) ((long) part * size / parts);
        int to = (int) ((part + 1L) * size / parts);
        futures.add(
            workers.submit(
                () -> {
                  decode(from, to);
                  return null;
                }));
      }
    }

    private void decode(int from, int to) throws InterruptedException {
      int epoch = epoch(batch.step());
      SampleOrder.Plan plan = plan(epoch);
      for (int i = from; i < to; i++) {
        int position = slice.position(batch.step(), i);
        Sample sample = sample(window(batch.step(), i), plan.order()[position]);
        batch.ids().set(i, sample.id());
        transform.train(
            sample,
            seed,
            epoch,
            order.repeat(position),
            batch.images(),
            i * imageLength,
            batch.labels(),
            i * labelLength);
      }
      if (left.decrementAndGet() == 0 && mixing.mixes()) {
        SplitMix random = new SplitMix(seed, epoch, batch.step(), slice.rank());
        int size = Math.toIntExact(transform.imageShape()[2]);
        mixing.apply(batch.images(), size, batch.labels(), batch.targets(), random);
      }
    }

    Batch await() throws ExecutionException, InterruptedException {
      for (Future<?> future : futures) {
        future.get();
      }
      return batch;
    }

    boolean isDone() {
      return futures.stream().allMatch(Future::isDone);
    }
  }

  private synchronized Sample sample(long window, int index) throws InterruptedException {
    while (!windows.containsKey(window)) {
      if (failure != null) {
        throw failure;
      }
      if (closed) {
        throw new IllegalStateException("Cannot load a batch: the loader is closed");
      }
      wait();
    }
    return windows.get(window).get(index);
  }

  private int epoch(long step) {
    return slice.epoch(step);
  }

  private long window(long step, int i) {
    int epoch = epoch(step);
    return (long) epoch * order.windows() + plan(epoch).windowOf(slice.position(step, i));
  }

  private synchronized SampleOrder.Plan plan(int epoch) {
    return plans.computeIfAbsent(epoch, order::plan);
  }

  // Reading

  private void readWindows() {
    try {
      long step = slice.firstStep();
      while (step < slice.endStep()) {
        // All of an epoch's samples that this rank will need, by window.
        int epoch = epoch(step);
        SampleOrder.Plan plan = plan(epoch);
        Map<Long, List<Integer>> needed = new TreeMap<>();
        for (; step < slice.endStep() && epoch(step) == epoch; step++) {
          for (int i = 0; i < slice.batchSize(); i++) {
            needed
                .computeIfAbsent(window(step, i), window -> new ArrayList<>())
                .add(plan.order()[slice.position(step, i)]);
          }
        }
        for (Map.Entry<Long, List<Integer>> window : needed.entrySet()) {
          awaitTurn();
          Map<Integer, Sample> samples = read(window.getValue());
          synchronized (this) {
            windows.put(window.getKey(), samples);
            notifyAll();
          }
        }
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt(); // closed
    } catch (RuntimeException | Error e) {
      synchronized (this) {
        failure =
            e instanceof RuntimeException known
                ? known
                : new IllegalStateException("Cannot read shards: " + e, e);
        notifyAll();
      }
    }
  }

  /** Waits until nothing is in memory beyond what the next batch needs. */
  private synchronized void awaitTurn() throws InterruptedException {
    while (!windows.tailMap(window(nextStep, slice.batchSize() - 1), false).isEmpty()) {
      wait();
    }
  }

  private Map<Integer, Sample> read(List<Integer> indices) throws InterruptedException {
    Map<Integer, List<Integer>> byBlock = new TreeMap<>();
    for (int index : indices) {
      byBlock.computeIfAbsent(order.blockOf(index), block -> new ArrayList<>()).add(index);
    }
    Map<Integer, Sample> samples = new HashMap<>();
    for (Map.Entry<Integer, List<Integer>> block : byBlock.entrySet()) {
      if (Thread.interrupted()) {
        throw new InterruptedException();
      }
      List<Sample> rows = shards.read(block.getKey());
      synchronized (this) {
        blocksRead++;
      }
      for (int index : block.getValue()) {
        samples.put(index, rows.get(index - order.start(block.getKey())));
      }
    }
    return samples;
  }
}
