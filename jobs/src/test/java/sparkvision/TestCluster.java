package sparkvision;

import java.awt.image.BufferedImage;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.zip.GZIPInputStream;
import javax.imageio.ImageIO;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.hdfs.MiniDFSCluster;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.extension.BeforeAllCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

/**
 * What the tests of this module run on: Spark with two executor processes of one core, a real HDFS,
 * and pictures of Fashion-MNIST. Made once a test JVM.
 */
public final class TestCluster
    implements BeforeAllCallback, ExtensionContext.Store.CloseableResource {

  /** Classes of the small data set, of Fashion-MNIST's ten. */
  public static final List<String> CLASSES = List.of("ankle-boot", "bag", "t-shirt", "trouser");

  private static final int[] LABELS = {9, 8, 0, 1};
  private static final Path DIRECTORY = Path.of("target", "test-cluster").toAbsolutePath();

  /** What the next process that passes at some place does; see {@code FaultPoint}. */
  public static final Path FAULT = DIRECTORY.resolve("fault");

  private static TestCluster shared;

  private final MiniDFSCluster hdfs;
  private final SparkSession spark;

  private TestCluster() throws IOException {
    Configuration conf = new Configuration();
    conf.set(MiniDFSCluster.HDFS_MINIDFS_BASEDIR, DIRECTORY.resolve("hdfs").toString());
    hdfs = new MiniDFSCluster.Builder(conf).numDataNodes(1).build();
    SparkSession.Builder builder =
        SparkSession.builder()
            .appName("tests")
            .master("local-cluster[2,1,1024]")
            // As some clusters force it; the default runs where a test starts a driver of its own.
            .config("spark.serializer", "org.apache.spark.serializer.KryoSerializer");
    sparkSettings().forEach(setting -> builder.config(setting[0], setting[1]));
    spark = builder.getOrCreate();
    for (String split : List.of("train", "val")) {
      pictures(split, split.equals("train") ? 64 : 16);
    }
  }

  public static synchronized TestCluster shared() {
    if (shared == null) {
      try {
        shared = new TestCluster();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
    return shared;
  }

  /** Settings of an application whose executors run on this JVM's class path. */
  public static List<String[]> sparkSettings() {
    return List.of(
        new String[] {"spark.executor.extraClassPath", classPath()},
        new String[] {"spark.executor.memory", "1g"},
        new String[] {"spark.executorEnv.OMP_NUM_THREADS", "1"},
        // A client that closes a file before the NameNode knows its block asks again after 400 ms.
        new String[] {
          "spark.hadoop.dfs.client.block.write.locateFollowingBlock.initial.delay.ms", "20"
        },
        // Both do nothing until a test of faults writes the file.
        new String[] {"spark.sparkvision.test.fault", FAULT.toString()},
        new String[] {"spark.hadoop.fs.hdfs.impl", "sparkvision.train.FaultyFileSystem"},
        new String[] {"spark.hadoop.dfs.client.retry.window.base", "100"},
        new String[] {"spark.sparkvision.parameter-server.port", freePort()},
        new String[] {"spark.ui.enabled", "false"},
        new String[] {"spark.driver.host", "127.0.0.1"},
        new String[] {"spark.driver.bindAddress", "127.0.0.1"});
  }

  /** A UDP port; those above it are most likely free as well. */
  private static String freePort() {
    try (DatagramSocket socket = new DatagramSocket(0, InetAddress.getLoopbackAddress())) {
      return String.valueOf(Math.min(socket.getLocalPort(), 64_000));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  public static String classPath() {
    return System.getProperty("surefire.test.class.path", System.getProperty("java.class.path"));
  }

  /** Stops the cluster after the last test of this JVM. */
  @Override
  public void beforeAll(ExtensionContext context) {
    context.getRoot().getStore(ExtensionContext.Namespace.GLOBAL).put(TestCluster.class, this);
  }

  @Override
  public void close() {
    spark.stop();
    hdfs.shutdown();
  }

  public SparkSession spark() {
    return spark;
  }

  public FileSystem files() {
    try {
      return hdfs.getFileSystem();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Ends the only DataNode; what it holds is there again when it is started. */
  public MiniDFSCluster.DataNodeProperties stopDataNode() {
    return hdfs.stopDataNode(0);
  }

  public void startDataNode(MiniDFSCluster.DataNodeProperties node) throws IOException {
    hdfs.restartDataNode(node, true);
    hdfs.waitActive();
  }

  /** The executor processes of this JVM's Spark. */
  public List<ProcessHandle> executors() {
    return ProcessHandle.current()
        .children()
        .filter(child -> child.info().command().filter(c -> c.endsWith("java")).isPresent())
        .toList();
  }

  /** {@code path} on HDFS. */
  public String hdfs(String path) {
    return hdfs.getURI() + path;
  }

  /** An image folder on the local disk, {@code train} or {@code val}. */
  public Path images(String split) {
    return DIRECTORY.resolve("images").resolve(split);
  }

  private void pictures(String split, int perClass) throws IOException {
    String prefix = split.equals("train") ? "train" : "t10k";
    byte[] images = idx(prefix + "-images-idx3-ubyte.gz");
    byte[] labels = idx(prefix + "-labels-idx1-ubyte.gz");
    for (int c = 0; c < LABELS.length; c++) {
      Path folder = Files.createDirectories(images(split).resolve(CLASSES.get(c)));
      int kept = 0;
      for (int i = 0; kept < perClass; i++) {
        if (labels[8 + i] != LABELS[c]) {
          continue;
        }
        var picture = new BufferedImage(28, 28, BufferedImage.TYPE_BYTE_GRAY);
        byte[] pixels = Arrays.copyOfRange(images, 16 + 784 * i, 16 + 784 * (i + 1));
        picture.getRaster().setDataElements(0, 0, 28, 28, pixels);
        ImageIO.write(picture, "png", folder.resolve(String.format("%03d.png", kept++)).toFile());
      }
    }
  }

  private static byte[] idx(String suffix) throws IOException {
    File[] found =
        new File("../data-prep/samples/fashion-mnist")
            .listFiles((d, name) -> name.endsWith(suffix));
    if (found == null || found.length != 1) {
      throw new IOException("Cannot find the sample *" + suffix);
    }
    try (InputStream in = new GZIPInputStream(Files.newInputStream(found[0].toPath()))) {
      return in.readAllBytes();
    }
  }
}
