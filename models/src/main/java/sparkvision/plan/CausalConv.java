package sparkvision.plan;

import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import sparkvision.graph.Node;
import sparkvision.kernels.ScanLoops;
import sparkvision.kernels.Team;
import sparkvision.kernels.Type;

/**
 * Causal convolutions of every channel by itself, with their SiLU, and their gradients; the work is
 * cut as {@link Spans} says.
 *
 * <p>What SiLU is given is not kept: the backward pass convolves again, a chunk at a time from the
 * last to the first, since an element's gradient comes from those behind it.
 */
final class CausalConv {

  private static final int COLUMNS = ScanLoops.COLUMNS;

  private final Node node;
  private final Lowering l;
  private final Value x; // (B, E, L), rows of channels, as y
  private final Value weight; // (E, 1, k)
  private final Value bias; // (E)
  private final Value y;
  private final Spans spans;
  private final int taps;

  static void register(Map<Node.Kind, Kernel> kernels) {
    kernels.put(Node.Kind.CAUSAL_CONV, (node, l) -> new CausalConv(node, l).emit());
  }

  private CausalConv(Node node, Lowering l) {
    this.node = node;
    this.l = l;
    this.x = l.rows(l.in(node, 0));
    this.weight = l.cast(l.rowMajor(l.in(node, 1)), Type.FLOAT32);
    this.bias = l.cast(l.rowMajor(l.in(node, 2)), Type.FLOAT32);
    this.y = l.fresh(node.output(), l.compute, Value.channelsLast(node.output().shape()));
    this.spans = new Spans(x.dims(), node.integer("backward") == 1);
    this.taps = (int) weight.size(2);
  }

  private void emit() {
    l.program.loop(
        "convolution",
        flop(),
        List.of(x, weight, bias),
        List.of(y),
        () -> spans.dealt(l.program.team, Forward::new));
    l.bind(node.output(), y);
    if (l.wantsAny(node)) {
      l.tape(this::emitBackward);
    }
  }

  private double flop() {
    return 2.0 * x.elements() * taps;
  }

  /** What both passes read: rows of a span's channels, a chunk of tokens at a time. */
  private abstract class Worker extends Spans.Worker {
    final ScanLoops loops = ScanLoops.best();
    final int inputs = room.add((Spans.CHUNK + taps - 1) * spans.width());
    final int sums = room.add(spans.rows()); // before SiLU
    final int taken = room.add(taps * spans.width()); // weight
    private final int shifts = room.add(spans.width()); // bias
    private final Spans.Sequences xs = spans.sequences(x);
    private final FloatBuffer weightOfAll = weight.buffer().asFloatBuffer();
    private final FloatBuffer biasOfAll = bias.buffer().asFloatBuffer();
    int before; // numbers of the rows before a chunk

    Worker() {
      super(CausalConv.this.spans);
    }

    @Override
    final void begin(int sequence, int span) {
      super.begin(sequence, span);
      this.before = (taps - 1) * width;
      clear(taken, taps * width);
      clear(shifts, width);
      int first = firstBlock * COLUMNS;
      for (int i = 0; i < Math.min(width, spans.channels - first); i++) {
        numbers[shifts + i] = biasOfAll.get(first + i);
        for (int tap = 0; tap < taps; tap++) {
          numbers[taken + tap * width + i] = weightOfAll.get((first + i) * taps + tap);
        }
      }
    }

    final void convolve(int chunk) {
      beginChunk(chunk);
      xs.readBefore(sequence, chunk, firstBlock, count, taps - 1, numbers, inputs);
      read(xs, inputs + before);
      loops.convolve(numbers, inputs, taken, shifts, taps, width, tokens, sums);
    }
  }

  private final class Forward extends Worker {
    private final Spans.Sequences ys = spans.sequences(y);

    @Override
    void run(int span) {
      for (int chunk = 0; chunk < spans.chunks; chunk++) {
        convolve(chunk);
        loops.silu(numbers, sums, tokens * width, sums);
        write(sums, ys);
      }
    }
  }

  private void emitBackward() {
    Value given = l.gradient(node.output());
    if (given == null) {
      return;
    }
    Value dy = l.rows(given);
    Value dx = l.wants(node, 0) ? gradientOfInput() : null;
    Value dWeight = l.fresh(node.input(1), Type.FLOAT32);
    Value dBias = l.fresh(node.input(2), Type.FLOAT32);
    Value perSequence =
        l.program.rowMajor("scratch", Type.FLOAT32, spans.batch, spans.blocks, taps + 1, COLUMNS);
    List<Value> writes = new ArrayList<>(List.of(dWeight, dBias, perSequence));
    if (dx != null) {
      writes.add(dx);
    }
    l.program.loop(
        "convolution",
        3 * flop(),
        List.of(x, weight, bias, dy),
        writes,
        () -> {
          Program.Body items = spans.dealt(l.program.team, () -> new Backward(dy, dx, perSequence));
          Team.Work rest = sums(perSequence, dWeight, dBias);
          return team -> {
            items.run(team);
            team.run(rest);
          };
        });
    if (dx != null) {
      l.contribute(node, 0, dx);
    }
    l.contribute(node, 1, dWeight);
    l.contribute(node, 2, dBias);
  }

  private Value gradientOfInput() {
    Value place = l.gradientPlace(node, 0);
    return place != null && place.isRows()
        ? place
        : l.fresh(node.input(0), l.in(node, 0).type, Value.channelsLast(x.dims()));
  }

  private final class Backward extends Worker {
    private final Spans.Sequences dys;
    private final Spans.Sequences dxs;
    private final FloatBuffer perSequence;
    private final int given = room.add(spans.rows());
    private final int ofInputs = room.add((Spans.CHUNK + taps - 1) * spans.width());
    private final int ofWeight = room.add(taps * spans.width());
    private final int ofBias = room.add(spans.width());

    Backward(Value dy, Value dx, Value perSequence) {
      this.dys = spans.sequences(dy);
      this.dxs = spans.sequences(dx);
      this.perSequence = perSequence.buffer().asFloatBuffer();
    }

    @Override
    void run(int span) {
      clear(ofWeight, taps * width);
      clear(ofBias, width);
      clear(ofInputs, Spans.CHUNK * width + before);
      for (int chunk = spans.chunks - 1; chunk >= 0; chunk--) {
        goBack(chunk);
      }
      for (int j = 0; j < count; j++) {
        int at = (sequence * spans.blocks + firstBlock + j) * (taps + 1) * COLUMNS;
        for (int tap = 0; tap < taps; tap++) {
          int own = ofWeight + tap * width + j * COLUMNS;
          perSequence.put(at + tap * COLUMNS, numbers, own, COLUMNS);
        }
        perSequence.put(at + taps * COLUMNS, numbers, ofBias + j * COLUMNS, COLUMNS);
      }
    }

    private void goBack(int chunk) {
      convolve(chunk);
      // What the chunk behind this one says of its last tokens.
      System.arraycopy(numbers, ofInputs, numbers, ofInputs + tokens * width, before);
      clear(ofInputs, tokens * width);
      read(dys, given);
      loops.siluGradient(numbers, sums, given, tokens * width);
      loops.convolveGradient(
          numbers, inputs, taken, sums, taps, width, tokens, ofInputs, ofWeight, ofBias);
      write(ofInputs + before, dxs);
    }
  }

  /** The second pass: sums over the sequences. */
  private Team.Work sums(Value perSequence, Value dWeight, Value dBias) {
    FloatBuffer parts = perSequence.buffer().asFloatBuffer();
    FloatBuffer ofWeight = dWeight.buffer().asFloatBuffer();
    FloatBuffer ofBias = dBias.buffer().asFloatBuffer();
    return (member, members) -> {
      int end = Team.share(spans.channels, member + 1, members);
      for (int channel = Team.share(spans.channels, member, members); channel < end; channel++) {
        for (int tap = 0; tap <= taps; tap++) {
          float sum = 0;
          for (int sequence = 0; sequence < spans.batch; sequence++) {
            int block = sequence * spans.blocks + channel / COLUMNS;
            sum += parts.get((block * (taps + 1) + tap) * COLUMNS + channel % COLUMNS);
          }
          if (tap < taps) {
            ofWeight.put(channel * taps + tap, sum);
          } else {
            ofBias.put(channel, sum);
          }
        }
      }
    };
  }
}
