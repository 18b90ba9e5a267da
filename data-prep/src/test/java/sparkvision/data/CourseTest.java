package sparkvision.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;

class CourseTest {

  private static final int SAMPLES = 1003;
  private static final int BATCH = 3;
  private static final int ACCUMULATE = 2;

  @Test
  void noSampleIsSkippedOrTakenTwiceWhereTheNumberOfRanksChanges() {
    Random random = new Random(5);
    for (int trial = 0; trial < 200; trial++) {
      Course course = Course.of(SAMPLES, perStep(1 + random.nextInt(8)));
      long change = random.nextInt(2 * course.stepsPerEpoch());
      List<Integer> taken = new ArrayList<>();
      for (long step = 0; course.epoch(step) < 5; step++) {
        if (step == change) {
          course = course.recut(step, perStep(1 + random.nextInt(8)));
          change += random.nextInt(course.stepsPerEpoch());
        }
        int epoch = course.epoch(step);
        if (epoch < 5) {
          take(course, step, epoch, taken);
        }
      }
      checkEpochs(taken);
    }
  }

  private static int perStep(int ranks) {
    return ranks * BATCH * ACCUMULATE;
  }

  /** What all ranks take in a step, as epoch x SAMPLES + position. */
  private static void take(Course course, long step, int epoch, List<Integer> taken) {
    int ranks = course.samplesPerStep() / perStep(1);
    for (int micro = 0; micro < ACCUMULATE; micro++) {
      long batch = step * ACCUMULATE + micro;
      for (int rank = 0; rank < ranks; rank++) {
        var slice = new BatchLoader.Slice(BATCH, rank, ranks, batch, batch + 1, ACCUMULATE, course);
        assertThat(slice.epoch(batch)).isEqualTo(epoch);
        for (int i = 0; i < BATCH; i++) {
          taken.add(epoch * SAMPLES + slice.position(batch, i));
        }
      }
    }
  }

  /** Each epoch from its first sample on without a gap, up to less than a step of its end. */
  private static void checkEpochs(List<Integer> taken) {
    Set<Integer> all = new HashSet<>(taken);
    assertThat(all).hasSameSizeAs(taken);
    for (int epoch = 0; epoch < 5; epoch++) {
      int length = 0;
      while (all.contains(epoch * SAMPLES + length)) {
        length++;
      }
      assertThat(length).isBetween(SAMPLES - perStep(8) + 1, SAMPLES);
      all.removeAll(range(epoch * SAMPLES, length));
    }
    assertThat(all).isEmpty();
  }

  private static Set<Integer> range(int from, int count) {
    Set<Integer> numbers = new HashSet<>();
    for (int i = 0; i < count; i++) {
      numbers.add(from + i);
    }
    return numbers;
  }

  @Test
  void stepsAreCountedOnAndSchedulesKeepTheirPlace() {
    Course four = Course.of(1000, 40);
    assertThat(four.stepsPerEpoch()).isEqualTo(25);
    assertThat(four.endOf(2)).isEqualTo(75);
    assertThat(four.epochs(75)).isEqualTo(3);
    assertThat(four.equivalentStep(60)).isEqualTo(60);

    Course three = four.recut(60, 30); // at 40 % of the third epoch
    assertThat(three.epochs(60)).isCloseTo(2.4, within(0.01));
    assertThat(three.sample(60)).isEqualTo(400);
    assertThat(three.endOf(2)).isEqualTo(60 + 20);
    assertThat(three.epochs(80)).isEqualTo(3);
    assertThat(three.endOf(3)).isEqualTo(80 + 33);
    assertThat(three.equivalentStep(60)).isEqualTo(2 * 33 + 13);
    assertThat(four.recut(60, 40)).isSameAs(four);
  }
}
