package sparkvision.plan;

import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Function;
import java.util.stream.Stream;
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
 * <p>Where a sequence is cut into segments, each is first gone through with states that begin at
 * zero. From where they end, and from how much fades on the way, follow the states at the beginning
 * of every segment, since a state is a linear function of the one before; so it is with gradients,
 * from the last segment to the first.
 *
 * <p>In both directions an item of work takes one way through its span and then the other. What the
 * first gives before the gate is written where the second finds it; the gate and its gradient are
 * computed once.
 *
 * <p>Gradients of b and c, which all channels share, are summed over the blocks of a span at once
 * and over the spans of a sequence in a second pass, like those of a, d and delta-bias over the
 * sequences and their segments.
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
  private final int perToken; // gradients of b and c

  static void register(Map<Node.Kind, Kernel> kernels) {
    kernels.put(Node.Kind.SELECTIVE_SCAN, (node, l) -> new SelectiveScan(node, l).emit());
  }

  private SelectiveScan(Node node, Lowering l) {
    this.node = node;
    this.l = l;
    this.z = l.rows(l.in(node, Z));
    this.states = (int) node.input(2).size(1);
    this.perToken = Places.ofStatesPerToken(states);
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
    final Value handed; // see Joint

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
      this.handed = handed(spans);
    }

    List<Value> reads() {
      return List.of(u, delta, a, b, c, d, bias);
    }
  }

  /** Null if sequences are whole. */
  private Value handed(Spans spans) {
    return spans.segments == 1
        ? null
        : l.program.rowMajor(
            "scratch",
            Type.FLOAT32,
            spans.batch,
            spans.segments,
            spans.blocks,
            states + 1,
            COLUMNS);
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
    for (Way way : ways) {
      Stream.of(way.kept, way.handed).filter(Objects::nonNull).forEach(writes::add);
    }
    l.program.loop(
        "scan",
        6.0 * work(),
        reads(),
        writes,
        () -> items(ways, Ends::new, way -> new Joint(way, way.handed, false), Forward::new));
    l.bind(node.output(), y);
    if (isTrained()) {
      l.tape(this::emitBackward);
    }
  }

  /**
   * Has all items done: in both ways each, or, where sequences are cut, in one way after the other,
   * behind what segments hand to each other.
   */
  private <W> Program.Body items(
      List<W> ways,
      Function<W, Spans.Worker> ends,
      Function<W, Joint> joints,
      Function<List<W>, Spans.Worker> makers) {
    Team team = l.program.team;
    if (spans.segments == 1) {
      return spans.dealt(team, () -> makers.apply(ways));
    }
    List<Program.Body> bodies = new ArrayList<>();
    for (W way : ways) {
      bodies.add(spans.dealt(team, spans.segments, () -> ends.apply(way)));
      Joint joint = joints.apply(way);
      bodies.add(members -> members.run(joint::run));
      bodies.add(spans.dealt(team, spans.segments, () -> makers.apply(List.of(way))));
    }
    return members -> bodies.forEach(body -> body.run(members));
  }

  /** Products of a number per channel, token and state. */
  private double work() {
    return (double) ways.size() * z.elements() * states;
  }

  /** What both passes do with rows of a span's channels, a chunk of tokens at a time. */
  private abstract class Worker extends Spans.Worker {
    final ScanLoops loops = ScanLoops.best();
    final Places at = new Places(room, states, spans.span, CHUNK);
    final int inputs = room.add(spans.rows()); // u
    final int raw = room.add(spans.rows()); // delta + bias
    final int gates = room.add(spans.rows()); // z
    final int other = room.add(spans.rows()); // y of the other way
    final int through = room.add(spans.width()); // d
    private final int shifts = room.add(spans.width()); // bias

    Worker() {
      super(SelectiveScan.this.spans);
    }

    /** A way as this worker reads it. */
    class Course {
      final Way way;
      final Spans.Sequences zs;
      final Spans.Sequences betweens;
      final FloatBuffer kept;
      private final FloatBuffer handed;
      private final Spans.Sequences us;
      private final Spans.Sequences deltas;
      private final Spans.Sequences bs;
      private final Spans.Sequences cs;
      private final FloatBuffer aOfAll;
      private final FloatBuffer dOfAll;
      private final FloatBuffer biasOfAll;

      Course(Way way, Value between, Value handed) {
        this.way = way;
        this.handed = handed == null ? null : floats(handed);
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
        clear(through, width);
        clear(shifts, width);
        for (int j = 0; j < count; j++) {
          clear(at.a(j), at.states * COLUMNS);
          int first = (firstBlock + j) * COLUMNS;
          for (int i = 0; i < Math.min(COLUMNS, spans.channels - first); i++) {
            numbers[through + j * COLUMNS + i] = dOfAll.get(first + i);
            numbers[shifts + j * COLUMNS + i] = biasOfAll.get(first + i);
            for (int n = 0; n < states; n++) {
              numbers[at.a(j) + n * COLUMNS + i] =
                  ScanLoops.LOG2_E * aOfAll.get((first + i) * states + n);
            }
          }
        }
      }

      /** States, or their gradients, as the segment before hands them over; else zeros. */
      final void take(int j, int to) {
        clear(to, at.states * COLUMNS);
        if (handed != null) {
          handed.get(handedAt(j), numbers, to, states * COLUMNS);
        }
      }

      /** What {@link Joint} needs to know of the segment. */
      final void hand(int j, int ends, int sums) {
        handed.put(handedAt(j), numbers, ends, states * COLUMNS);
        handed.put(handedAt(j) + states * COLUMNS, numbers, sums + j * COLUMNS, COLUMNS);
      }

      private int handedAt(int j) {
        return way.spans.handedAt(sequence, segment, firstBlock + j, states);
      }

      /** Reads what the scan of a chunk needs; afterwards y is d·u. */
      final void beginChunk(int chunk) {
        Worker.this.beginChunk(chunk);
        for (int block = 0; block < Spans.parts(states, COLUMNS); block++) {
          bs.read(sequence, chunk, block, 1, numbers, at.b + block * tokens * COLUMNS);
          cs.read(sequence, chunk, block, 1, numbers, at.c + block * tokens * COLUMNS);
        }
        read(us, inputs);
        read(deltas, raw);
        loops.softplus(numbers, at, raw, shifts, width, tokens);
        loops.enter(numbers, at, inputs, through, width, tokens);
      }

      /** For the next way: y as it is. */
      final void leave() {
        loops.leave(numbers, at, width, tokens, other);
        write(other, betweens);
      }

      /** To y comes that of the way before this one. */
      final void addOther() {
        if (ways.size() > 1) {
          read(betweens, other);
          loops.add(numbers, at, other, width, tokens);
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

  /**
   * What segments hand to each other, with a number for each state and channel: where the states of
   * a segment end that begin at zero, and, behind the last state, the sum of delta. It becomes what
   * they begin with.
   */
  private final class Joint {
    private final Spans order;
    private final FloatBuffer handed;
    private final FloatBuffer a;
    private final boolean ofGradient; // that goes from the last segment to the first

    Joint(Way way, Value handed, boolean ofGradient) {
      this.order = way.spans;
      this.handed = floats(handed);
      this.a = floats(way.a);
      this.ofGradient = ofGradient;
    }

    void run(int member, int members) {
      int columns = spans.blocks * COLUMNS;
      int end = Team.share(spans.batch * columns, member + 1, members);
      for (int i = Team.share(spans.batch * columns, member, members); i < end; i++) {
        for (int n = 0; n < states; n++) {
          join(i / columns, i % columns, n);
        }
      }
    }

    private void join(int sequence, int column, int n) {
      double rate = column < spans.channels ? a.get(column * states + n) : 0;
      float begin = 0;
      for (int i = 0; i < spans.segments; i++) {
        int segment = ofGradient ? spans.segments - 1 - i : i;
        int block = order.handedAt(sequence, segment, column / COLUMNS, states);
        int at = block + n * COLUMNS + column % COLUMNS;
        float sum = handed.get(block + states * COLUMNS + column % COLUMNS);
        float end = handed.get(at);
        handed.put(at, begin);
        begin = (float) (Math.exp(rate * sum) * begin + end);
      }
    }
  }

  // Forward.

  /** Where the states of a segment end that begin at zero. */
  private final class Ends extends Worker {
    private final Course course;
    private final int sums = room.add(spans.width());

    Ends(Way way) {
      this.course = new Course(way, between, way.handed);
    }

    @Override
    void run(int span) {
      if (segment == spans.segments - 1) {
        return;
      }
      course.begin();
      clear(sums, width);
      for (int j = 0; j < count; j++) {
        clear(at.h(j), at.states * COLUMNS);
      }
      for (int i = firstChunk; i < endChunk; i++) {
        course.beginChunk(i);
        loops.sumDelta(numbers, at, width, tokens, sums);
        for (int j = 0; j < count; j++) {
          loops.scan(numbers, at, j, tokens);
        }
      }
      for (int j = 0; j < count; j++) {
        course.hand(j, at.h(j), sums);
      }
    }
  }

  private final class Forward extends Worker {

    private final List<Course> courses;
    private final Spans.Sequences ys = ways.get(ways.size() - 1).spans.sequences(y);

    Forward(List<Way> ways) {
      this.courses = ways.stream().map(way -> new Course(way, between, way.handed)).toList();
    }

    @Override
    void run(int span) {
      courses.forEach(this::run);
    }

    private void run(Course course) {
      course.begin();
      for (int j = 0; j < count; j++) {
        course.take(j, at.h(j));
      }
      for (int i = firstChunk; i < endChunk; i++) {
        course.beginChunk(i);
        for (int j = 0; j < count; j++) {
          if (course.kept != null) {
            course.kept.put(course.keptAt(j), numbers, at.h(j), states * COLUMNS);
          }
          loops.scan(numbers, at, j, tokens);
        }
        if (course.isLast()) {
          course.addOther();
          read(course.zs, gates);
          loops.gate(numbers, at, gates, width, tokens);
          write(gates, ys);
        } else {
          course.leave();
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
      Value perSegment,
      Value handed) {}

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
      Stream.of(way.perSpan(), way.perSegment(), way.handed())
          .filter(Objects::nonNull)
          .forEach(writes::add);
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
              items(
                  back,
                  way -> new EndsBack(way, dy),
                  way -> new Joint(way.way(), way.handed(), true),
                  some -> new Backward(dy, gradients[Z], between, some));
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
            "scratch", Type.FLOAT32, spans.batch, spans.spans, spans.length, perToken),
        l.program.rowMajor(
            "scratch",
            Type.FLOAT32,
            spans.batch,
            spans.segments,
            spans.blocks,
            states + 2,
            COLUMNS),
        handed(way.spans));
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

  /** What the gradient of the states is at a segment's beginning that is zero at its end. */
  private final class EndsBack extends Worker {
    private final Course course;
    private final Spans.Sequences dys;
    private final int given = room.add(spans.rows());
    private final int sums = room.add(spans.width());

    EndsBack(WayBack back, Value dy) {
      this.course = new Course(back.way(), null, back.handed());
      this.dys = back.way().spans.sequences(dy);
    }

    @Override
    void run(int span) {
      if (segment == 0) {
        return;
      }
      course.begin();
      clear(sums, width);
      for (int j = 0; j < count; j++) {
        clear(at.ofH(j), at.states * COLUMNS);
      }
      for (int i = endChunk - 1; i >= firstChunk; i--) {
        course.beginChunk(i);
        loops.sumDelta(numbers, at, width, tokens, sums);
        read(dys, given);
        read(course.zs, gates);
        loops.gateBack(numbers, at, gates, given, width, tokens);
        for (int j = 0; j < count; j++) {
          loops.carryBack(numbers, at, j, tokens);
        }
      }
      for (int j = 0; j < count; j++) {
        course.hand(j, at.ofH(j), sums);
      }
    }
  }

  private final class Backward extends Worker {

    private final int given = room.add(spans.rows());
    private final int ofThrough = room.add(spans.width());
    private final int ofShifts = room.add(spans.width());
    private final float[] folded = new float[CHUNK * perToken];
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
      private final FloatBuffer perSegment;

      CourseBack(WayBack back, Value dy, Value dz, Value between) {
        super(back.way(), between, back.handed());
        this.dys = way.spans.sequences(dy);
        this.dzs = way.spans.sequences(dz);
        this.dus = way.spans.sequences(back.u());
        this.dDeltas = way.spans.sequences(back.delta());
        this.perSpan = floats(back.perSpan());
        this.perSegment = floats(back.perSegment());
      }

      void run(int span) {
        begin();
        clear(ofThrough, width);
        clear(ofShifts, width);
        for (int j = 0; j < count; j++) {
          clear(at.h(j), at.states * COLUMNS);
          clear(at.ofA(j), at.states * COLUMNS);
          take(j, at.ofH(j));
        }
        for (int i = endChunk - 1; i >= firstChunk; i--) {
          beginChunk(i);
          goBack();
          keepOfStates(span);
        }
        for (int j = 0; j < count; j++) {
          int before = (sequence * spans.segments + segment) * spans.blocks + firstBlock + j;
          int first = before * (states + 2) * COLUMNS;
          perSegment.put(first, numbers, at.ofA(j), states * COLUMNS);
          perSegment.put(first + states * COLUMNS, numbers, ofThrough + j * COLUMNS, COLUMNS);
          perSegment.put(first + (states + 1) * COLUMNS, numbers, ofShifts + j * COLUMNS, COLUMNS);
        }
      }

      /** What was read of the chunk gives way to its gradients. */
      private void goBack() {
        read(dys, given);
        read(zs, gates);
        loops.gateBack(numbers, at, gates, given, width, tokens);
        clear(at.ofStates, tokens * perToken * COLUMNS);
        for (int j = 0; j < count; j++) {
          kept.get(keptAt(j), numbers, at.h(j), states * COLUMNS);
          loops.scanBack(numbers, at, j, tokens);
        }
        if (isLast()) {
          addOther();
          loops.gateGradient(numbers, at, gates, given, width, tokens);
          write(gates, dzs);
        } else {
          leave();
        }
        loops.enterGradient(numbers, at, inputs, through, width, tokens, ofThrough);
        write(inputs, dus);
        loops.softplusGradient(numbers, at, raw, width, tokens, ofShifts);
        write(raw, dDeltas);
      }

      /** Sums of the span's channels: a number per state and token for b, and one for c. */
      private void keepOfStates(int span) {
        ScanLoops.fold(numbers, at.ofStates, tokens * perToken, folded);
        int before = (sequence * spans.spans + span) * spans.length + chunk * CHUNK;
        perSpan.put(before * perToken, folded, 0, tokens * perToken);
      }
    }

    @Override
    void run(int span) {
      courses.forEach(course -> course.run(span));
    }
  }

  /** The second pass: sums over spans, and over segments. */
  private final class Sums {
    private final Spans order;
    private final FloatBuffer perSpan;
    private final FloatBuffer perSegment;
    private final Rows[] ofB; // by sequence
    private final Rows[] ofC;
    private final FloatBuffer ofRates;
    private final FloatBuffer ofThrough;
    private final FloatBuffer ofShifts;

    Sums(WayBack back) {
      this.order = back.way().spans;
      this.perSpan = floats(back.perSpan());
      this.perSegment = floats(back.perSegment());
      this.ofB = back.b() == null ? null : Spans.rows(back.b());
      this.ofC = back.c() == null ? null : Spans.rows(back.c());
      this.ofRates = back.a() == null ? null : floats(back.a());
      this.ofThrough = back.d() == null ? null : floats(back.d());
      this.ofShifts = back.bias() == null ? null : floats(back.bias());
    }

    void run(int member, int members) {
      float[] sum = new float[CHUNK * perToken];
      float[] part = new float[CHUNK * perToken];
      int end = Team.share(spans.batch * spans.chunks, member + 1, members);
      for (int i = Team.share(spans.batch * spans.chunks, member, members); i < end; i++) {
        overSpans(i / spans.chunks, i % spans.chunks, sum, part);
      }
      int last = Team.share(spans.channels, member + 1, members);
      for (int channel = Team.share(spans.channels, member, members); channel < last; channel++) {
        overSegments(channel);
      }
    }

    private void overSpans(int sequence, int chunk, float[] sum, float[] part) {
      int tokens = spans.tokens(chunk);
      Arrays.fill(sum, 0);
      for (int span = 0; span < spans.spans; span++) {
        int before = (sequence * spans.spans + span) * spans.length + chunk * CHUNK;
        perSpan.get(before * perToken, part, 0, tokens * perToken);
        for (int i = 0; i < tokens * perToken; i++) {
          sum[i] += part[i];
        }
      }
      for (int t = 0; t < tokens; t++) {
        int row = order.row(chunk) + t * order.step();
        for (int n = 0; n < states; n++) {
          int at = Places.ofB(n, t, tokens);
          if (ofB != null) {
            ofB[sequence].set(row, n, sum[at]);
          }
          if (ofC != null) {
            ofC[sequence].set(row, n, sum[at + 1]);
          }
        }
      }
    }

    private void overSegments(int channel) {
      for (int n = 0; n < states + 2; n++) {
        float sum = 0;
        for (int segment = 0; segment < spans.batch * spans.segments; segment++) {
          int block = segment * spans.blocks + channel / COLUMNS;
          sum += perSegment.get((block * (states + 2) + n) * COLUMNS + channel % COLUMNS);
        }
        FloatBuffer to = n < states ? ofRates : n == states ? ofThrough : ofShifts;
        if (to != null) {
          to.put(n < states ? channel * states + n : channel, sum);
        }
      }
    }
  }
}
