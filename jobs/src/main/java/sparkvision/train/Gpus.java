package sparkvision.train;

import com.sun.jna.Library;
import com.sun.jna.Native;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import org.apache.spark.TaskContext;
import org.apache.spark.resource.ResourceInformation;

/**
 * GPUs that Spark assigns to tasks ({@code spark.task.resource.gpu.amount}): a rank has one, and
 * its process sees no other.
 *
 * <p>CUDA reads {@code CUDA_VISIBLE_DEVICES} once, when a process first uses it. Java cannot change
 * its environment, but the C library can, and that is where CUDA looks. So the address is set there
 * before the engine loads anything. What is set holds for the whole process: an executor is one
 * rank with one GPU.
 *
 * @see <a href="https://docs.nvidia.com/cuda/cuda-c-programming-guide/#env-vars">CUDA C++
 *     Programming Guide, environment variables</a>
 */
final class Gpus {

  private static final String VISIBLE = "CUDA_VISIBLE_DEVICES";
  private static final Path DEVICES = Path.of("/dev");

  private static String claimed; // guarded by the class

  /** The environment as native code sees it. */
  private interface CLibrary extends Library {
    CLibrary C = Native.load("c", CLibrary.class);

    int setenv(String name, String value, int overwrite);

    String getenv(String name);
  }

  private Gpus() {}

  /** The addresses that belong to a task, as the discovery script called them. */
  static List<String> addresses(TaskContext task) {
    ResourceInformation gpus = task.resourcesJMap().get("gpu");
    return gpus == null ? List.of() : List.copyOf(Arrays.asList(gpus.addresses()));
  }

  /**
   * Makes the task's GPU the only one that CUDA finds in this process; does nothing for a task
   * without GPUs.
   *
   * @throws IllegalArgumentException if the task has several, or the process another one already
   */
  static void claim(TaskContext task) {
    List<String> addresses = addresses(task);
    if (!addresses.isEmpty()) {
      claim(addresses);
    }
  }

  static synchronized void claim(List<String> addresses) {
    String address = addresses.get(0);
    if (addresses.size() > 1) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot use GPUs %s in one rank: a rank computes on one (set"
                  + " spark.task.resource.gpu.amount=1)",
              addresses));
    }
    if (claimed != null && !claimed.equals(address)) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot use GPU %s: the executor's process has GPU %s for another rank (set"
                  + " spark.executor.resource.gpu.amount=1: one executor per GPU)",
              address, claimed));
    }
    // nvidia-smi counts in the order of the bus, CUDA by default the fastest first.
    CLibrary.C.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID", 1);
    CLibrary.C.setenv(VISIBLE, address, 1);
    claimed = address;
  }

  /** {@code CUDA_VISIBLE_DEVICES} as native code reads it; empty if it is not set. */
  static String cudaVisibleDevices() {
    String value = CLibrary.C.getenv(VISIBLE);
    return value == null ? "" : value;
  }

  /** NVIDIA's devices that this process could open. */
  static List<String> visible() {
    List<String> found = new ArrayList<>();
    if (Files.isDirectory(DEVICES)) {
      try (DirectoryStream<Path> devices = Files.newDirectoryStream(DEVICES, "nvidia[0-9]*")) {
        devices.forEach(device -> found.add(device.toString()));
      } catch (IOException e) {
        return List.of(); // nothing may be listed, so nothing opened
      }
    }
    Collections.sort(found);
    return found;
  }
}
