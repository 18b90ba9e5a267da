package sparkvision.jobs;

import sparkvision.data.Sharding;

/** One progress bar a phase of sharding. */
final class ShardProgress implements Sharding.Listener, AutoCloseable {

  private String phase = "";
  private Progress bar;

  @Override
  public synchronized void progress(String phase, long done, long total) {
    if (!phase.equals(this.phase)) {
      close();
      this.phase = phase;
      bar = new Progress(phase, "samples", 0, total);
    }
    bar.to(done, "");
  }

  @Override
  public synchronized void close() {
    if (bar != null) {
      bar.close();
      bar = null;
    }
  }
}
