package sparkvision.plan;

import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import sparkvision.graph.Node;
import sparkvision.kernels.Rows;
import sparkvision.kernels.ScanLoops;
import sparkvision.kernels.ScanLoops.Places;
import sparkvision.kernels.Team;
import sparkvision.kernels.Type;

/**
 * The selective scan and its gradients, a channel after the other and a token after the other:
 * linear in time, and in memory as well.
 *
 * <p>The work is cut as {@link Spans} says. States (B, E, L, N) exist nowhere: kept between the
 * passes is the one at the beginning of each chunk of {@value Spans#CHUNK} tokens, and the backward
 * pass takes the chunks from the last to the first and computes the states of each again.
 *
 * <p>Gradients of b and c, which all channels share, are summed over the blocks of a span at once
 * and over the spans of a sequence in a second pass, like those of a, d and delta-bias over the
 * sequences.
 *
 * @see <a href="https://arxiv.org/abs/2312.00752">Gu and Dao, Mamba, 2023, section 3.3.2: the
 *     recomputation</a>
 */
final class SelectiveScan {

  private static final int CHUNK = Spans.CHUNK;
  private static final int COLUMNS = ScanLoops.COLUMNS;

  private final Node node;
  private final Lowering l;
  private final Value u; // (B, E, L), rows of channels, as delta, z and y
  private final Value delta;
  private final Value a; // (E, N)
  private final Value b; // (B, N, L), rows of states, as c
  private final Value c;
  private final Value d; // (E), as bias
  private final Value z;
  private final Value bias;
  private final Value y;
  private final Value kept; // (B, chunks, blocks, states · columns); null in inference
  private final Spans spans;
  private final int states;

  static void register(Map<Node.Kind, Kernel> kernels) {
    kernels.put(Node.Kind.SELECTIVE_SCAN, (node, l) -> new SelectiveScan(node, l).emit());
  }

  private SelectiveScan(Node node, Lowering l) {
    this.node = node;
    this.l = l;
    this.u = l.rows(l.in(node, 0));
    this.delta = l.rows(l.in(node, 1));
    this.a = l.cast(l.rowMajor(l.in(node, 2)), Type.FLOAT32);
    this.b = l.rows(l.in(node, 3));
    this.c = l.rows(l.in(node, 4));
    this.d = l.cast(l.rowMajor(l.in(node, 5)), Type.FLOAT32);
    this.z = l.rows(l.in(node, 6));
    this.bias = l.cast(l.rowMajor(l.in(node, 7)), Type.FLOAT32);
    this.spans = new Spans(u.dims(), node.integer("backward") == 1);
    this.states = (int) a.size(1);
    this.y = l.fresh(node.output(), l.compute, Value.channelsLast(node.output().shape()));
    this.kept =
        l.wantsAny(node)
            ? l.program.rowMajor(
                "states", Type.FLOAT32, spans.batch, spans.chunks, spans.blocks, states, COLUMNS)
            : null;
  }

  private void emit() {
    List<Value> reads = List.of(u, delta, a, b, c, d, z, bias);
    List<Value> writes = kept == null ? List.of(y) : List.of(y, kept);
    l.program.loop(
        "scan", 6.0 * work(), reads, writes, () -> spans.dealt(l.program.team, Forward::new));
    l.bind(node.output(), y);
    if (kept != null) {
      l.tape(this::emitBackward);
    }
  }

  /** Products of a number per channel, token and state. */
  private double work() {
    return (double) u.elements() * states;
  }

  /** What both passes read: rows of a span's channels, a chunk of tokens at a time. */
  private abstract class Worker extends Spans.Worker {
    final ScanLoops loops = ScanLoops.best();
    final Places at = new Places(room, states, spans.span, CHUNK);
    final int raw = room.add(spans.rows()); // delta + bias
    final int gates = room.add(spans.rows()); // z
    private final int shifts = room.add(spans.width()); // bias
    private final Spans.Sequences us = spans.sequences(u);
    private final Spans.Sequences deltas = spans.sequences(delta);
    private final Spans.Sequences zs = spans.sequences(z);
    private final Spans.Sequences bs = spans.sequences(b);
    private final Spans.Sequences cs = spans.sequences(c);
    private final FloatBuffer aOfAll = floats(a);
    private final FloatBuffer dOfAll = floats(d);
    private final FloatBuffer biasOfAll = floats(bias);
    final FloatBuffer keptOfAll = kept == null ? null : floats(kept);

    Worker() {
      super(SelectiveScan.this.spans);
    }

    @Override
    final void begin(int sequence, int span) {
      super.begin(sequence, span);
      clear(at.d, width);
      clear(shifts, width);
      for (int j = 0; j < count; j++) {
        clear(at.a(j), states * COLUMNS);
        int first = (firstBlock + j) * COLUMNS;
        for (int i = 0; i < Math.min(COLUMNS, spans.channels - first); i++) {
          numbers[at.d + j * COLUMNS + i] = dOfAll.get(first + i);
          numbers[shifts + j * COLUMNS + i] = biasOfAll.get(first + i);
          for (int n = 0; n < states; n++) {
            numbers[at.a(j) + n * COLUMNS + i] =
                ScanLoops.LOG2_E * aOfAll.get((first + i) * states + n);
          }
        }
      }
    }

    /** Reads what the scan of a chunk needs; afterwards y is d·u. */
    @Override
    final void beginChunk(int chunk) {
      super.beginChunk(chunk);
      for (int block = 0; block < Spans.parts(states, COLUMNS); block++) {
        bs.read(sequence, chunk, block, 1, numbers, at.b + block * tokens * COLUMNS);
        cs.read(sequence, chunk, block, 1, numbers, at.c + block * tokens * COLUMNS);
      }
      read(us, at.u);
      read(deltas, raw);
      read(zs, gates);
      loops.softplus(numbers, raw, shifts, width, tokens, raw, at.delta);
      loops.enter(numbers, at, width, tokens);
    }

    /** Where the states of a block are kept that it has at the beginning of the chunk. */
    final int keptAt(int j) {
      int blocksBefore = (sequence * spans.chunks + chunk) * spans.blocks + firstBlock + j;
      return blocksBefore * states * COLUMNS;
    }
  }

  private static FloatBuffer floats(Value value) {
    return value.buffer().asFloatBuffer();
  }

  // Forward.

  private final class Forward extends Worker {

    private final Spans.Sequences ys = spans.sequences(y);

    @Override
    void run(int span) {
      for (int j = 0; j < count; j++) {
        clear(at.h(j), states * COLUMNS);
      }
      for (int i = 0; i < spans.chunks; i++) {
        beginChunk(i);
        for (int j = 0; j < count; j++) {
          if (keptOfAll != null) {
            keptOfAll.put(keptAt(j), numbers, at.h(j), states * COLUMNS);
          }
          loops.scan(numbers, at, j, width, tokens);
        }
        loops.gate(numbers, at.y, gates, tokens * width, at.y);
        write(at.y, ys);
      }
    }
  }

  // Backward.

  private void emitBackward() {
    Value given = l.gradient(node.output());
    if (given == null) {
      return;
    }
    Value dy = l.rows(given);
    Value[] gradients = new Value[node.inputs().size()];
    List<Value> writes = new ArrayList<>();
    for (int i = 0; i < gradients.length; i++) {
      if (l.wants(node, i)) {
        gradients[i] = gradient(i);
        writes.add(gradients[i]);
      }
    }
    Value perSpan =
        l.program.rowMajor(
            "scratch", Type.FLOAT32, spans.batch, spans.spans, 2, spans.length, states);
    Value perSequence =
        l.program.rowMajor("scratch", Type.FLOAT32, spans.batch, spans.blocks, states + 2, COLUMNS);
    writes.add(perSpan);
    writes.add(perSequence);
    l.program.loop(
        "scan",
        19.0 * work(),
        List.of(u, delta, a, b, c, d, z, bias, kept, dy),
        writes,
        () -> {
          Program.Body items =
              spans.dealt(l.program.team, () -> new Backward(dy, gradients, perSpan, perSequence));
          Team.Work rest = new Sums(gradients, perSpan, perSequence)::run;
          return team -> {
            items.run(team);
            team.run(rest);
          };
        });
    for (int i = 0; i < gradients.length; i++) {
      if (gradients[i] != null) {
        l.contribute(node, i, gradients[i]);
      }
    }
  }

  /** Where the gradient of an input is written: where it belongs, if that is known. */
  private Value gradient(int index) {
    long[] dims = node.input(index).shape();
    if (dims.length < 3) {
      return l.fresh(node.input(index), Type.FLOAT32);
    }
    Value place = l.gradientPlace(node, index);
    return place != null && place.isRows()
        ? place
        : l.fresh(node.input(index), l.in(node, index).type, Value.channelsLast(dims));
  }

  private final class Backward extends Worker {

    private final int given = room.add(spans.rows());
    private final int ofShifts = room.add(spans.width());
    private final float[] folded = new float[states * CHUNK];
    private final Spans.Sequences dys;
    private final Spans.Sequences dus;
    private final Spans.Sequences dDeltas;
    private final Spans.Sequences dzs;
    private final FloatBuffer perSpan;
    private final FloatBuffer perSequence;

    Backward(Value dy, Value[] gradients, Value perSpan, Value perSequence) {
      this.dys = spans.sequences(dy);
      this.dus = spans.sequences(gradients[0]);
      this.dDeltas = spans.sequences(gradients[1]);
      this.dzs = spans.sequences(gradients[6]);
      this.perSpan = floats(perSpan);
      this.perSequence = floats(perSequence);
    }

    @Override
    void run(int span) {
      clear(at.ofD, width);
      clear(ofShifts, width);
      for (int j = 0; j < count; j++) {
        clear(at.ofA(j), states * COLUMNS);
        clear(at.ofH(j), states * COLUMNS);
      }
      for (int i = spans.chunks - 1; i >= 0; i--) {
        beginChunk(i);
        goBack();
        keep(at.ofB, 0, span);
        keep(at.ofC, 1, span);
      }
      for (int j = 0; j < count; j++) {
        int first = (sequence * spans.blocks + firstBlock + j) * (states + 2) * COLUMNS;
        perSequence.put(first, numbers, at.ofA(j), states * COLUMNS);
        perSequence.put(first + states * COLUMNS, numbers, at.ofD + j * COLUMNS, COLUMNS);
        perSequence.put(first + (states + 1) * COLUMNS, numbers, ofShifts + j * COLUMNS, COLUMNS);
      }
    }

    /** What was read of the chunk gives way to its gradients. */
    private void goBack() {
      int size = tokens * width;
      read(dys, given);
      loops.dropSmall(numbers, given, size);
      loops.gate(numbers, given, gates, size, at.ofY);
      clear(at.ofDelta, size);
      clear(at.ofDrive, size);
      clear(at.ofB, tokens * states * COLUMNS);
      clear(at.ofC, tokens * states * COLUMNS);
      for (int j = 0; j < count; j++) {
        keptOfAll.get(keptAt(j), numbers, at.h(j), states * COLUMNS);
        loops.scanAgain(numbers, at, j, width, tokens);
        loops.scanBack(numbers, at, j, width, tokens);
      }
      loops.gateGradient(numbers, at.y, gates, given, size);
      write(gates, dzs);
      loops.enterGradient(numbers, at, width, tokens);
      write(at.ofU, dus);
      loops.softplusGradient(numbers, raw, width, tokens, at.ofDelta, ofShifts);
      write(at.ofDelta, dDeltas);
    }

    /** Sums of the span's channels: a number per state and token. */
    private void keep(int parts, int which, int span) {
      int before = (sequence * spans.spans + span) * 2 + which;
      int first = (before * spans.length + chunk * CHUNK) * states;
      ScanLoops.fold(numbers, parts, states * tokens, folded);
      perSpan.put(first, folded, 0, states * tokens);
    }
  }

  /** The second pass: sums over spans, and over sequences. */
  private final class Sums {
    private final FloatBuffer perSpan;
    private final FloatBuffer perSequence;
    private final Rows[][] ofTokens = new Rows[2][]; // gradients of b and c
    private final FloatBuffer ofRates;
    private final FloatBuffer ofThrough;
    private final FloatBuffer ofShifts;

    Sums(Value[] gradients, Value perSpan, Value perSequence) {
      this.perSpan = floats(perSpan);
      this.perSequence = floats(perSequence);
      this.ofTokens[0] = gradients[3] == null ? null : Spans.rows(gradients[3]);
      this.ofTokens[1] = gradients[4] == null ? null : Spans.rows(gradients[4]);
      this.ofRates = gradients[2] == null ? null : floats(gradients[2]);
      this.ofThrough = gradients[5] == null ? null : floats(gradients[5]);
      this.ofShifts = gradients[7] == null ? null : floats(gradients[7]);
    }

    void run(int member, int members) {
      float[] sum = new float[CHUNK * states];
      float[] part = new float[CHUNK * states];
      int end = Team.share(spans.batch * spans.chunks, member + 1, members);
      for (int i = Team.share(spans.batch * spans.chunks, member, members); i < end; i++) {
        for (int which = 0; which < 2; which++) {
          if (ofTokens[which] != null) {
            overSpans(i / spans.chunks, i % spans.chunks, which, sum, part);
          }
        }
      }
      int last = Team.share(spans.channels, member + 1, members);
      for (int channel = Team.share(spans.channels, member, members); channel < last; channel++) {
        overSequences(channel);
      }
    }

    private void overSpans(int sequence, int chunk, int which, float[] sum, float[] part) {
      int tokens = spans.tokens(chunk);
      Arrays.fill(sum, 0);
      for (int span = 0; span < spans.spans; span++) {
        int before = (sequence * spans.spans + span) * 2 + which;
        int at = (before * spans.length + chunk * CHUNK) * states;
        perSpan.get(at, part, 0, tokens * states);
        for (int i = 0; i < tokens * states; i++) {
          sum[i] += part[i];
        }
      }
      Rows rows = ofTokens[which][sequence];
      for (int t = 0; t < tokens; t++) {
        int row = spans.row(chunk) + t * spans.step();
        for (int n = 0; n < states; n++) {
          rows.set(row, n, sum[t * states + n]);
        }
      }
    }

    private void overSequences(int channel) {
      for (int n = 0; n < states + 2; n++) {
        float sum = 0;
        for (int sequence = 0; sequence < spans.batch; sequence++) {
          int block = sequence * spans.blocks + channel / COLUMNS;
          sum += perSequence.get((block * (states + 2) + n) * COLUMNS + channel % COLUMNS);
        }
        FloatBuffer to = n < states ? ofRates : n == states ? ofThrough : ofShifts;
        if (to != null) {
          to.put(n < states ? channel * states + n : channel, sum);
        }
      }
    }
  }
}
