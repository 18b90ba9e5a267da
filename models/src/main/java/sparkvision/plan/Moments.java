package sparkvision.plan;

import java.util.Arrays;
import sparkvision.kernels.Loops;
import sparkvision.kernels.Rows;
import sparkvision.kernels.Team;

/** Mean and biased variance of each channel, in one pass, some rows at a time. */
final class Moments {

  private final Loops loops = Loops.best();
  private final int channels;
  private final float[] shift; // the first row: without it, squares of a large mean would cancel
  private double[][] sums = new double[0][]; // a row per thread
  private double[][] squares;
  private long rows;

  Moments(int channels) {
    this.channels = channels;
    this.shift = new float[channels];
  }

  /** Starts with the rows that {@code x} begins with. */
  void begin(Rows x) {
    for (int member = 0; member < sums.length; member++) {
      Arrays.fill(sums[member], 0);
      Arrays.fill(squares[member], 0);
    }
    rows = 0;
    loops.firstRow(x, channels, shift);
  }

  void add(Team team, Rows x, int count) {
    if (sums.length != team.threads()) {
      sums = new double[team.threads()][channels];
      squares = new double[team.threads()][channels];
    }
    rows += count;
    team.run(
        (m, n) ->
            loops.moments(
                x,
                channels,
                Team.share(count, m, n),
                Team.share(count, m + 1, n),
                shift,
                sums[m],
                squares[m]));
  }

  void end(float[] mean, float[] variance) {
    for (int c = 0; c < channels; c++) {
      double sum = 0;
      double square = 0;
      for (int member = 0; member < sums.length; member++) {
        sum += sums[member][c];
        square += squares[member][c];
      }
      double difference = sum / rows;
      mean[c] = (float) (shift[c] + difference);
      variance[c] = (float) Math.max(0, square / rows - difference * difference);
    }
  }
}
