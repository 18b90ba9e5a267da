package sparkvision.plan;

import java.util.Arrays;
import sparkvision.kernels.Loops;
import sparkvision.kernels.Rows;
import sparkvision.kernels.Team;

/** Mean and biased variance of each channel, in one pass and without cancellation. */
final class Moments {

  private final Loops loops = Loops.best();
  private final Rows x;
  private final int channels;
  private final int rows;
  private final float[] shift; // the first row: near the mean, measured in deviations
  private double[][] sums = new double[0][];
  private double[][] squares = new double[0][];

  Moments(Rows x, int channels, int rows) {
    this.x = x;
    this.channels = channels;
    this.rows = rows;
    this.shift = new float[channels];
  }

  /** Copies x too, unless {@code copy} is null. */
  void compute(Team team, Rows copy, float[] mean, float[] variance) {
    if (sums.length != team.threads()) {
      sums = new double[team.threads()][channels];
      squares = new double[team.threads()][channels];
    }
    for (int member = 0; member < sums.length; member++) {
      Arrays.fill(sums[member], 0);
      Arrays.fill(squares[member], 0);
    }
    loops.firstRow(x, channels, shift);
    team.run(
        (m, n) ->
            loops.moments(
                x,
                copy,
                channels,
                Team.share(rows, m, n),
                Team.share(rows, m + 1, n),
                shift,
                sums[m],
                squares[m]));
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
