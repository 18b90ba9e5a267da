package sparkvision.jobs;

import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;

/** A progress bar on standard error. */
final class Progress implements AutoCloseable {

  private static final int WIDTH = 118;

  private final ProgressBar bar;

  Progress(String task, String unit, long done, long total) {
    bar =
        new ProgressBarBuilder()
            .setTaskName(task)
            .setUnit(" " + unit, 1)
            .setInitialMax(total)
            .startsFrom(done, java.time.Duration.ZERO)
            .setStyle(ProgressBarStyle.ASCII)
            .setUpdateIntervalMillis(1000)
            .setMaxRenderedLength(WIDTH)
            .build();
  }

  void to(long done, String message) {
    bar.setExtraMessage(" " + message);
    bar.stepTo(done);
  }

  /** A sentence above the bar. */
  static void note(String sentence) {
    System.err.println();
    System.err.println(sentence);
  }

  @Override
  public void close() {
    bar.close();
  }
}
