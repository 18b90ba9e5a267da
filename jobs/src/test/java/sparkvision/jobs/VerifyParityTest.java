package sparkvision.jobs;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class VerifyParityTest {

  @TempDir private Path directory;

  @Test
  void filesBesideFixturesArePassedOver() throws Exception {
    Path file = Files.writeString(directory.resolve("README.md"), "what these are");
    Path folder = Files.createDirectory(directory.resolve("none"));

    Ended alone = Ended.run("verify-parity", file.toString());
    assertThat(alone.code()).isEqualTo(2);
    assertThat(alone.error()).contains("Cannot verify " + file);

    Ended beside = Ended.run("verify-parity", file.toString(), folder.toString());
    assertThat(beside.code()).isEqualTo(2);
    assertThat(beside.error()).contains("Cannot verify " + folder);
  }
}
