package sparkvision.plan;

import static org.bytedeco.dnnl.global.dnnl.*;

import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Supplier;
import sparkvision.graph.Node;
import sparkvision.kernels.AttentionLoops;
import sparkvision.kernels.Desc;
import sparkvision.kernels.Dnnl;
import sparkvision.kernels.Loops;
import sparkvision.kernels.Memory;
import sparkvision.kernels.Primitive;
import sparkvision.kernels.Rows;
import sparkvision.kernels.Team;
import sparkvision.kernels.Type;

/**
 * Attention, O = softmax(scale·Q·Kᵀ)·V, and its gradients. The map of a head can be larger than all
 * else, so it is made tile by tile, used and overwritten, and made again in the backward pass.
 *
 * <p>N queries and M keys of d channels, values of e channels. The map is transposed: a row per
 * key, and in a tile the columns of some queries.
 *
 * <pre>
 *   forward    S = K·Qᵀ        P = softmax of scale·S down the columns      O = Pᵀ·V
 *   backward   P = exp(scale·S − l)     dP = V·dOᵀ     dS = P∘(dP − D)
 *              dV = P·dO       dQ = scale·dSᵀ·K        dK = scale·dS·Q
 * </pre>
 *
 * <p>Kept between the passes is a number per query, l = log Σ exp(scale·S). The other number per
 * query, D = Σ P∘dP, equals Σ O∘dO. As the map is transposed, both are rows, which oneDNN adds to a
 * product before it writes it: P and dS leave their products ready. A softmax down the columns
 * needs no sums across a vector. With bfloat16, P and dS are rounded to it for the products;
 * everything else is float32.
 *
 * <p>Heads are dealt out to the members of the team, who compute alone; if there are fewer heads
 * than members, all work on each.
 *
 * @see <a href="https://arxiv.org/abs/2205.14135">Dao et al., FlashAttention, 2022, section 3.1 and
 *     appendix B</a>
 */
final class Attention {

  /** Elements of a tile: half of what the cache of a core holds. */
  private static final long ROOM = 1 << 17;

  /** Queries in a tile at least, however many keys there are; fewer make slow products. */
  private static final long FEWEST = 64;

  /**
   * The score of a query that is not to attend to a key; its power is nothing beside the others.
   */
  private static final float HIDDEN = -1e30f;

  /** Rows of a tile begin at multiples of so many elements. */
  private static final long LANES = AttentionLoops.COLUMNS;

  private final Lowering l;
  private final Value q; // (..., N, d), the last axis densest, as in all others
  private final Value k; // (..., M, d)
  private final Value v; // (..., M, e)
  private final Value logs; // (heads, N): −l / scale; null in inference
  private final int heads;
  private final int queries;
  private final int keys;
  private final int channels;
  private final int values;
  private final double scale;
  private final int tile;
  private final boolean toItself; // whether query i attends to key i
  private final boolean together; // all members work on each head

  static void register(Map<Node.Kind, Kernel> kernels) {
    kernels.put(Node.Kind.ATTENTION, Attention::lower);
  }

  private static void lower(Node node, Lowering l) {
    Value q = l.cast(lastDensest(l, l.in(node, 0)), l.compute);
    Value k = l.cast(lastDensest(l, l.in(node, 1)), l.compute);
    Value v = l.cast(lastDensest(l, l.in(node, 2)), l.compute);
    Value y = l.fresh(node.output(), l.compute, lastDensest(node.output().shape(), q));
    Value logs = l.wantsAny(node) ? logs(l, q) : null;
    Attention attention = new Attention(l, q, k, v, logs, node.number("scale"), true);
    attention.forward(y);
    l.bind(node.output(), y);
    if (l.wantsAny(node)) {
      l.tape(() -> attention.backward(node, y));
    }
  }

  /** A number per query, to be kept between the passes. */
  static Value logs(Lowering l, Value q) {
    long queries = q.size(q.rank() - 2);
    long heads = q.elements() / queries / q.size(q.rank() - 1);
    return l.program.rowMajor("attention", Type.FLOAT32, heads, queries);
  }

  /**
   * Attention of all heads, to be computed forward and backward.
   *
   * @param logs null if nobody asks for them
   * @param toItself whether query i attends to key i; if not, there are as many of both, and two at
   *     least
   */
  Attention(Lowering l, Value q, Value k, Value v, Value logs, double scale, boolean toItself) {
    this.l = l;
    this.q = q;
    this.k = k;
    this.v = v;
    this.logs = logs;
    this.scale = scale;
    this.toItself = toItself;
    int rank = q.rank();
    this.queries = (int) q.size(rank - 2);
    this.keys = (int) k.size(rank - 2);
    this.channels = (int) q.size(rank - 1);
    this.values = (int) v.size(rank - 1);
    this.heads = (int) (q.elements() / queries / channels);
    this.tile = tile(queries, keys);
    this.together = heads < l.program.team.threads();
  }

  /** How many queries at once. */
  static int tile(long queries, long keys) {
    if (queries * keys <= ROOM) {
      return (int) queries;
    }
    long most = Math.max(FEWEST, ROOM / keys / LANES * LANES);
    long tiles = (queries + most - 1) / most;
    return (int) Math.min(queries, padded((queries + tiles - 1) / tiles));
  }

  private static long padded(long count) {
    return (count + LANES - 1) / LANES * LANES;
  }

  /** x, copied unless its last axis is the densest. */
  private static Value lastDensest(Lowering l, Value x) {
    int last = x.rank() - 1;
    return x.size(last) == 1 || x.stride(last) == 1 ? x : l.laid(x, lastDensest(x.dims(), x));
  }

  /**
   * Dense strides in the order of the axes of {@code like}, except that the last one is densest.
   */
  private static long[] lastDensest(long[] dims, Value like) {
    int last = dims.length - 1;
    int[] others = Arrays.stream(like.order()).filter(axis -> axis != last).toArray();
    int[] order = Arrays.copyOf(others, dims.length);
    order[last] = last;
    return Value.inOrder(dims, order);
  }

  /** Emits y (..., N, e) and the logarithms. */
  void forward(Value y) {
    double flop = 2.0 * heads * queries * keys * (channels + values);
    List<Value> writes = logs == null ? List.of(y) : List.of(y, logs);
    loop(flop, List.of(q, k, v), writes, () -> new Forward(y));
  }

  private void backward(Node node, Value y) {
    Value given = l.gradient(node.output());
    if (given == null) {
      return;
    }
    Value dy = l.cast(lastDensest(l, given), l.compute);
    Value[] gradients = new Value[3];
    for (int i = 0; i < gradients.length; i++) {
      gradients[i] = l.wants(node, i) ? gradient(node, i) : null;
    }
    backward(y, dy, gradients, false);
    for (int i = 0; i < gradients.length; i++) {
      if (gradients[i] != null) {
        l.contribute(node, i, gradients[i]);
      }
    }
  }

  /**
   * Emits the gradients.
   *
   * @param y what came out, of which Σ y∘dy is read
   * @param gradients of q, k and v; null where nobody wants them
   * @param adding whether they are added to what is there
   */
  void backward(Value y, Value dy, Value[] gradients, boolean adding) {
    List<Value> writes = Arrays.stream(gradients).filter(Objects::nonNull).toList();
    List<Value> reads = new ArrayList<>(List.of(q, k, v, y, dy, logs));
    if (adding) {
      reads.addAll(writes);
    }
    double flop = 2.0 * heads * queries * keys * (3.0 * channels + 2.0 * values);
    loop(flop, reads, writes, () -> new Backward(y, dy, gradients, adding));
  }

  /** Where the gradient of an input is written: where it belongs, if that is known. */
  private Value gradient(Node node, int index) {
    Value place = l.gradientPlace(node, index);
    if (place != null
        && (place.size(place.rank() - 1) == 1 || place.stride(place.rank() - 1) == 1)) {
      return place;
    }
    Value x = l.in(node, index);
    return l.fresh(node.input(index), x.type, lastDensest(x.dims(), x));
  }

  // The step: workers of one sort see to all heads.

  private void loop(double flop, List<Value> reads, List<Value> writes, Supplier<Worker> maker) {
    Worker[] workers = new Worker[together ? 1 : l.program.team.threads()];
    prepare(() -> Arrays.setAll(workers, i -> maker.get()));
    Value memory = l.program.rowMajor("scratch", Type.FLOAT32, workers.length, workers[0].floats());
    List<Value> written = new ArrayList<>(writes);
    written.add(memory);
    l.program.loop(
        "attention",
        flop,
        reads,
        written,
        () -> {
          prepare(
              () -> {
                for (int i = 0; i < workers.length; i++) {
                  workers[i].prepare(memory.narrowed(0, i, 1, 1));
                }
              });
          return together ? workers[0]::runAll : dealt(workers);
        });
  }

  /** Describes or prepares operations for as many threads as will run each. */
  private void prepare(Runnable preparation) {
    if (together) {
      preparation.run();
    } else {
      l.program.team.alone(preparation);
    }
  }

  private Program.Body dealt(Worker[] workers) {
    Team self = new Team(1);
    AtomicInteger next = new AtomicInteger();
    // Whoever is free takes the next head; what comes out does not depend on who it was.
    Team.Work work =
        (m, n) -> {
          for (int head = next.getAndIncrement(); head < heads; head = next.getAndIncrement()) {
            workers[m].run(head, self);
          }
        };
    return team -> {
      next.set(0);
      team.run(work);
    };
  }

  /** Computes a head at a time, in memory of its own. */
  private abstract class Worker {

    private final List<Product> products = new ArrayList<>();
    private long floats;
    private long workspace; // bytes that the largest product asks for
    private Value memory;

    /** Sets memory aside, to be found by {@link #rows}; returns where it begins. */
    final long room(long count, Type type) {
      long begin = floats;
      floats += padded((count * type.bytes() + Float.BYTES - 1) / Float.BYTES);
      return begin;
    }

    final Product product(Desc a, Desc b, Desc bias, Desc c, Dnnl.PostOps post, Desc factor) {
      Product product = new Product(a, b, bias, c, post, factor);
      workspace = Math.max(workspace, product.primitive.scratch().bytes());
      products.add(product);
      return product;
    }

    final long floats() {
      return Math.max(1, floats + padded(workspace / Float.BYTES + 1));
    }

    void prepare(Value memory) {
      this.memory = memory;
      products.forEach(product -> product.prepare(address(floats)));
    }

    final long address(long begin) {
      return memory.address() + begin * Float.BYTES;
    }

    /** Sets a part of the memory to zero. */
    final void fill(long begin, long bytes) {
      Memory whole = memory.storage.memory;
      whole.fill(address(begin) - whole.address(), bytes, 0);
    }

    /** A part of the memory as rows. */
    final Rows rows(long begin, Type type, long rows, int stride) {
      Memory whole = memory.storage.memory;
      long offset = address(begin) - whole.address();
      return new Rows(whole.buffer(offset, rows * stride * type.bytes()), type, stride);
    }

    abstract void run(int head, Team team);

    final void runAll(Team team) {
      for (int head = 0; head < heads; head++) {
        run(head, team);
      }
    }
  }

  /** c = a·b [+ bias] and what follows, where c, a and b lie elsewhere every time. */
  private final class Product {

    private final Primitive primitive;
    private final List<Integer> ids = new ArrayList<>();
    private final List<Desc> layouts = new ArrayList<>();

    /**
     * @param factor what the product is multiplied by before it is written, or null
     */
    Product(Desc a, Desc b, Desc bias, Desc c, Dnnl.PostOps post, Desc factor) {
      argument(DNNL_ARG_SRC, a);
      argument(DNNL_ARG_WEIGHTS, b);
      argument(DNNL_ARG_DST, c);
      if (bias != null) {
        argument(DNNL_ARG_BIAS, bias);
      }
      if (factor != null) {
        argument(Dnnl.PostOps.argument(0), factor);
        post.binary(dnnl_binary_mul, factor);
      }
      primitive = l.dnnl.matmul(a, b, bias, c, post);
    }

    private void argument(int id, Desc layout) {
      ids.add(id);
      layouts.add(layout);
    }

    void prepare(long workspace) {
      for (int i = 0; i < ids.size(); i++) {
        primitive.bind(ids.get(i), layouts.get(i), workspace); // moved before every run
      }
      if (primitive.scratch().bytes() > 0) {
        primitive.bind(DNNL_ARG_SCRATCHPAD, primitive.scratch(), workspace);
      }
      primitive.prepare();
    }

    void run(long a, long b, long c) {
      primitive.move(0, a);
      primitive.move(1, b);
      primitive.move(2, c);
      primitive.run();
    }

    void run(long a, long b, long bias, long c) {
      primitive.move(3, bias);
      run(a, b, c);
    }

    void run(long a, long b, long bias, long c, long factor) {
      primitive.move(4, factor);
      run(a, b, bias, c);
    }
  }

  // Heads and tiles.

  /** Where the queries of a tile meet the keys of the same numbers. */
  private static void fillDiagonal(Rows map, int first, int width, float value) {
    for (int column = 0; column < width; column++) {
      map.set(first + column, column, value);
    }
  }

  /** One head of (..., R, C): (R, C). */
  private static Value head(Value x, int head) {
    Value part = x;
    long rest = head;
    for (int axis = x.rank() - 3; axis >= 0; axis--) {
      part = part.narrowed(axis, rest % x.size(axis), 1, 1);
      rest /= x.size(axis);
    }
    return part.matrix();
  }

  /** Where the heads of (..., R, C) lie. */
  private final class Heads {
    private final long[] addresses = new long[heads];
    private final long pitch; // bytes from row to row

    Heads(Value x) {
      for (int head = 0; head < heads; head++) {
        addresses[head] = head(x, head).address();
      }
      pitch = head(x, 0).stride(0) * x.type.bytes();
    }

    long address(int head) {
      return addresses[head];
    }

    /** Of a row of a head. */
    long address(int head, int row) {
      return addresses[head] + row * pitch;
    }
  }

  private static Rows[] rows(Value x, int heads) {
    Rows[] rows = new Rows[heads];
    for (int head = 0; head < heads; head++) {
      Value matrix = head(x, head);
      rows[head] = new Rows(matrix.buffer(), x.type, (int) matrix.stride(0));
    }
    return rows;
  }

  /** (R, C) of a head. */
  private Desc whole(Value x) {
    return head(x, 0).desc(l.dnnl);
  }

  /** (width, C): as many rows of a head. */
  private Desc part(Value x, int width) {
    return head(x, 0).narrowed(0, 0, width, 1).desc(l.dnnl);
  }

  private Desc partTransposed(Value x, int width) {
    return head(x, 0).narrowed(0, 0, width, 1).permuted(1, 0).desc(l.dnnl);
  }

  /** (M, width): a tile of the map. */
  private Desc map(Type type, int width) {
    return l.dnnl.strided(type, new long[] {keys, width}, new long[] {pitch(width), 1});
  }

  private Desc mapTransposed(Type type, int width) {
    return l.dnnl.strided(type, new long[] {width, keys}, new long[] {1, pitch(width)});
  }

  /** From row to row of a tile: padded, and no power of two, whose rows share few cache lines. */
  private static int pitch(int width) {
    long pitch = padded(width);
    return (int) (pitch % 64 == 0 ? pitch + LANES : pitch);
  }

  /** A number per query. */
  private Desc perQuery(int width) {
    return l.dnnl.strided(Type.FLOAT32, new long[] {1, width}, new long[] {width, 1});
  }

  private static Dnnl.PostOps nothing() {
    return Dnnl.PostOps.none();
  }

  // Forward.

  private final class Forward extends Worker {

    private final Value y;
    private final AttentionLoops loops = AttentionLoops.best();
    private final long scores = room((long) keys * pitch(tile), Type.FLOAT32);
    private final long weights =
        l.compute == Type.FLOAT32 ? scores : room((long) keys * pitch(tile), l.compute);
    private final long output = room((long) tile * values, Type.FLOAT32);
    private final ForwardTile usual = new ForwardTile(tile);
    private final ForwardTile last = new ForwardTile(queries - (queries - 1) / tile * tile);
    private final float[] sums = new float[pitch(tile)];
    private final float[] logarithms = new float[pitch(tile)];
    private final Team.Work powers = this::powers;
    private final Team.Work division = this::divide;
    private Heads qHeads;
    private Heads kHeads;
    private Heads vHeads;
    private Rows outputRows;
    private Rows[] yRows;
    private FloatBuffer kept;
    private ForwardTile present;
    private int head;
    private int first; // query of the tile

    Forward(Value y) {
      this.y = y;
    }

    private final class ForwardTile {
      final int width;
      final Product scores;
      final Product output;
      Rows scoreRows;
      Rows weightRows;

      ForwardTile(int width) {
        this.width = width;
        Desc map = map(Type.FLOAT32, width);
        long[] dims = {width, values};
        Desc result = l.dnnl.strided(Type.FLOAT32, dims, Value.rowMajor(dims));
        this.scores = product(whole(k), partTransposed(q, width), null, map, nothing(), null);
        this.output =
            product(mapTransposed(l.compute, width), whole(v), null, result, nothing(), null);
      }

      void prepare() {
        scoreRows = rows(Forward.this.scores, Type.FLOAT32, keys, pitch(width));
        weightRows = rows(weights, l.compute, keys, pitch(width));
      }
    }

    @Override
    void prepare(Value memory) {
      super.prepare(memory);
      usual.prepare();
      last.prepare();
      qHeads = new Heads(q);
      kHeads = new Heads(k);
      vHeads = new Heads(v);
      outputRows = rows(output, Type.FLOAT32, tile, values);
      yRows = Attention.rows(y, heads);
      kept = logs == null ? null : logs.buffer().asFloatBuffer();
    }

    @Override
    void run(int head, Team team) {
      this.head = head;
      for (first = 0; first < queries; first += tile) {
        present = first + tile <= queries ? usual : last;
        present.scores.run(kHeads.address(head), qHeads.address(head, first), address(scores));
        if (!toItself) {
          fillDiagonal(present.scoreRows, first, present.width, HIDDEN);
        }
        team.run(powers);
        present.output.run(address(weights), vHeads.address(head), address(output));
        team.run(division);
        if (kept != null) {
          kept.put(head * queries + first, logarithms, 0, present.width);
        }
      }
    }

    /** Members share the columns, a vector's worth at a time. */
    private void powers(int member, int members) {
      int vectors = (int) (padded(present.width) / LANES);
      int begin = (int) (Team.share(vectors, member, members) * LANES);
      int end = (int) (Team.share(vectors, member + 1, members) * LANES);
      loops.powersDown(
          present.scoreRows, present.weightRows, keys, begin, end, (float) scale, sums, logarithms);
      float factor = scale == 0 ? 0 : (float) (-1 / scale);
      for (int column = begin; column < end; column++) {
        logarithms[column] *= factor;
      }
    }

    private void divide(int member, int members) {
      int begin = Team.share(present.width, member, members);
      int end = Team.share(present.width, member + 1, members);
      loops.divideRows(outputRows, yRows[head], first, values, begin, end, sums);
    }
  }

  // Backward.

  private final class Backward extends Worker {

    private final Value y;
    private final Value dy;
    private final Value[] gradients; // of q, k, v; null where not wanted
    private final boolean adding;
    private final AttentionLoops loops = AttentionLoops.best();
    private final boolean tiled = tile < queries;
    private final Sum dk;
    private final Sum dv;
    private final long weights = room((long) keys * pitch(tile), l.compute);
    private final long changes = room((long) keys * pitch(tile), l.compute);
    private final long drops = room(queries, Type.FLOAT32);
    private final BackwardTile first;
    private final BackwardTile usual;
    private final BackwardTile last;
    private final float[] sums = new float[queries];
    private final Team.Work products = this::products;
    private Heads qHeads;
    private Heads kHeads;
    private Heads vHeads;
    private Heads dyHeads;
    private Heads dqHeads;
    private Heads logHeads;
    private Rows[] outputs;
    private Rows[] gradientRows;
    private FloatBuffer dropBuffer;
    private int head;

    Backward(Value y, Value dy, Value[] gradients, boolean adding) {
      this.y = y;
      this.dy = dy;
      this.gradients = gradients;
      this.adding = adding;
      this.dk = gradients[1] == null ? null : new Sum(gradients[1]);
      this.dv = gradients[2] == null ? null : new Sum(gradients[2]);
      this.first = new BackwardTile(tile, true);
      this.usual = tiled ? new BackwardTile(tile, false) : first;
      this.last = tiled ? new BackwardTile(queries - (queries - 1) / tile * tile, false) : first;
    }

    /**
     * A gradient to which every tile adds: in float32, then copied if it is kept in another type.
     */
    private final class Sum {
      final Value target;
      final boolean apart;
      final long begin;
      final Desc desc;
      Heads heads;
      Rows sums;
      Rows[] targets;

      Sum(Value target) {
        long columns = target.size(target.rank() - 1);
        this.target = target;
        this.apart = tiled && target.type != Type.FLOAT32;
        this.begin = apart ? room(keys * columns, Type.FLOAT32) : 0;
        this.desc =
            apart
                ? l.dnnl.strided(Type.FLOAT32, new long[] {keys, columns}, new long[] {columns, 1})
                : whole(target);
      }

      /** Whether a tile adds to what is there, or is the first to write. */
      boolean adds(boolean first) {
        return !first || (adding && !apart);
      }

      void prepare() {
        heads = new Heads(target);
        if (apart) {
          int columns = (int) target.size(target.rank() - 1);
          sums = rows(begin, Type.FLOAT32, keys, columns);
          targets = Attention.rows(target, Attention.this.heads);
        }
      }

      long address() {
        return apart ? Backward.this.address(begin) : heads.address(head);
      }

      void finish() {
        if (apart) {
          Loops.best().copy(sums, targets[head], adding, sums.stride(), 0, keys);
        }
      }
    }

    private final class BackwardTile {
      final Product weights;
      final Product changes;
      final Product dq;
      final Product dk;
      final Product dv;
      final int width;
      Rows weightRows;

      BackwardTile(int width, boolean first) {
        this.width = width;
        Type type = l.compute;
        Desc map = map(type, width);
        Dnnl.PostOps exponential =
            nothing()
                .activation(
                    dnnl_eltwise_linear, (float) scale, scale == 0 ? (float) -Math.log(keys) : 0)
                .activation(dnnl_eltwise_exp, 0, 0);
        this.weights =
            product(whole(k), partTransposed(q, width), perQuery(width), map, exponential, null);
        this.dv =
            gradients[2] == null
                ? null
                : product(
                    map,
                    part(dy, width),
                    null,
                    Backward.this.dv.desc,
                    summed(nothing(), Backward.this.dv.adds(first)),
                    null);
        boolean more = gradients[0] != null || gradients[1] != null;
        this.changes =
            more
                ? product(whole(v), partTransposed(dy, width), perQuery(width), map, nothing(), map)
                : null;
        this.dq =
            gradients[0] == null
                ? null
                : product(
                    mapTransposed(type, width),
                    whole(k),
                    null,
                    part(gradients[0], width),
                    summed(scaled(), adding),
                    null);
        this.dk =
            gradients[1] == null
                ? null
                : product(
                    map,
                    part(q, width),
                    null,
                    Backward.this.dk.desc,
                    summed(scaled(), Backward.this.dk.adds(first)),
                    null);
      }

      void prepare() {
        weightRows = rows(Backward.this.weights, l.compute, keys, pitch(width));
      }

      /**
       * Sets both maps to zero, and what lies between their rows with them: oneDNN multiplies whole
       * tiles of bfloat16s, what is beyond the end by zero, and that must not be NaN.
       */
      void clear() {
        if (l.compute == Type.BFLOAT16) {
          long bytes = (long) keys * pitch(width) * l.compute.bytes();
          fill(Backward.this.weights, bytes);
          fill(Backward.this.changes, bytes);
        }
      }

      private Dnnl.PostOps scaled() {
        return nothing().activation(dnnl_eltwise_linear, (float) scale, 0);
      }

      private Dnnl.PostOps summed(Dnnl.PostOps post, boolean adding) {
        return adding ? post.accumulate() : post;
      }
    }

    @Override
    void prepare(Value memory) {
      super.prepare(memory);
      qHeads = new Heads(q);
      kHeads = new Heads(k);
      vHeads = new Heads(v);
      dyHeads = new Heads(dy);
      logHeads = new Heads(logs.reshaped(heads, queries, 1));
      first.prepare();
      usual.prepare();
      last.prepare();
      if (gradients[0] != null) {
        dqHeads = new Heads(gradients[0]);
      }
      if (dk != null) {
        dk.prepare();
      }
      if (dv != null) {
        dv.prepare();
      }
      outputs = Attention.rows(y, heads);
      gradientRows = Attention.rows(dy, heads);
      dropBuffer = rows(drops, Type.FLOAT32, 1, queries).data().asFloatBuffer();
    }

    @Override
    void run(int head, Team team) {
      this.head = head;
      team.run(products);
      dropBuffer.put(0, sums, 0, queries);
      for (int from = 0; from < queries; from += tile) {
        BackwardTile present = from == 0 ? first : from + tile <= queries ? usual : last;
        long query = qHeads.address(head, from);
        long dOutput = dyHeads.address(head, from);
        present.clear();
        present.weights.run(
            kHeads.address(head), query, logHeads.address(head, from), address(weights));
        if (!toItself) {
          fillDiagonal(present.weightRows, from, present.width, 0);
        }
        if (present.dv != null) {
          present.dv.run(address(weights), dOutput, dv.address());
        }
        if (present.changes != null) {
          present.changes.run(
              vHeads.address(head),
              dOutput,
              address(drops) + from * (long) Float.BYTES,
              address(changes),
              address(weights));
        }
        if (present.dq != null) {
          present.dq.run(address(changes), kHeads.address(head), dqHeads.address(head, from));
        }
        if (present.dk != null) {
          present.dk.run(address(changes), query, dk.address());
        }
      }
      if (dk != null) {
        dk.finish();
      }
      if (dv != null) {
        dv.finish();
      }
    }

    /** −D of the head. */
    private void products(int member, int members) {
      int first = Team.share(queries, member, members);
      int end = Team.share(queries, member + 1, members);
      loops.products(outputs[head], gradientRows[head], values, first, end, sums);
      for (int query = first; query < end; query++) {
        sums[query] = -sums[query];
      }
    }
  }
}
