package sparkvision.train;

import sparkvision.report.Report;

/** Watches a training run; it never steers. */
public interface TrainListener {

  /**
   * Training begins, or goes on with another number of ranks.
   *
   * @param images of one rank in one step
   */
  void started(RunState state, long images);

  /** One round was averaged. */
  void round(Report.RoundPoint round);

  /**
   * An epoch was finished and its checkpoint committed.
   *
   * @param score the name of its validation's score
   */
  void epoch(Report.EpochPoint epoch, String score);

  /** Something the user should read. */
  void note(String sentence);
}
