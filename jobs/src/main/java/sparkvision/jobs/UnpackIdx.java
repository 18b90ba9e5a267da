package sparkvision.jobs;

import org.apache.hadoop.conf.Configuration;
import picocli.CommandLine.Command;
import sparkvision.data.IdxImages;

/** IDX files of the MNIST family -> an image folder. */
@Command(
    name = "unpack-idx",
    mixinStandardHelpOptions = true,
    description = "Lays IDX files (the MNIST family) out as an image folder.")
final class UnpackIdx extends ConfJob<UnpackIdx.Settings> {

  /** {@code conf/unpack-idx.conf}. */
  record Settings(String input, String output) {}

  @Override
  String name() {
    return "unpack-idx";
  }

  @Override
  Class<Settings> schema() {
    return Settings.class;
  }

  @Override
  void run(Settings settings) {
    try (ShardProgress progress = new ShardProgress()) {
      IdxImages.unpack(new Configuration(), settings.input(), settings.output(), progress);
    }
    System.out.println("Image folder: " + settings.output());
  }
}
