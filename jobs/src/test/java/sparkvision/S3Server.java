package sparkvision;

import com.amazonaws.auth.AWSStaticCredentialsProvider;
import com.amazonaws.auth.BasicAWSCredentials;
import com.amazonaws.client.builder.AwsClientBuilder.EndpointConfiguration;
import com.amazonaws.services.s3.AmazonS3;
import com.amazonaws.services.s3.AmazonS3ClientBuilder;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * A server of S3's protocol, S3Proxy, as a process on a free port. It keeps its objects in memory,
 * checks signatures, and has one bucket.
 */
public final class S3Server implements AutoCloseable {

  /** The bucket that there is. */
  public static final String BUCKET = "data";

  private static final String JAR = "target/s3proxy.jar"; // the build puts it there
  private static final String IDENTITY = "identity";
  private static final String SECRET = "secret";
  private static final long DEADLINE_NANOS = TimeUnit.SECONDS.toNanos(60);
  private static final Pattern STARTED =
      Pattern.compile("Started ServerConnector.*\\{127\\.0\\.0\\.1:(\\d+)}");

  private final Process process;
  private final String endpoint;
  private final AmazonS3 client;

  /**
   * @param directory for its settings and its log
   */
  public S3Server(Path directory) throws IOException, InterruptedException {
    Path settings = directory.resolve("s3proxy.properties");
    Files.writeString(
        settings,
        String.join(
            "\n",
            "s3proxy.endpoint=http://127.0.0.1:0",
            "s3proxy.authorization=aws-v2-or-v4",
            "s3proxy.identity=" + IDENTITY,
            "s3proxy.credential=" + SECRET,
            "jclouds.provider=transient",
            "jclouds.identity=none",
            "jclouds.credential=none"));
    Path log = directory.resolve("s3proxy.log");
    String java = ProcessHandle.current().info().command().orElseThrow();
    process =
        new ProcessBuilder(java, "-Xmx256m", "-jar", JAR, "--properties", settings.toString())
            .redirectErrorStream(true)
            .redirectOutput(log.toFile())
            .start();
    endpoint = "http://127.0.0.1:" + port(log);
    client =
        AmazonS3ClientBuilder.standard()
            .withEndpointConfiguration(new EndpointConfiguration(endpoint, "us-east-1"))
            .withCredentials(
                new AWSStaticCredentialsProvider(new BasicAWSCredentials(IDENTITY, SECRET)))
            .withPathStyleAccessEnabled(true)
            .build();
    client.createBucket(BUCKET);
  }

  private String port(Path log) throws IOException, InterruptedException {
    long start = System.nanoTime();
    while (System.nanoTime() - start < DEADLINE_NANOS && process.isAlive()) {
      Matcher started = STARTED.matcher(Files.readString(log));
      if (started.find()) {
        return started.group(1);
      }
      TimeUnit.MILLISECONDS.sleep(20);
    }
    process.destroyForcibly();
    throw new IOException("Cannot start " + JAR + ": " + Files.readString(log));
  }

  /** What Hadoop's client has to know, as a file {@code core-site.xml} has it too. */
  public Map<String, String> settings() {
    return Map.of(
        "fs.s3a.endpoint", endpoint,
        "fs.s3a.path.style.access", "true",
        "fs.s3a.access.key", IDENTITY,
        "fs.s3a.secret.key", SECRET);
  }

  /** A directory for {@code HADOOP_CONF_DIR}. */
  public Path writeConf(Path directory) throws IOException {
    String properties =
        settings().entrySet().stream()
            .map(
                setting ->
                    String.format(
                        "<property><name>%s</name><value>%s</value></property>%n",
                        setting.getKey(), setting.getValue()))
            .collect(Collectors.joining());
    Files.createDirectories(directory);
    Files.writeString(
        directory.resolve("core-site.xml"), "<configuration>\n" + properties + "</configuration>");
    return directory;
  }

  /** Puts the files of a local directory below {@code key}, as any tool would. */
  public void upload(Path directory, String key) throws IOException {
    try (var paths = Files.walk(directory)) {
      paths
          .filter(Files::isRegularFile)
          .forEach(
              file ->
                  client.putObject(BUCKET, key + "/" + directory.relativize(file), file.toFile()));
    } catch (UncheckedIOException e) {
      throw e.getCause();
    }
  }

  /** Every key of the bucket that begins so, with the bytes behind it. */
  public Map<String, byte[]> objects(String prefix) throws IOException {
    Map<String, byte[]> found = new TreeMap<>();
    for (var summary : client.listObjectsV2(BUCKET, prefix).getObjectSummaries()) {
      try (var content = client.getObject(BUCKET, summary.getKey()).getObjectContent()) {
        found.put(summary.getKey().substring(prefix.length()), content.readAllBytes());
      }
    }
    return found;
  }

  public boolean exists(String key) {
    return client.doesObjectExist(BUCKET, key);
  }

  @Override
  public void close() {
    client.shutdown();
    process.destroyForcibly();
  }
}
