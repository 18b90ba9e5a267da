package sparkvision.train;

import java.io.Serializable;
import java.util.List;
import java.util.Map;

/**
 * What one executor slot found out about itself before training. An empty string in a field that
 * names a failure means that there was none.
 *
 * @param slot the rank it would be
 * @param executor Spark's id of it
 * @param javaOptions of its JVM
 * @param vectors whether the vector module is there
 * @param processorFeatures instructions that matter to the kernels
 * @param heap {@code -Xmx}, bytes
 * @param tensors JavaCPP's {@code maxbytes}
 * @param process JavaCPP's {@code maxphysicalbytes}; 0: no limit
 * @param machine memory that the process may have at all: of the machine, or of its control group
 * @param threads that compute
 * @param gpus addresses that Spark gave this slot
 * @param gpuFailure why it cannot use them
 * @param cudaVisibleDevices what native libraries read of this variable; empty: it is not set
 * @param visibleGpus devices that the process sees, whoever they belong to
 * @param natives failure to load the native libraries
 * @param peers by slot: failure to reach it
 * @param bytesPerSecond to the next slot, all sending at once; 0: not measured
 * @param roundTripSeconds of a small message to the next slot
 * @param storage failure to write a file below the output
 * @param shards failure to read the shards
 * @param step the trial step; null: none was made
 */
record ExecutorProbe(
    int slot,
    String executor,
    String host,
    String java,
    List<String> javaOptions,
    boolean vectors,
    List<String> processorFeatures,
    long heap,
    long tensors,
    long process,
    long machine,
    int threads,
    List<String> gpus,
    String gpuFailure,
    String cudaVisibleDevices,
    List<String> visibleGpus,
    String natives,
    Map<Integer, String> peers,
    double bytesPerSecond,
    double roundTripSeconds,
    String storage,
    String shards,
    Step step)
    implements Serializable {

  /**
   * One step of training with real samples.
   *
   * @param failure why there is none
   * @param seconds of the second of two steps; the first prepares kernels
   * @param plannedBytes tensors that the engine laid out; 0: it does not know
   * @param averagedSize numbers that ranks average
   */
  record Step(String failure, double seconds, double loss, long plannedBytes, int averagedSize)
      implements Serializable {}
}
