package sparkvision.report;

import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import javax.imageio.ImageIO;
import sparkvision.report.Report.EpochPoint;
import sparkvision.report.Report.Mistake;
import sparkvision.report.Report.RankThroughput;
import sparkvision.report.Report.RoundPoint;

/** Reports for tests, drawn from a seed. */
final class Reports {

  private Reports() {}

  /** A report with all sections, of {@code rounds} rounds. */
  static Report full(List<String> classes, int rounds) {
    Random random = new Random(classes.size());
    List<RoundPoint> roundPoints = new ArrayList<>();
    for (int i = 1; i <= rounds; i++) {
      roundPoints.add(
          new RoundPoint(
              4L * i,
              2.0 / i + random.nextDouble(),
              0.1 / i,
              400 + random.nextInt(9),
              2,
              0.1,
              0.2,
              i % 2,
              1.0 / i));
    }
    List<EpochPoint> epochs =
        List.of(
            new EpochPoint(1, 2L * rounds, 0.9, 0.8, 0.71),
            new EpochPoint(2, 3L * rounds, 0.5, null, null),
            new EpochPoint(3, 4L * rounds, 0.4, 0.45, 0.8525));
    List<RankThroughput> ranks =
        List.of(
            new RankThroughput(0, "worker-a", 5000, 60, 10, 30),
            new RankThroughput(1, "worker-b", 5000, 70, 0, 30));
    String first = classes.get(0);
    String last = classes.get(classes.size() - 1);
    List<Mistake> mistakes =
        List.of(
            new Mistake("val/one", first, last, 0.987, 5.5, picture("png", 28)),
            new Mistake("val/two", last, first, 0.765, 4.5, picture("jpg", 300)),
            new Mistake("val/three", last, first, 0.654, 3.5, null));
    return of(classes, random, mistakes, epochs, roundPoints, ranks, "seed = 1\nname = a\n");
  }

  /** A report of weights without a history. */
  static Report withoutHistory(List<String> classes) {
    Random random = new Random(classes.size());
    return of(classes, random, List.of(), List.of(), List.of(), List.of(), "");
  }

  private static Report of(
      List<String> classes,
      Random random,
      List<Mistake> mistakes,
      List<EpochPoint> epochs,
      List<RoundPoint> rounds,
      List<RankThroughput> ranks,
      String configuration) {
    int size = classes.size();
    long[][] confusion = new long[size][size];
    for (int truth = 0; truth < size - 1; truth++) { // the last class has no samples
      for (int i = 0; i < 20; i++) {
        confusion[truth][random.nextInt(3) == 0 ? random.nextInt(size) : truth]++;
      }
    }
    List<Double> accuracy =
        IntStream.range(0, size)
            .mapToObj(c -> (double) confusion[c][c] / Arrays.stream(confusion[c]).sum())
            .toList();
    return new Report(
        "Drawn at random",
        "densenet121",
        "hdfs://nn/runs/a/checkpoints/step-000000000400",
        4L * rounds.size(),
        7_978_856,
        "hdfs://nn/shards/val",
        20L * (size - 1),
        0.8525,
        0.9875,
        0.43219,
        classes,
        accuracy,
        confusion,
        mistakes,
        null,
        null,
        List.of(),
        "top-1",
        epochs,
        rounds,
        ranks,
        8.4,
        238.1,
        configuration,
        "2026-11-22 17:31 UTC",
        "0.1.0");
  }

  static List<String> classes(int size) {
    return IntStream.range(0, size).mapToObj(c -> "class-" + c).toList();
  }

  static byte[] picture(String format, int side) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    try {
      ImageIO.write(new BufferedImage(side, side, BufferedImage.TYPE_INT_RGB), format, out);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return out.toByteArray();
  }
}
