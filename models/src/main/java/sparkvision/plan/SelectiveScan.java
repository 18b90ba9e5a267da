package sparkvision.plan;

import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.IntFunction;
import sparkvision.graph.Node;
import sparkvision.kernels.Rows;
import sparkvision.kernels.ScanLoops;
import sparkvision.kernels.ScanLoops.Gradients;
import sparkvision.kernels.Team;
import sparkvision.kernels.Type;

/**
 * The selective scan and its gradients, a channel after the other and a token after the other:
 * linear in time, and in memory as well.
 *
 * <p>Tokens are taken in chunks of {@value #CHUNK}, channels in blocks of {@value
 * ScanLoops#COLUMNS}, so that all that belongs to a chunk of a block lies in the first cache.
 * States (B, E, L, N) exist nowhere: kept between the passes is the one at the beginning of each
 * chunk, a {@value #CHUNK}th of them, and the backward pass takes the chunks from the last to the
 * first and computes the states of each again. A scan that runs backward reads its rows from the
 * last to the first.
 *
 * <p>An item of work is a span of blocks of one sequence. Members of the team take the next one as
 * they are free; how the work is cut depends on sizes alone, so the number of threads changes no
 * bit. Gradients of b and c, which all channels share, are summed over the blocks of a span at once
 * and over the spans of a sequence in a second pass, like those of a, d and delta-bias over the
 * sequences.
 *
 * @see <a href="https://arxiv.org/abs/2312.00752">Gu and Dao, Mamba, 2023, section 3.3.2: the
 *     recomputation</a>
 */
final class SelectiveScan {

  /** Tokens whose states are computed again together. */
  private static final int CHUNK = 32;

  /** Items of work that are wanted, if there is so much to share out. */
  private static final int ITEMS = 32;

  /** Blocks of an item at least, since summing over their channels has its price. */
  private static final int FEWEST = 2;

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
  private final boolean backward;
  private final int batch;
  private final int channels;
  private final int length;
  private final int states;
  private final int blocks;
  private final int chunks;
  private final int span; // blocks of an item
  private final int spans; // of a sequence

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
    this.backward = node.integer("backward") == 1;
    this.batch = (int) u.size(0);
    this.channels = (int) u.size(1);
    this.length = (int) u.size(2);
    this.states = (int) a.size(1);
    this.blocks = parts(channels, COLUMNS);
    this.chunks = parts(length, CHUNK);
    this.span = Math.min(blocks, Math.max(FEWEST, parts(blocks, Math.max(1, ITEMS / batch))));
    this.spans = parts(blocks, span);
    this.y = l.fresh(node.output(), l.compute, Value.channelsLast(node.output().shape()));
    this.kept =
        l.wantsAny(node)
            ? l.program.rowMajor(
                "states", Type.FLOAT32, batch, chunks, blocks, states, COLUMNS)
            : null;
  }

  private static int parts(int count, int size) {
    return (count + size - 1) / size;
  }

  private void emit() {
    List<Value> reads = List.of(u, delta, a, b, c, d, z, bias);
    List<Value> writes = kept == null ? List.of(y) : List.of(y, kept);
    l.program.loop("scan", 6.0 * work(), reads, writes, () -> dealt(member -> new Forward()::run));
    l.bind(node.output(), y);
    if (kept != null) {
      l.tape(this::emitBackward);
    }
  }

  /** Products of a number per channel, token and state. */
  private double work() {
    return (double) batch * channels * length * states;
  }

  /** Has items done by the worker of whoever is free. */
  private Program.Body dealt(IntFunction<Item> workers) {
    Item[] items = new Item[l.program.team.threads()];
    Arrays.setAll(items, workers);
    AtomicInteger next = new AtomicInteger();
    Team.Work work =
        (m, n) -> {
          for (int i = next.getAndIncrement(); i < batch * spans; i = next.getAndIncrement()) {
            items[m].run(i / spans, i % spans);
          }
        };
    return team -> {
      next.set(0);
      team.run(work);
    };
  }

  /** A span of the channels of a sequence. */
  private interface Item {
    void run(int sequence, int span);
  }

  /** What both passes read, a chunk of a block at a time. */
  private abstract class Worker {
    final ScanLoops loops = ScanLoops.best();
    final float[] raw = block(); // delta + bias
    final float[] steps = block(); // its softplus
    final float[] inputs = block(); // u
    final float[] drive = block(); // steps · u
    final float[] gates = block(); // z
    final float[] sums = block(); // y before the gate
    final float[] bOfChunk = new float[parts(states, COLUMNS) * CHUNK * COLUMNS];
    final float[] cOfChunk = new float[bOfChunk.length];
    final float[][] rates = new float[span][states * COLUMNS]; // a
    final float[][] through = new float[span][COLUMNS]; // d
    final float[][] shifts = new float[span][COLUMNS]; // bias
    final float[][] h = new float[span][states * COLUMNS];
    private final Sequences us = new Sequences(u);
    private final Sequences deltas = new Sequences(delta);
    private final Sequences zs = new Sequences(z);
    private final Sequences bs = new Sequences(b);
    private final Sequences cs = new Sequences(c);
    private final FloatBuffer aOfAll = floats(a);
    private final FloatBuffer dOfAll = floats(d);
    private final FloatBuffer biasOfAll = floats(bias);
    final FloatBuffer keptOfAll = kept == null ? null : floats(kept);
    int sequence;
    int firstBlock;
    int count; // blocks
    int chunk;
    int tokens;

    /** Before the first chunk of an item. */
    final void begin(int sequence, int item) {
      this.sequence = sequence;
      this.firstBlock = item * span;
      this.count = Math.min(span, blocks - firstBlock);
      for (int j = 0; j < count; j++) {
        Arrays.fill(rates[j], 0);
        Arrays.fill(through[j], 0);
        Arrays.fill(shifts[j], 0);
        for (int i = 0; i < width(j); i++) {
          int channel = column(j) + i;
          through[j][i] = dOfAll.get(channel);
          shifts[j][i] = biasOfAll.get(channel);
          for (int n = 0; n < states; n++) {
            rates[j][n * COLUMNS + i] = aOfAll.get(channel * states + n);
          }
        }
      }
    }

    /** Before the first block of a chunk. */
    final void beginChunk(int chunk) {
      this.chunk = chunk;
      this.tokens = Math.min(CHUNK, length - chunk * CHUNK);
      loadStates(bs, bOfChunk);
      loadStates(cs, cOfChunk);
    }

    private void loadStates(Sequences from, float[] to) {
      for (int n = 0; n < states; n += COLUMNS) {
        int width = Math.min(COLUMNS, states - n);
        loops.load(from.rows(sequence), row(), step(), n, width, tokens, to, n * tokens);
      }
    }

    /** What the scan of a block reads; afterwards {@code sums} has d·u. */
    final void beginBlock(int j) {
      load(deltas, j, raw);
      loops.softplus(raw, shifts[j], tokens, raw, steps);
      load(us, j, inputs);
      load(zs, j, gates);
      for (int i = 0; i < tokens * COLUMNS; i++) {
        drive[i] = steps[i] * inputs[i];
        sums[i] = inputs[i] * through[j][i % COLUMNS];
      }
    }

    final void load(Sequences from, int j, float[] to) {
      loops.load(from.rows(sequence), row(), step(), column(j), width(j), tokens, to, 0);
    }

    final void store(float[] from, Sequences to, int j) {
      loops.store(from, to.rows(sequence), row(), step(), column(j), width(j), tokens);
    }

    /** The first row of the chunk. */
    private int row() {
      return backward ? length - 1 - chunk * CHUNK : chunk * CHUNK;
    }

    private int step() {
      return backward ? -1 : 1;
    }

    final int column(int j) {
      return (firstBlock + j) * COLUMNS;
    }

    final int width(int j) {
      return Math.min(COLUMNS, channels - column(j));
    }

    /** Where the states of a block lie at the beginning of the chunk. */
    final int keptAt(int j) {
      return ((sequence * chunks + chunk) * blocks + firstBlock + j) * states * COLUMNS;
    }
  }

  private static float[] block() {
    return new float[CHUNK * COLUMNS];
  }

  private static FloatBuffer floats(Value value) {
    return value.buffer().asFloatBuffer();
  }

  /** (B, C, L) as rows of channels for each sequence. */
  private static final class Sequences {
    private final Rows[] rows;

    Sequences(Value x) {
      rows = new Rows[(int) x.size(0)];
      for (int i = 0; i < rows.length; i++) {
        Value sequence = x.narrowed(0, i, 1, 1);
        rows[i] = new Rows(sequence.buffer(), x.type, (int) x.stride(2));
      }
    }

    Rows rows(int sequence) {
      return rows[sequence];
    }
  }

  // Forward.

  private final class Forward extends Worker {

    private final Sequences ys = new Sequences(y);

    void run(int sequence, int item) {
      begin(sequence, item);
      for (float[] state : h) {
        Arrays.fill(state, 0);
      }
      for (int i = 0; i < chunks; i++) {
        beginChunk(i);
        for (int j = 0; j < count; j++) {
          if (keptOfAll != null) {
            keptOfAll.put(keptAt(j), h[j]);
          }
          beginBlock(j);
          loops.scan(steps, drive, rates[j], bOfChunk, cOfChunk, states, tokens, h[j], sums);
          loops.gate(sums, gates, tokens, sums);
          store(sums, ys, j);
        }
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
    Value perSpan = l.program.rowMajor("scratch", Type.FLOAT32, batch, spans, 2, length, states);
    Value perSequence =
        l.program.rowMajor("scratch", Type.FLOAT32, batch, blocks, states + 2, COLUMNS);
    writes.add(perSpan);
    writes.add(perSequence);
    l.program.loop(
        "scan",
        19.0 * work(),
        List.of(u, delta, a, b, c, d, z, bias, kept, dy),
        writes,
        () -> {
          Program.Body spans =
              dealt(member -> new Backward(dy, gradients, perSpan, perSequence)::run);
          Sums sums = new Sums(gradients, perSpan, perSequence);
          Team.Work rest = sums::run;
          return team -> {
            spans.run(team);
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

    private final Gradients g = new Gradients(states, CHUNK);
    private final float[][] ofRates = new float[span][states * COLUMNS];
    private final float[][] ofThrough = new float[span][COLUMNS];
    private final float[][] ofShifts = new float[span][COLUMNS];
    private final float[][] ofStates = new float[span][states * COLUMNS];
    private final float[] result = block();
    private final float[] folded = new float[states * CHUNK + COLUMNS];
    private final Sequences dys;
    private final Sequences dus;
    private final Sequences dDeltas;
    private final Sequences dzs;
    private final FloatBuffer perSpan;
    private final FloatBuffer perSequence;

    Backward(Value dy, Value[] gradients, Value perSpan, Value perSequence) {
      this.dys = new Sequences(dy);
      this.dus = sequences(gradients[0]);
      this.dDeltas = sequences(gradients[1]);
      this.dzs = sequences(gradients[6]);
      this.perSpan = floats(perSpan);
      this.perSequence = floats(perSequence);
    }

    private static Sequences sequences(Value value) {
      return value == null ? null : new Sequences(value);
    }

    void run(int sequence, int item) {
      begin(sequence, item);
      for (int j = 0; j < count; j++) {
        Arrays.fill(ofRates[j], 0);
        Arrays.fill(ofThrough[j], 0);
        Arrays.fill(ofShifts[j], 0);
        Arrays.fill(ofStates[j], 0);
      }
      for (int i = chunks - 1; i >= 0; i--) {
        beginChunk(i);
        Arrays.fill(g.b, 0);
        Arrays.fill(g.c, 0);
        for (int j = 0; j < count; j++) {
          goBack(j);
        }
        keep(g.b, 0, item);
        keep(g.c, 1, item);
      }
      for (int j = 0; j < count; j++) {
        int at = (sequence * blocks + firstBlock + j) * (states + 2) * COLUMNS;
        perSequence.put(at, ofRates[j]);
        perSequence.put(at + states * COLUMNS, ofThrough[j]);
        perSequence.put(at + (states + 1) * COLUMNS, ofShifts[j]);
      }
    }

    private void goBack(int j) {
      beginBlock(j);
      keptOfAll.get(keptAt(j), h[j]);
      load(dys, j, result);
      loops.gate(result, gates, tokens, g.y);
      Arrays.fill(g.delta, 0);
      Arrays.fill(g.drive, 0);
      g.a = ofRates[j];
      g.h = ofStates[j];
      loops.scanGradient(
          steps, drive, rates[j], bOfChunk, cOfChunk, states, tokens, h[j], sums, g);
      if (dzs != null) {
        loops.gateGradient(sums, gates, result, tokens);
        store(gates, dzs, j);
      }
      for (int i = 0; i < tokens * COLUMNS; i++) {
        result[i] = Math.fma(g.drive[i], steps[i], g.y[i] * through[j][i % COLUMNS]);
        g.delta[i] = Math.fma(g.drive[i], inputs[i], g.delta[i]);
      }
      if (dus != null) {
        store(result, dus, j);
      }
      loops.softplusGradient(raw, tokens, g.delta);
      if (dDeltas != null) {
        store(g.delta, dDeltas, j);
      }
      for (int i = 0; i < tokens * COLUMNS; i++) {
        ofThrough[j][i % COLUMNS] += g.y[i] * inputs[i];
        ofShifts[j][i % COLUMNS] += g.delta[i];
      }
    }

    /** Sums of the span's channels: a number per state and token. */
    private void keep(float[] parts, int which, int item) {
      int perItem = length * states;
      int at = ((sequence * spans + item) * 2 + which) * perItem + chunk * CHUNK * states;
      loops.fold(parts, 0, states * tokens, folded, 0);
      perSpan.put(at, folded, 0, states * tokens);
    }
  }

  /** The second pass: sums over spans, and over sequences. */
  private final class Sums {
    private final FloatBuffer perSpan;
    private final FloatBuffer perSequence;
    private final Sequences[] ofTokens = new Sequences[2]; // gradients of b and c
    private final FloatBuffer ofRates;
    private final FloatBuffer ofThrough;
    private final FloatBuffer ofShifts;

    Sums(Value[] gradients, Value perSpan, Value perSequence) {
      this.perSpan = floats(perSpan);
      this.perSequence = floats(perSequence);
      this.ofTokens[0] = gradients[3] == null ? null : new Sequences(gradients[3]);
      this.ofTokens[1] = gradients[4] == null ? null : new Sequences(gradients[4]);
      this.ofRates = gradients[2] == null ? null : floats(gradients[2]);
      this.ofThrough = gradients[5] == null ? null : floats(gradients[5]);
      this.ofShifts = gradients[7] == null ? null : floats(gradients[7]);
    }

    void run(int member, int members) {
      float[] sum = new float[CHUNK * states];
      float[] part = new float[CHUNK * states];
      int end = Team.share(batch * chunks, member + 1, members);
      for (int i = Team.share(batch * chunks, member, members); i < end; i++) {
        for (int which = 0; which < 2; which++) {
          if (ofTokens[which] != null) {
            overSpans(i / chunks, i % chunks, which, sum, part);
          }
        }
      }
      int last = Team.share(channels, member + 1, members);
      for (int channel = Team.share(channels, member, members); channel < last; channel++) {
        overSequences(channel);
      }
    }

    private void overSpans(int sequence, int chunk, int which, float[] sum, float[] part) {
      int tokens = Math.min(CHUNK, length - chunk * CHUNK);
      Arrays.fill(sum, 0);
      for (int item = 0; item < spans; item++) {
        int at = (((sequence * spans + item) * 2 + which) * length + chunk * CHUNK) * states;
        perSpan.get(at, part, 0, tokens * states);
        for (int i = 0; i < tokens * states; i++) {
          sum[i] += part[i];
        }
      }
      Rows rows = ofTokens[which].rows(sequence);
      for (int t = 0; t < tokens; t++) {
        int token = chunk * CHUNK + t;
        int row = backward ? length - 1 - token : token;
        for (int n = 0; n < states; n++) {
          rows.set(row, n, sum[n * tokens + t]);
        }
      }
    }

    private void overSequences(int channel) {
      for (int n = 0; n < states + 2; n++) {
        float sum = 0;
        for (int sequence = 0; sequence < batch; sequence++) {
          int block = sequence * blocks + channel / COLUMNS;
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
