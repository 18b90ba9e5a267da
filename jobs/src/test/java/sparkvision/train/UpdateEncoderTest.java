package sparkvision.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

class UpdateEncoderTest {

  private static final TrainConfig.Sharing SHARING = new TrainConfig.Sharing(1e-3, 1e-4, 1e-2);

  @Test
  void whatWasSentAndWhatWaitsAreTheSumOfAllUpdates() {
    int size = 20_011;
    UpdateEncoder encoder = new UpdateEncoder(SHARING, size);
    Random random = new Random(1);
    double[] all = new double[size];
    double[] sent = new double[size];
    Set<Integer> kinds = new TreeSet<>();
    int silent = 0;
    long bytes = 0;
    int steps = 80;
    for (int step = 0; step < steps; step++) {
      // Dense and large at first, then smaller, with a pause.
      double scale = step < 10 ? 3e-3 : step < 60 ? 2e-4 : 1e-9;
      float[] update = new float[size];
      for (int i = 0; i < size; i++) {
        update[i] = (float) (random.nextGaussian() * scale);
        all[i] += update[i];
      }
      INDArray message = encoder.encode(update);
      if (message == null) {
        silent++;
        continue;
      }
      bytes += 4 * message.length();
      kinds.add(message.data().getInt(3));
      INDArray target = Nd4j.create(DataType.FLOAT, size);
      UpdateEncoder.decode(message, target);
      float[] read = target.toFloatVector();
      for (int i = 0; i < size; i++) {
        sent[i] += read[i];
      }
    }
    double worst = 0;
    double waiting = 0;
    for (int i = 0; i < size; i++) {
      worst = Math.max(worst, Math.abs(all[i] - sent[i] - encoder.residual()[i]));
      waiting = Math.max(waiting, Math.abs(encoder.residual()[i]));
    }
    assertThat(worst).isLessThan(1e-7);
    assertThat(waiting).as("something waits").isGreaterThan(1e-5);
    assertThat(kinds).as("sparse messages and bitmaps").hasSize(2);
    assertThat(silent + 2).isLessThan(steps);
    assertThat(bytes).isLessThan(4L * size * steps / 8);
  }

  @Test
  void whatWaitsIsDroppedBehindAnAveraging() {
    UpdateEncoder encoder = new UpdateEncoder(SHARING, 100);
    float[] update = new float[100];
    Arrays.fill(update, 1.1e-3f);
    assertThat(encoder.encode(update)).isNotNull();
    for (float rest : encoder.residual()) {
      assertThat(rest).isCloseTo(1e-4f, within(1e-6f));
    }
    encoder.clear();
    Arrays.fill(update, 2e-4f);
    encoder.encode(update);
    assertThat(encoder.residual())
        .as("the second update, and nothing of the first")
        .isEqualTo(update);
  }
}
