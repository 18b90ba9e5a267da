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
 * The selective scan and its gradients, in one direction or in both, a channel after the other and
 * a token after the other: linear in time, and in memory as well.
 *
 * <p>The work is cut as {@link Spans} says. States (B, E, L, N) exist nowhere: kept between the
 * passes is the one at the beginning of each chunk of {@value Spans#CHUNK} tokens, and the backward
 * pass takes the chunks from the last to the first and computes the states of each again.
 *
 * <p>In both directions an item of work takes one way through its span and then the other. What the
 * first gives before the gate is written where the second finds it; the gate and its gradient are
 * computed once.
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
  private static final int Z = 6; // among the node's inputs

  private final Node node;
  private final Lowering l;
  private final Value z; // (B, E, L), rows of channels, as y
  private final Value y;
  private final List<Way> ways = new ArrayList<>();
  private final Value between; // y of the first of two ways, before the gate
  private final Spans spans; // of the first way; another one's differ in their direction alone
  private final int states;

  static void register(Map<Node.Kind, Kernel> kernels) {
    kernels.put(Node.Kind.SELECTIVE_SCAN, (node, l) -> new SelectiveScan(node, l).emit());
  }

  private SelectiveScan(Node node, Lowering l) {
    this.node = node;
    this.l = l;
    this.z = l.rows(l.in(node, Z));
    this.states = (int) node.input(2).size(1);
    boolean backward = node.integer("backward") == 1;
    ways.add(new Way(0, 7, backward));
    if (node.inputs().size() > 8) {
      ways.add(new Way(8, 14, !backward));
    }
    this.spans = ways.get(0).spans;
    this.y = l.fresh(node.output(), l.compute, Value.channelsLast(node.output().shape()));
    this.between = ways.size() == 1 ? null : scratch();
  }

  private Value scratch() {
    long[] dims = node.output().shape();
    return l.program.value("scratch", Type.FLOAT32, dims, Value.channelsLast(dims));
  }

  /** What is read in one direction. */
  private final class Way {
    final int first; // of its inputs among the node's: u, delta, a, b, c, d
    final int biasAt;
    final Spans spans;
    final Value u; // (B, E, L), rows of channels, as delta
    final Value delta;
    final Value a; // (E, N)
    final Value b; // (B, N, L), rows of states, as c
    final Value c;
    final Value d; // (E), as bias
    final Value bias;
    final Value kept; // (B, chunks, blocks, states · columns); null in inference

    Way(int first, int biasAt, boolean backward) {
      this.first = first;
      this.biasAt = biasAt;
      this.u = l.rows(l.in(node, first));
      this.delta = l.rows(l.in(node, first + 1));
      this.a = l.cast(l.rowMajor(l.in(node, first + 2)), Type.FLOAT32);
      this.b = l.rows(l.in(node, first + 3));
      this.c = l.rows(l.in(node, first + 4));
      this.d = l.cast(l.rowMajor(l.in(node, first + 5)), Type.FLOAT32);
      this.bias = l.cast(l.rowMajor(l.in(node, biasAt)), Type.FLOAT32);
      this.spans = new Spans(u.dims(), backward);
      this.kept =
          l.wantsAny(node)
              ? l.program.rowMajor(
                  "states", Type.FLOAT32, spans.batch, spans.chunks, spans.blocks, states, COLUMNS)
              : null;
    }

    List<Value> reads() {
      return List.of(u, delta, a, b, c, d, bias);
    }
  }

  private boolean isTrained() {
    return ways.get(0).kept != null;
  }

  private List<Value> reads() {
    List<Value> reads = new ArrayList<>(List.of(z));
    ways.forEach(way -> reads.addAll(way.reads()));
    return reads;
  }

  private void emit() {
    List<Value> writes = new ArrayList<>(List.of(y));
    if (between != null) {
      writes.add(between);
    }
    if (isTrained()) {
      ways.forEach(way -> writes.add(way.kept));
    }
    l.program.loop(
        "scan", 6.0 * work(), reads(), writes, () -> spans.dealt(l.program.team, Forward::new));
    l.bind(node.output(), y);
    if (isTrained()) {
      l.tape(this::emitBackward);
    }
  }

  /** Products of a number per channel, token and state. */
  private double work() {
    return (double) ways.size() * z.elements() * states;
  }

  /** What both passes do with rows of a span's channels, a chunk of tokens at a time. */
  private abstract class Worker extends Spans.Worker {
    final ScanLoops loops = ScanLoops.best();
    final Places at = new Places(room, states, spans.span, CHUNK);
    final int raw = room.add(spans.rows()); // delta + bias
    final int gates = room.add(spans.rows()); // z
    private final int shifts = room.add(spans.width()); // bias
    private final int other = room.add(spans.rows()); // y of the other way

    Worker() {
      super(SelectiveScan.this.spans);
    }

    /** A way as this worker reads it. */
    class Course {
      final Way way;
      final Spans.Sequences zs;
      final Spans.Sequences betweens;
      final FloatBuffer kept;
      private final Spans.Sequences us;
      private final Spans.Sequences deltas;
      private final Spans.Sequences bs;
      private final Spans.Sequences cs;
      private final FloatBuffer aOfAll;
      private final FloatBuffer dOfAll;
      private final FloatBuffer biasOfAll;

      Course(Way way, Value between) {
        this.way = way;
        this.zs = way.spans.sequences(z);
        this.betweens = way.spans.sequences(between);
        this.kept = isTrained() ? floats(way.kept) : null;
        this.us = way.spans.sequences(way.u);
        this.deltas = way.spans.sequences(way.delta);
        this.bs = way.spans.sequences(way.b);
        this.cs = way.spans.sequences(way.c);
        this.aOfAll = floats(way.a);
        this.dOfAll = floats(way.d);
        this.biasOfAll = floats(way.bias);
      }

      boolean isLast() {
        return way == ways.get(ways.size() - 1);
      }

      /** Before the first chunk. */
      final void begin() {
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
      final void beginChunk(int chunk) {
        Worker.this.beginChunk(chunk);
        for (int block = 0; block < Spans.parts(states, COLUMNS); block++) {
          bs.read(sequence, chunk, block, 1, numbers, at.b + block * tokens * COLUMNS);
          cs.read(sequence, chunk, block, 1, numbers, at.c + block * tokens * COLUMNS);
        }
        read(us, at.u);
        read(deltas, raw);
        loops.softplus(numbers, raw, shifts, width, tokens, raw, at.delta);
        loops.enter(numbers, at, width, tokens);
      }

      /** To y comes that of the way before this one. */
      final void addOther() {
        if (ways.size() > 1) {
          read(betweens, other);
          loops.add(numbers, other, tokens * width, at.y);
        }
      }

      /** Where the states of a block are kept that it has at the beginning of the chunk. */
      final int keptAt(int j) {
        int blocksBefore = (sequence * spans.chunks + chunk) * spans.blocks + firstBlock + j;
        return blocksBefore * states * COLUMNS;
      }
    }
  }

  private static FloatBuffer floats(Value value) {
    return value.buffer().asFloatBuffer();
  }

  // Forward.

  private final class Forward extends Worker {

    private final List<Course> courses =
        ways.stream().map(way -> new Course(way, between)).toList();
    private final Spans.Sequences ys = ways.get(ways.size() - 1).spans.sequences(y);

    @Override
    void run(int span) {
      courses.forEach(this::run);
    }

    private void run(Course course) {
      course.begin();
      for (int j = 0; j < count; j++) {
        clear(at.h(j), states * COLUMNS);
      }
      for (int i = 0; i < spans.chunks; i++) {
        course.beginChunk(i);
        for (int j = 0; j < count; j++) {
          if (course.kept != null) {
            course.kept.put(course.keptAt(j), numbers, at.h(j), states * COLUMNS);
          }
          loops.scan(numbers, at, j, width, tokens);
        }
        if (course.isLast()) {
          course.addOther();
          read(course.zs, gates);
          loops.gate(numbers, at.y, gates, tokens * width, at.y);
          write(at.y, ys);
        } else {
          write(at.y, course.betweens);
        }
      }
    }
  }

  // Backward.

  /** Gradients of a way's inputs, null for those that nobody wants, and sums on the way there. */
  private record WayBack(
      Way way,
      Value u,
      Value delta,
      Value a,
      Value b,
      Value c,
      Value d,
      Value bias,
      Value perSpan,
      Value perSequence) {}

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
    Value between = ways.size() == 1 ? null : scratch();
    if (between != null) {
      writes.add(between);
    }
    List<WayBack> back = ways.stream().map(way -> back(way, gradients)).toList();
    for (WayBack way : back) {
      writes.addAll(List.of(way.perSpan(), way.perSequence()));
    }
    List<Value> reads = reads();
    reads.add(dy);
    ways.forEach(way -> reads.add(way.kept));
    l.program.loop(
        "scan",
        19.0 * work(),
        reads,
        writes,
        () -> {
          Program.Body items =
              spans.dealt(l.program.team, () -> new Backward(dy, gradients[Z], between, back));
          List<Sums> sums = back.stream().map(Sums::new).toList();
          Team.Work rest = (member, members) -> sums.forEach(sum -> sum.run(member, members));
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

  private WayBack back(Way way, Value[] gradients) {
    return new WayBack(
        way,
        gradients[way.first],
        gradients[way.first + 1],
        gradients[way.first + 2],
        gradients[way.first + 3],
        gradients[way.first + 4],
        gradients[way.first + 5],
        gradients[way.biasAt],
        l.program.rowMajor(
            "scratch", Type.FLOAT32, spans.batch, spans.spans, 2, spans.length, states),
        l.program.rowMajor(
            "scratch", Type.FLOAT32, spans.batch, spans.blocks, states + 2, COLUMNS));
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
    private final List<CourseBack> courses;

    Backward(Value dy, Value dz, Value between, List<WayBack> ways) {
      this.courses = ways.stream().map(way -> new CourseBack(way, dy, dz, between)).toList();
    }

    private final class CourseBack extends Course {
      private final Spans.Sequences dys;
      private final Spans.Sequences dzs;
      private final Spans.Sequences dus;
      private final Spans.Sequences dDeltas;
      private final FloatBuffer perSpan;
      private final FloatBuffer perSequence;

      CourseBack(WayBack back, Value dy, Value dz, Value between) {
        super(back.way(), between);
        this.dys = way.spans.sequences(dy);
        this.dzs = way.spans.sequences(dz);
        this.dus = way.spans.sequences(back.u());
        this.dDeltas = way.spans.sequences(back.delta());
        this.perSpan = floats(back.perSpan());
        this.perSequence = floats(back.perSequence());
      }

      void run(int span) {
        begin();
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
        read(zs, gates);
        loops.dropSmall(numbers, given, size);
        loops.gate(numbers, given, gates, size, at.ofY);
        clear(at.ofDelta, size);
        clear(at.ofDrive, size);
        clear(at.ofB, tokens * states * COLUMNS);
        clear(at.ofC, tokens * states * COLUMNS);
        for (int j = 0; j < count; j++) {
          kept.get(keptAt(j), numbers, at.h(j), states * COLUMNS);
          loops.scanAgain(numbers, at, j, width, tokens);
          loops.scanBack(numbers, at, j, width, tokens);
        }
        if (isLast()) {
          addOther();
          loops.gateGradient(numbers, at.y, gates, given, size);
          write(gates, dzs);
        } else {
          write(at.y, betweens);
        }
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

    @Override
    void run(int span) {
      courses.forEach(course -> course.run(span));
    }
  }

  /** The second pass: sums over spans, and over sequences. */
  private final class Sums {
    private final Spans order;
    private final FloatBuffer perSpan;
    private final FloatBuffer perSequence;
    private final Rows[][] ofTokens = new Rows[2][]; // gradients of b and c
    private final FloatBuffer ofRates;
    private final FloatBuffer ofThrough;
    private final FloatBuffer ofShifts;

    Sums(WayBack back) {
      this.order = back.way().spans;
      this.perSpan = floats(back.perSpan());
      this.perSequence = floats(back.perSequence());
      this.ofTokens[0] = back.b() == null ? null : Spans.rows(back.b());
      this.ofTokens[1] = back.c() == null ? null : Spans.rows(back.c());
      this.ofRates = back.a() == null ? null : floats(back.a());
      this.ofThrough = back.d() == null ? null : floats(back.d());
      this.ofShifts = back.bias() == null ? null : floats(back.bias());
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
        int row = order.row(chunk) + t * order.step();
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
