package sparkvision.train;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class LostExecutorsTest {

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "Command exited with code 137 | if so raise spark.executor.memoryOverhead",
        "Container from a bad node: container_1 on host: h. Exit status: 143. Exit code: 143"
            + " | if that, raise spark.executor.memoryOverhead",
        "Container killed by YARN for exceeding physical memory limits. 5.5 GB of 5.5 GB used."
            + " Consider boosting spark.executor.memoryOverhead."
            + " | its process outgrew its container: raise spark.executor.memoryOverhead",
        "The executor with id 3 exited with exit code 137(SIGKILL, possible container OOM)."
            + " | raise spark.executor.memoryOverhead",
        "The executor with id 3 was OOMKilled | outgrew its container",
        "Command exited with code 52 | raise spark.executor.memory where the Java heap is full",
      })
  void aLossForMemorySaysWhatToChange(String reason, String advice) {
    assertThat(LostExecutors.explained(reason)).startsWith(reason).contains(advice);
  }

  @ParameterizedTest
  @CsvSource({"worker lost", "Command exited with code 1", "Executor heartbeat timed out"})
  void otherLossesAreSaidAsTheyAre(String reason) {
    assertThat(LostExecutors.explained(reason + "\nat a.b.C")).isEqualTo(reason);
  }
}
