package sparkvision.train;

import java.util.Locale;

/**
 * The memory of one executor: what it has, what a rank needs, and the settings that fit.
 *
 * <p>A process lives on its Java heap, on tensors outside it (counted by JavaCPP, at most {@code
 * maxbytes}), and on what nobody counts: code, stacks, Netty, tables of native libraries. YARN and
 * Kubernetes kill a container that holds more than {@code spark.executor.memory} and {@code
 * spark.executor.memoryOverhead} together. All sizes are bytes.
 *
 * @param heap {@code -Xmx}
 * @param tensors {@code org.bytedeco.javacpp.maxbytes}
 * @param process {@code org.bytedeco.javacpp.maxphysicalbytes}: JavaCPP refuses memory beyond it;
 *     0: never
 * @param overhead what the container has besides the heap; 0: nobody enforces a limit
 * @param ranks that share the executor
 */
record MemoryBudget(long heap, long tensors, long process, long overhead, int ranks) {

  private static final long MB = 1 << 20;

  /** What neither the heap nor JavaCPP counts. */
  static final long UNCOUNTED = 512 * MB;

  /** Spark's own part of a heap ({@code spark.memory}'s reserve). */
  static final long SPARK_HEAP = 300 * MB;

  /**
   * What one rank needs.
   *
   * @param batches decoded batches and encoded samples of the loader
   * @param weights of a network with its running statistics, once
   * @param optimizerCopies of the weights that the optimizer's state is
   * @param planned tensors that the engine lays out; 0: not known
   */
  record Need(long batches, long weights, int optimizerCopies, long planned) {

    /**
     * Heap: the loader's, and weights as often as they lie there at most: three times in an
     * exchange (own, sent, received), or with the optimizer's state in a checkpoint.
     */
    long heap() {
      return batches + weights * Math.max(3, 1 + optimizerCopies);
    }
  }

  long heapNeed(Need rank) {
    return SPARK_HEAP + ranks * rank.heap();
  }

  boolean heapFits(Need rank) {
    return heap >= heapNeed(rank);
  }

  boolean tensorsFit(Need rank) {
    return tensors >= ranks * rank.planned();
  }

  /** JavaCPP stops the process before its tensors are full. */
  boolean stopsEarly() {
    return process > 0 && process < heap + tensors;
  }

  /** The container is killed before JavaCPP sees a limit. */
  boolean outgrowsContainer() {
    return overhead > 0 && overhead < tensors + UNCOUNTED;
  }

  /** Settings for executors like this one, in the words of spark-submit. */
  String settings(Need rank) {
    long heapMb = roundUp(Math.max(heapNeed(rank) / MB * 5 / 4, 512));
    long tensorsMb =
        roundUp(rank.planned() == 0 ? tensors / MB : ranks * rank.planned() / MB * 5 / 4 + 128);
    long uncountedMb = UNCOUNTED / MB;
    return String.format(
        Locale.ROOT,
        "spark.executor.memory=%dm spark.executor.memoryOverhead=%dm, in"
            + " spark.executor.extraJavaOptions -Dorg.bytedeco.javacpp.maxbytes=%dm"
            + " -Dorg.bytedeco.javacpp.maxphysicalbytes=%dm",
        heapMb,
        tensorsMb + uncountedMb,
        tensorsMb,
        heapMb + tensorsMb + uncountedMb);
  }

  private static long roundUp(long megabytes) {
    return (megabytes + 255) / 256 * 256;
  }
}
