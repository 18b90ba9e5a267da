package sparkvision.plan;

import java.util.List;
import sparkvision.kernels.Team;

/** One thing that a plan does: reads some values and writes others. */
abstract class Step {

  /** What kind of work it is, for the profile: "convolution", "norm", "reorder"... */
  final String kind;

  final List<Value> reads;
  final List<Value> writes;
  final double flop;
  long nanos = Long.MAX_VALUE; // of the fastest run, if the program is measured

  Step(String kind, List<Value> reads, List<Value> writes, double flop) {
    this.kind = kind;
    this.reads = reads;
    this.writes = writes;
    this.flop = flop;
  }

  /** Once, when every value has its place. */
  abstract void prepare();

  abstract void run(Team team);
}
