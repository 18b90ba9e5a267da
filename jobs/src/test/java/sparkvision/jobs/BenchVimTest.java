package sparkvision.jobs;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import sparkvision.graph.Graph;

class BenchVimTest {

  @TempDir private Path folder;

  private Ended bench(String... more) {
    List<String> arguments =
        new ArrayList<>(
            List.of(
                "bench", "vim", "images=[16, 32]", "steps=1", "output=" + folder.resolve("out")));
    arguments.addAll(List.of(more));
    return Ended.run(arguments.toArray(String[]::new));
  }

  @Test
  void tellsTimeAndMemoryOfEveryNetworkAndSizeAndDrawsThem() throws Exception {
    Ended ended = bench();
    assertThat(ended.code()).as(ended.error()).isZero();
    assertThat(ended.out()).hasSize(1 + 3 * 2 + 2);
    assertThat(ended.out().get(1)).matches("vim-tiny +16 +\\d+\\.\\d{4} +\\d+\\.\\d");
    assertThat(ended.out().get(8))
        .startsWith("At 32 pixels vim-tiny takes ")
        .contains("of deit-tiny-kept's time");
    assertThat(Files.readAllLines(folder.resolve("out/vim.csv"))).hasSize(1 + 3 * 2);
    assertThat(folder.resolve("out/vim.png")).isNotEmptyFile();
  }

  @Test
  void theNetworkWithMapsIsDeit() {
    Graph g = new Graph(Graph.Mode.INFERENCE, 1);
    BenchVim.withKeptMaps(g, g.input("image", 1, 3, 224, 224));
    // All of DeiT-Ti's but the class token.
    assertThat(g.parameterCount()).isEqualTo(5_717_416 - 192);
  }

  @Test
  void aPeerIsAskedLikeAHarnessAsks() throws Exception {
    Path peer = folder.resolve("peer");
    Files.writeString(
        peer,
        "echo ready\nread word\necho '{\"step_seconds_median\":2.5,\"peak_resident_bytes\":1048576}'\n");
    Ended ended = bench("images=[16]", "peer=sh " + peer);
    assertThat(ended.code()).as(ended.error()).isZero();
    assertThat(ended.out()).anyMatch(line -> line.matches("pytorch +16 +2.5000 +1.0"));
    Files.writeString(peer, "echo no\n");
    Ended mute = bench("images=[16]", "peer=sh " + peer);
    assertThat(mute.code()).isEqualTo(3);
    assertThat(mute.error()).contains("did not say ready");
  }

  @Test
  void sizesThatAreNoPatchesAreRefused() {
    Ended ended = bench("images=[20]");
    assertThat(ended.code()).isEqualTo(2);
    assertThat(ended.error())
        .startsWith("Invalid images: [20] (must be ascending multiples of 16)");
  }
}
