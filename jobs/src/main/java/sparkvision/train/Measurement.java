package sparkvision.train;

import sparkvision.data.Sample;

/** Runs a network over samples and counts how right it was. */
interface Measurement {

  void add(Sample sample);

  /** Of all samples that were added. */
  Scores scores();
}
