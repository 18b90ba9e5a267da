package sparkvision.plan;

import static org.bytedeco.dnnl.global.dnnl.*;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.LongStream;
import sparkvision.graph.Node;
import sparkvision.kernels.Arithmetic;
import sparkvision.kernels.Desc;
import sparkvision.kernels.Dnnl;
import sparkvision.kernels.Memory;
import sparkvision.kernels.Primitive;
import sparkvision.kernels.Rows;
import sparkvision.kernels.Team;
import sparkvision.kernels.TileLoops;
import sparkvision.kernels.Type;

/**
 * A convolution with 3 x 3 windows one pixel apart, by Winograd's minimal filtering: 16
 * multiplications give 2 x 2 pixels of the result, where summing over the windows takes 36.
 *
 * <pre>
 *   forward           Y = Aᵀ·[U ∘ V]·A        U = G·g·Gᵀ of the weight g, V = Bᵀ·d·B of 4 x 4 pixels d
 *   data gradient     the same of dY, with the weight mirrored and its channels swapped
 *   weight gradient   dg = Gᵀ·[Σ V ∘ (A·dY·Aᵀ)]·G over all tiles
 * </pre>
 *
 * <p>∘ is a product of matrices for each of the 16 parts: tiles by channels, and channels by
 * channels. Members of the team take some tiles at a time through all stages, alone and in memory
 * of their own that fits into the cache of a core.
 *
 * @see <a href="https://arxiv.org/abs/1509.09308">Lavin and Gray, Fast Algorithms for Convolutional
 *     Neural Networks, 2016, section 4.1</a>
 */
final class Winograd {

  private static final int PARTS = 16;
  private static final int WINDOW = 9;

  /** Numbers of transformed tiles that a member holds at a time: most of its cache. */
  private static final long ROOM = 3 << 16;

  /** Fewer tiles at a time would make slow products. */
  private static final long FEWEST = 32;

  /** Pixels of a result in training below which the transforms of the weight cost what is won. */
  private static final long FEWEST_PIXELS = 1024;

  private static final float[][] G = {{1, 0, 0}, {.5f, .5f, .5f}, {.5f, -.5f, .5f}, {0, 0, 1}};

  private final Lowering l;
  private final Value weight; // (O, I, 3, 3)
  private final long top; // padding
  private final long left;
  private final boolean variable;

  private Winograd(Node node, Lowering l) {
    this.l = l;
    this.weight = l.rowMajor(l.in(node, 1));
    this.top = node.sizes("padding")[0];
    this.left = node.sizes("padding")[1];
    this.variable = l.isVariable(node.input(1));
  }

  /** Null if the convolution is of another kind, or oneDNN's own is as fast. */
  static Winograd of(Node node, Lowering l) {
    long[] shape = node.input(1).shape();
    boolean fits =
        l.compute == Type.FLOAT32
            && Arrays.equals(node.sizes("kernel"), new long[] {3, 3})
            && LongStream.of(node.sizes("stride")).allMatch(stride -> stride == 1)
            && LongStream.of(node.sizes("dilation")).allMatch(dilation -> dilation == 1)
            && node.integer("groups") == 1
            && shape[0] % TileLoops.CHANNELS == 0
            && shape[1] % TileLoops.CHANNELS == 0;
    return fits && pays(node.output().shape(), l.training) ? new Winograd(node, l) : null;
  }

  private static boolean pays(long[] result, boolean training) {
    long pixels = result[2] * result[3];
    long tiles = (result[2] + 1) / 2 * ((result[3] + 1) / 2);
    // A third is lost to the transforms of maps; tiles may reach over the edges besides.
    boolean fewer = PARTS * tiles * 3 / 2 <= WINDOW * pixels;
    return fewer && (!training || result[0] * pixels >= FEWEST_PIXELS);
  }

  // The weight and its gradient.

  /**
   * The matrix (16, 9) of g -> G·g·Gᵀ, which takes the window row by row, or backwards if {@code
   * mirrored}.
   */
  private Value transform(boolean mirrored) {
    float[] numbers = new float[PARTS * WINDOW];
    for (int part = 0; part < PARTS; part++) {
      for (int place = 0; place < WINDOW; place++) {
        int from = mirrored ? WINDOW - 1 - place : place;
        numbers[part * WINDOW + place] = G[part / 4][from / 3] * G[part % 4][from % 3];
      }
    }
    Value matrix = l.program.owned("window transform", PARTS, WINDOW);
    matrix.write(numbers);
    return matrix;
  }

  /** U (16, O, I). */
  private Value transformed(boolean mirrored) {
    long outputs = weight.size(0);
    long inputs = weight.size(1);
    Value windows = l.program.rowMajor("weight", Type.FLOAT32, WINDOW, outputs, inputs);
    l.copy(weight.reshaped(outputs, inputs, WINDOW).permuted(2, 0, 1), windows);
    Value parts = l.program.rowMajor("weight", Type.FLOAT32, PARTS, outputs, inputs);
    l.matmul(
        transform(mirrored),
        windows.reshaped(WINDOW, outputs * inputs),
        null,
        parts.reshaped(PARTS, outputs * inputs),
        false);
    return parts;
  }

  // Forward, and the gradient of the input.

  /** y (B, O, ...) = x (B, I, ...) convolved, [bias added, and what follows]; channels last. */
  Filter forward(Value x, Value y, Value bias, Epilogue epilogue) {
    return new Filter("convolution", x, y, top, left, false, bias, epilogue);
  }

  /** dx (B, I, ...) of dy (B, O, ...). */
  Filter dataGradient(Value dy, Value dx) {
    return new Filter("convolution: data gradient", dy, dx, 2 - top, 2 - left, true, null, null);
  }

  /** Filters maps of the same sizes with the same weight. */
  final class Filter {
    private final String kind;
    private final Geometry windows;
    private final Geometry results;
    private final int count; // tiles at a time
    private final Primitive product;
    private final Value parts; // the transformed weight as the product wants it
    private final Finish finish;

    private Filter(
        String kind,
        Value x,
        Value y,
        long top,
        long left,
        boolean mirrored,
        Value bias,
        Epilogue epilogue) {
      this.kind = kind;
      this.windows = new Geometry(x, y, 4, (int) top, (int) left);
      this.results = new Geometry(y, y, 2, 0, 0);
      int from = windows.channels;
      int to = results.channels;
      this.count = windows.tilesAtATime(from + to);
      this.finish = new Finish(to, bias, epilogue);
      Desc any = l.dnnl.any(Type.FLOAT32, new long[] {PARTS, from, to});
      this.product =
          product(dense(PARTS, count, from), any, dense(PARTS, count, to), Dnnl.PostOps.none());
      Value[] laid = new Value[1];
      l.once(
          variable,
          () -> {
            Value transformed = transformed(mirrored);
            Value matrices = mirrored ? transformed : transformed.permuted(0, 2, 1);
            laid[0] = l.opaque("weight", matrices, product.query(dnnl_query_weights_md));
            l.copy(matrices, laid[0]);
          });
      this.parts = laid[0];
    }

    /** Emits the step for these maps. */
    void emit(Value x, Value y, double flop) {
      int threads = l.program.team.threads();
      long workspace = workspace(product);
      Value memory = memory(count, windows.channels + results.channels, workspace);
      List<Value> reads = new ArrayList<>(List.of(x, parts));
      reads.addAll(finish.reads());
      l.program.loop(
          kind,
          flop,
          reads,
          List.of(y, memory),
          () -> {
            Filterer[] members = new Filterer[threads];
            l.program.team.alone(
                () ->
                    Arrays.setAll(
                        members, i -> new Filterer(x, y, memory.narrowed(0, i, 1, 1), workspace)));
            return team -> {
              finish.begin();
              team.run((m, n) -> members[m].run(m, n));
            };
          });
    }

    /** What a member of the team works with. */
    private final class Filterer {
      private final TileLoops loops = TileLoops.best();
      private final Reader reader;
      private final Rows transformed;
      private final Rows products;
      private final Rows y;
      private final float[] between;
      private final Primitive product = Filter.this.product.again();
      private final int[] places = new int[2];

      Filterer(Value x, Value y, Value memory, long workspace) {
        int from = windows.channels;
        int to = results.channels;
        this.y = rows(y);
        Part input = new Part(memory, 0, (long) PARTS * count * from);
        Part output = new Part(memory, input.end(), (long) PARTS * count * to);
        this.transformed = input.rows();
        this.products = output.rows();
        this.reader = new Reader(windows, x);
        this.between = new float[TileLoops.between(Geometry.MOST, Math.max(from, to))];
        product.bind(DNNL_ARG_SRC, dense(PARTS, count, from), input.address());
        product.bind(DNNL_ARG_WEIGHTS, parts.desc(l.dnnl), parts.address());
        product.bind(DNNL_ARG_DST, dense(PARTS, count, to), output.address());
        new Part(memory, output.end(), workspace).bindScratch(product);
        product.prepare();
      }

      void run(int member, int members) {
        int end = Team.share(windows.tiles, member + 1, members);
        int from = windows.channels;
        int to = results.channels;
        for (int first = Team.share(windows.tiles, member, members); first < end; first += count) {
          int some = Math.min(count, end - first);
          for (int i = 0, run; i < some; i += run) {
            run = windows.run(first + i, some - i);
            TileLoops.Strip strip = reader.read(first + i, run);
            loops.input(strip, run, from, between, transformed, i * from, count * from);
          }
          product.run();
          for (int i = 0, run; i < some; i += run) {
            run = results.run(first + i, some - i);
            int column = results.column(first + i);
            results.locate(first + i, column, places);
            loops.output(
                products,
                i * to,
                count * to,
                run,
                to,
                between,
                finish.scale,
                finish.shift,
                finish.relu,
                y,
                places,
                results.width - column);
          }
        }
      }
    }
  }

  /** What is done to a result before it is written: y·scale + shift, and the ReLU. */
  private final class Finish {
    final float[] scale;
    final float[] shift;
    final boolean relu;
    private final Value bias; // null without
    private final Value[] norm; // scale and shift; null without
    private final float[] numbers;

    Finish(int channels, Value bias, Epilogue epilogue) {
      this.scale = new float[channels];
      this.shift = new float[channels];
      this.numbers = new float[channels];
      this.bias = bias;
      this.norm = epilogue == null ? null : epilogue.coefficients(l);
      this.relu = epilogue != null && epilogue.hasRelu();
      Arrays.fill(scale, 1);
    }

    List<Value> reads() {
      List<Value> reads = new ArrayList<>();
      if (bias != null) {
        reads.add(bias);
      }
      if (norm != null) {
        reads.addAll(List.of(norm));
      }
      return reads;
    }

    void begin() {
      if (bias != null) {
        bias.read(shift);
      }
      if (norm != null) {
        norm[0].read(scale);
        norm[1].read(numbers);
        for (int c = 0; c < shift.length; c++) {
          shift[c] = Math.fma(shift[c], scale[c], numbers[c]);
        }
      }
    }
  }

  // What a member computes alone.

  private Primitive product(Desc a, Desc b, Desc y, Dnnl.PostOps post) {
    Primitive[] described = new Primitive[1];
    l.program.team.alone(() -> described[0] = l.dnnl.matmul(a, b, null, y, post));
    return described[0];
  }

  /** Numbers that a product works in. */
  private static long workspace(Primitive product) {
    return product.scratch().bytes() / Float.BYTES + 1;
  }

  /** For each member: the transforms of some tiles of two maps, and room for their product. */
  private Value memory(int tiles, int bothChannels, long workspace) {
    long floats = padded((long) PARTS * tiles * bothChannels + workspace);
    return l.program.rowMajor("scratch", Type.FLOAT32, l.program.team.threads(), floats);
  }

  // The gradient of the weight.

  /** The sum over the maps that are added. */
  final class WindowGradient {
    private final Geometry windows;
    private final Geometry results;
    private final int count; // tiles at a time
    private final Primitive product;
    private final Value sums; // (members, 16, O, I)

    WindowGradient(Value x, Value dy) {
      this.windows = new Geometry(x, dy, 4, (int) top, (int) left);
      this.results = new Geometry(dy, dy, 2, 0, 0);
      int from = windows.channels;
      int to = results.channels;
      this.count = windows.tilesAtATime(from + to);
      this.sums =
          l.program.rowMajor(
              "weight gradient", Type.FLOAT32, l.program.team.threads(), PARTS, to, from);
      this.product =
          product(
              transposed(PARTS, to, count),
              dense(PARTS, count, from),
              dense(PARTS, to, from),
              Dnnl.PostOps.none().accumulate());
    }

    /** Emits the step for these maps. */
    void add(Value x, Value dy, boolean first, double flop) {
      int threads = l.program.team.threads();
      long workspace = workspace(product);
      Value memory = memory(count, windows.channels + results.channels, workspace);
      l.program.loop(
          "convolution: weight gradient",
          flop,
          first ? List.of(x, dy) : List.of(x, dy, sums),
          List.of(sums, memory),
          () -> {
            Summer[] members = new Summer[threads];
            l.program.team.alone(
                () ->
                    Arrays.setAll(
                        members,
                        i ->
                            new Summer(
                                x,
                                dy,
                                memory.narrowed(0, i, 1, 1),
                                sums.narrowed(0, i, 1, 1),
                                workspace)));
            return team -> {
              if (first) {
                sums.fill(sums.elements() * Float.BYTES);
              }
              team.run((m, n) -> members[m].run(m, n));
            };
          });
    }

    /** What a member of the team works with. */
    private final class Summer {
      private final TileLoops loops = TileLoops.best();
      private final Reader xReader;
      private final Reader dyReader;
      private final Rows xParts;
      private final Rows dyParts;
      private final float[] between;
      private final Primitive product = WindowGradient.this.product.again();

      Summer(Value x, Value dy, Value memory, Value sum, long workspace) {
        int from = windows.channels;
        int to = results.channels;
        Part ofX = new Part(memory, 0, (long) PARTS * count * from);
        Part ofDy = new Part(memory, ofX.end(), (long) PARTS * count * to);
        this.xParts = ofX.rows();
        this.dyParts = ofDy.rows();
        this.xReader = new Reader(windows, x);
        this.dyReader = new Reader(results, dy);
        this.between = new float[TileLoops.between(Geometry.MOST, Math.max(from, to))];
        product.bind(DNNL_ARG_SRC, transposed(PARTS, to, count), ofDy.address());
        product.bind(DNNL_ARG_WEIGHTS, dense(PARTS, count, from), ofX.address());
        product.bind(DNNL_ARG_DST, dense(PARTS, to, from), sum.address());
        new Part(memory, ofDy.end(), workspace).bindScratch(product);
        product.prepare();
      }

      void run(int member, int members) {
        int end = Team.share(windows.tiles, member + 1, members);
        int from = windows.channels;
        int to = results.channels;
        for (int first = Team.share(windows.tiles, member, members); first < end; first += count) {
          int some = Math.min(count, end - first);
          for (int i = 0, run; i < some; i += run) {
            run = windows.run(first + i, some - i);
            TileLoops.Strip pixels = xReader.read(first + i, run);
            loops.input(pixels, run, from, between, xParts, i * from, count * from);
            TileLoops.Strip gradients = dyReader.read(first + i, run);
            loops.gradient(gradients, run, to, between, dyParts, i * to, count * to);
          }
          for (int part = 0; some < count && part < PARTS; part++) {
            clear(xParts, (part * count + some) * from, (count - some) * from);
            clear(dyParts, (part * count + some) * to, (count - some) * to);
          }
          product.run();
        }
      }
    }

    /** After the last map: the gradient, as a weight lies. */
    void end(Value dWeight) {
      long outputs = weight.size(0);
      long inputs = weight.size(1);
      Value total = sums.narrowed(0, 0, 1, 1).reshaped(PARTS, outputs * inputs);
      for (int member = 1; member < l.program.team.threads(); member++) {
        Value more = sums.narrowed(0, member, 1, 1).reshaped(PARTS, outputs * inputs);
        Pairs.emit(l, Arithmetic.ADD, total, more, total);
      }
      Value windows = l.program.rowMajor("weight gradient", Type.FLOAT32, WINDOW, outputs, inputs);
      l.matmul(
          transform(false).permuted(1, 0),
          total,
          null,
          windows.reshaped(WINDOW, outputs * inputs),
          false);
      l.copy(windows.permuted(1, 2, 0), dWeight.reshaped(outputs, inputs, WINDOW));
    }
  }

  private static void clear(Rows rows, int first, int count) {
    for (int i = 0; i < count; i++) {
      rows.set(first + i, 0);
    }
  }

  // Tiles.

  /** Which pixels of a map a tile has; tiles are numbered image by image, row by row. */
  private final class Geometry {
    /** Tiles at most that are transformed together: their pixels fit into the nearest cache. */
    static final int MOST = 8;

    final int channels;
    final int tiles;
    private final int height;
    private final int width;
    private final int down;
    private final int across;
    private final int side;
    private final int top;
    private final int left;

    /**
     * @param map (B, C, H, W), channels last
     * @param result (B, ..., H', W'), of which every tile makes 2 x 2 pixels
     * @param side of a tile on the map, pixels
     */
    Geometry(Value map, Value result, int side, int top, int left) {
      this.channels = (int) map.size(1);
      this.height = (int) map.size(2);
      this.width = (int) map.size(3);
      this.down = (int) (result.size(2) + 1) / 2;
      this.across = (int) (result.size(3) + 1) / 2;
      this.tiles = Math.toIntExact(map.size(0) * down * across);
      this.side = side;
      this.top = top;
      this.left = left;
    }

    /** As many as fit into the cache, and such that no member has a short rest. */
    int tilesAtATime(int bothChannels) {
      int members = l.program.team.threads();
      int share = (tiles + members - 1) / members;
      long most = Math.max(FEWEST, ROOM / (PARTS * (long) bothChannels));
      long times = (share + most - 1) / most;
      return (int) ((share + times - 1) / times);
    }

    /** How many tiles, at most, stand side by side from this one on. */
    int run(int tile, int most) {
      return Math.min(MOST, Math.min(most, across - tile % across));
    }

    /** Finds where a column of each row of a tile lies; −1 if there is no such row. */
    void locate(int tile, int column, int[] places) {
      int y = tile / across % down * 2 - top;
      int image = tile / across / down;
      for (int i = 0; i < places.length; i++) {
        boolean inside = y + i >= 0 && y + i < height;
        places[i] = inside ? ((image * height + y + i) * width + column) * channels : -1;
      }
    }

    /** The leftmost column that a tile asks for, which may lie outside of the map. */
    int column(int tile) {
      return tile % across * 2 - left;
    }
  }

  /** Reads tiles of one map. */
  private static final class Reader {
    private final Geometry geometry;
    private final Rows map;
    private final Rows zeros; // a row of pixels
    private final TileLoops.Strip strip;

    Reader(Geometry geometry, Value map) {
      this.geometry = geometry;
      this.map = rows(map);
      int bytes = geometry.width * geometry.channels * Float.BYTES;
      this.zeros = new Rows(ByteBuffer.allocateDirect(bytes), Type.FLOAT32, 1);
      this.strip = new TileLoops.Strip(geometry.side);
    }

    /** The pixels of some tiles that stand side by side. */
    TileLoops.Strip read(int tile, int tiles) {
      int column = geometry.column(tile);
      int columns = 2 * tiles + geometry.side - 2;
      strip.first = Math.min(columns, Math.max(0, -column));
      strip.end = Math.max(strip.first, Math.min(columns, geometry.width - column));
      geometry.locate(tile, column + strip.first, strip.places);
      for (int i = 0; i < strip.rows.length; i++) {
        boolean outside = strip.places[i] < 0;
        strip.rows[i] = outside ? zeros : map;
        strip.places[i] = outside ? 0 : strip.places[i];
      }
      return strip;
    }
  }

  // Memory.

  /** A piece of a member's memory. */
  private static final class Part {
    private final Value memory;
    private final long first;
    private final long count;

    Part(Value memory, long first, long count) {
      this.memory = memory;
      this.first = first;
      this.count = count;
    }

    long end() {
      return first + padded(count);
    }

    long address() {
      return memory.address() + first * Float.BYTES;
    }

    Rows rows() {
      Memory whole = memory.storage.memory;
      long offset = address() - whole.address();
      return new Rows(whole.buffer(offset, count * Float.BYTES), Type.FLOAT32, 1);
    }

    void bindScratch(Primitive primitive) {
      if (primitive.scratch().bytes() > 0) {
        primitive.bind(DNNL_ARG_SCRATCHPAD, primitive.scratch(), address());
      }
    }
  }

  private static Rows rows(Value map) {
    return new Rows(map.buffer(), Type.FLOAT32, 1);
  }

  private static long padded(long floats) {
    return (floats + TileLoops.CHANNELS - 1) / TileLoops.CHANNELS * TileLoops.CHANNELS;
  }

  private Desc dense(long... dims) {
    return l.dnnl.strided(Type.FLOAT32, dims, Value.rowMajor(dims));
  }

  /** (parts, rows, columns) whose columns lie together. */
  private Desc transposed(long parts, long rows, long columns) {
    long[] strides = {rows * columns, 1, rows};
    return l.dnnl.strided(Type.FLOAT32, new long[] {parts, rows, columns}, strides);
  }
}
