package sparkvision.plan;

import static org.bytedeco.dnnl.global.dnnl.*;

import java.util.Arrays;
import java.util.List;
import sparkvision.graph.Node;
import sparkvision.graph.Tensor;
import sparkvision.kernels.Desc;
import sparkvision.kernels.Dnnl;
import sparkvision.kernels.Primitive;
import sparkvision.kernels.Rows;
import sparkvision.kernels.Type;

/**
 * One convolution, channels last.
 *
 * <p>If its input is a {@link Deferred} batch norm, it works on a few images at a time, as many as
 * fit into the cache: makes them, convolves them; and backward makes them again, computes both
 * gradients, and gives that of the input to the norm at once.
 */
final class Convolution {

  /** About the L2 cache of two cores. */
  private static final long CHUNK_BYTES = 2 << 20;

  private final Node node;
  private final Lowering l;
  private final BatchNorm norm; // makes the input; null if it is in memory
  private final Value x; // null if the norm makes it
  private final long[] inputShape;
  private final Value weight; // as oneDNN wants it: (O, C, k...) or (g, O/g, C/g, k...)
  private final Value bias; // null without
  private final Dnnl.Window window;
  private final Epilogue epilogue;
  private final long batch;
  private final long images; // at a time
  private final double flop;
  private final Winograd winograd; // null where oneDNN is faster
  private Primitive forward; // oneDNN's; null as long as nobody asks for it

  Convolution(Node node, Lowering l) {
    this.node = node;
    this.l = l;
    this.norm = l.deferredNorm(node.input(0));
    this.x = norm == null ? l.cast(l.channelsLast(l.in(node, 0)), l.compute) : null;
    this.inputShape = node.input(0).shape();
    this.weight = grouped(l.rowMajor(l.in(node, 1)), node.integer("groups"));
    this.bias = node.inputs().size() > 2 ? l.in(node, 2) : null;
    this.window = window(node);
    this.epilogue = Epilogue.of(node, l);
    this.batch = inputShape[0];
    this.images = norm == null ? batch : chunk();
    this.flop = 2.0 * node.output().elements() * weight.elements() / node.output().size(1);
    this.winograd = Winograd.of(node, l);
  }

  /** The largest divisor of the batch whose images fit into the cache. */
  private long chunk() {
    long image = Value.elements(inputShape) / batch * l.compute.bytes();
    long count = batch;
    while (count > 1 && (count * image > CHUNK_BYTES || batch % count != 0)) {
      count--;
    }
    return count;
  }

  void emit() {
    Tensor result = epilogue.result();
    Value y = l.fresh(result, l.compute, Value.channelsLast(result.shape()));
    Value buffer = norm == null ? null : buffer("convolution input", inputShape, l.compute);
    Value source = norm == null ? x : buffer;
    MomentsOfChunks moments = momentsWanted(result) ? new MomentsOfChunks((int) y.size(1)) : null;
    ChunkFilter filter = winograd == null ? direct(source, y) : fast(source, y);
    for (long first = 0; first < batch; first += images) {
      if (norm != null) {
        norm.emit(l, buffer, first);
      }
      Value to = part(y, first);
      filter.emit(to, first);
      if (moments != null) {
        moments.add(to, first);
      }
    }
    if (moments != null) {
      l.know(result, moments.moments);
    }
    l.bind(result, y);
    if (l.wantsAny(node) || (norm != null && norm.wantsAny())) {
      l.tape(() -> backward(y));
    }
  }

  /** Convolves a chunk. */
  private interface ChunkFilter {
    void emit(Value to, long first);
  }

  private ChunkFilter fast(Value source, Value y) {
    Winograd.Filter filter = winograd.forward(source, part(y, 0), bias, epilogue);
    return (to, first) -> filter.emit(source, to, flop * images / batch);
  }

  private ChunkFilter direct(Value given, Value y) {
    forward = describe(given.desc(l.dnnl), part(y, 0));
    Value source = given;
    if (norm == null && forward.implementation().startsWith("ref")) {
      // oneDNN has no fast kernel for this layout, say of a single channel: it may choose.
      forward = describe(l.dnnl.any(l.compute, inputShape), y); // no norm, so one chunk
      source = l.opaque("convolution input", x, forward.query(dnnl_query_src_md));
      l.copy(x, source);
    }
    Value from = source;
    Value laid = l.weight(weight, l.compute, forward.query(dnnl_query_weights_md));
    return (to, first) -> {
      Program.Call call =
          l.program
              .call("convolution", first == 0 ? forward : forward.again())
              .in(DNNL_ARG_SRC, from)
              .in(DNNL_ARG_WEIGHTS, laid)
              .in(DNNL_ARG_BIAS, bias)
              .out(DNNL_ARG_DST, to)
              .flop(flop * images / batch);
      epilogue.arguments(call);
      call.add();
    };
  }

  private Primitive describe(Desc source, Value y) {
    return l.dnnl.convolution(
        l.training,
        source,
        l.dnnl.any(l.compute, weight.dims()),
        bias == null ? null : bias.desc(l.dnnl),
        y.desc(l.dnnl),
        window,
        epilogue.post(l, y.rank()));
  }

  /** Whether a batch norm behind would otherwise read the result once more for its moments. */
  private boolean momentsWanted(Tensor result) {
    return images < batch && l.concatenations.isNormalised(result);
  }

  /** Moments of the result, taken from each chunk while it is in the cache. */
  private final class MomentsOfChunks {
    final ChannelMoments moments;
    private final Moments running;

    MomentsOfChunks(int channels) {
      this.moments = new ChannelMoments(channels);
      this.running = new Moments(channels);
    }

    void add(Value chunk, long first) {
      l.program.loop(
          "norm: moments",
          3.0 * chunk.elements(),
          List.of(chunk),
          List.of(),
          () -> {
            Rows rows = Concatenations.rows(chunk);
            int count = Concatenations.pixels(chunk);
            return team -> {
              if (first == 0) {
                running.begin(rows);
              }
              running.add(team, rows, count);
              if (first + images == batch) {
                running.end(moments.mean, moments.variance);
              }
            };
          });
    }
  }

  // Backward.

  private void backward(Value y) {
    Tensor result = epilogue.result();
    Deferred later = epilogue.isNone() && images < batch ? l.deferredGradient(result) : null;
    Value dy = null;
    if (later == null) {
      Value given = l.gradient(result);
      if (given == null) {
        return;
      }
      dy = epilogue.backward(l, l.cast(l.channelsLast(given), l.compute), y);
    }
    Value seen = norm == null ? l.recall(node.input(0), x) : null;
    Value gradients = later == null ? null : buffer("convolution gradient", y.dims(), l.compute);
    Value inputs = norm == null ? null : buffer("convolution input", inputShape, l.compute);
    boolean patches = norm == null && l.wants(node, 1) && Patches.fits(node, node.input(0));
    if (patches) {
      Value dWeight = l.gradientHome(node.input(1));
      Patches.weightGradient(l, dy, seen, dWeight);
      l.contribute(node, 1, dWeight);
    }
    // Winograd's leaves the bias to others, who want to see the whole gradient.
    boolean fast = winograd != null && l.wants(node, 1) && !(wantsBias() && later != null);
    if (patches || fast) {
      Windows.biasGradient(node, l, dy);
    }
    WeightGradient weightGradient = null;
    if (fast) {
      weightGradient = new FastWeightGradient();
    } else if (!patches && (l.wants(node, 1) || wantsBias())) {
      weightGradient = new DirectWeightGradient();
    }
    InputGradient inputGradient =
        (norm == null ? l.wants(node, 0) : norm.wantsAny()) ? new InputGradient() : null;
    for (long first = 0; first < batch; first += images) {
      Value chunk = later == null ? part(dy, first) : gradients;
      if (later != null) {
        later.emit(l, gradients, first);
      }
      if (weightGradient != null) {
        if (norm != null) {
          norm.emit(l, inputs, first);
        }
        weightGradient.add(norm == null ? seen : inputs, chunk, first);
      }
      if (inputGradient != null) {
        inputGradient.add(chunk, first);
      }
    }
    if (weightGradient != null) {
      weightGradient.end();
    }
    if (inputGradient != null) {
      inputGradient.end();
    }
  }

  /** The forward operation that oneDNN asks for when it describes a gradient. */
  private Primitive hint(Value from, Value to) {
    if (forward == null) {
      forward = describe(from.desc(l.dnnl), to);
    }
    return forward;
  }

  private boolean wantsBias() {
    return bias != null && l.wants(node, 2);
  }

  /** The sum over chunks of their weight gradients. */
  private interface WeightGradient {
    void add(Value from, Value dy, long first);

    void end();
  }

  private final class FastWeightGradient implements WeightGradient {
    private Winograd.WindowGradient sum;

    @Override
    public void add(Value from, Value dy, long first) {
      if (sum == null) {
        sum = winograd.new WindowGradient(from, dy);
      }
      sum.add(from, dy, first == 0, flop * images / batch);
    }

    @Override
    public void end() {
      Value gradient = l.gradientHome(node.input(1));
      sum.end(gradient);
      l.contribute(node, 1, gradient);
    }
  }

  private final class DirectWeightGradient implements WeightGradient {
    private Primitive primitive;
    private Value sum;
    private Value more;
    private Value biasSum;
    private Value biasMore;

    @Override
    public void add(Value from, Value dy, long first) {
      if (primitive == null) {
        Value biases = bias == null ? null : l.gradientHome(node.input(2));
        primitive =
            l.dnnl.convolutionBackwardWeights(
                from.desc(l.dnnl),
                l.dnnl.any(Type.FLOAT32, weight.dims()),
                biases == null ? null : biases.desc(l.dnnl),
                dy.desc(l.dnnl),
                window,
                hint(from, dy));
        Desc layout = primitive.query(dnnl_query_diff_weights_md);
        sum = l.opaque("weight gradient", weight, layout);
        biasSum = biases;
        if (images < batch) {
          more = l.opaque("weight gradient", weight, layout);
          biasMore = biases == null ? null : l.fresh(node.input(2), Type.FLOAT32);
        }
      }
      l.program
          .call("convolution: weight gradient", first == 0 ? primitive : primitive.again())
          .in(DNNL_ARG_SRC, from)
          .in(DNNL_ARG_DIFF_DST, dy)
          .out(DNNL_ARG_DIFF_WEIGHTS, first == 0 ? sum : more)
          .out(DNNL_ARG_DIFF_BIAS, first == 0 ? biasSum : biasMore)
          .flop(flop * images / batch)
          .add();
      if (first > 0) {
        l.addFlat(more, sum);
        if (biasSum != null) {
          l.addFlat(biasMore, biasSum);
        }
      }
    }

    @Override
    public void end() {
      Value plain = l.gradientHome(node.input(1));
      l.copy(sum, grouped(plain, node.integer("groups")));
      l.contribute(node, 1, plain);
      if (biasSum != null) {
        l.contribute(node, 2, biasSum);
      }
    }
  }

  /** The gradient of the input: in memory, or given to the norm chunk by chunk. */
  private final class InputGradient {
    private final Value dx; // all of it, or room for a chunk
    private final boolean whole;
    private final BatchNorm.GradientPass pass; // null without a norm
    private Winograd.Filter filter;
    private Primitive primitive;
    private Value laid;

    InputGradient() {
      this.whole = norm == null || norm.keepsGradient() || images == batch;
      this.dx =
          whole
              ? l.fresh(node.input(0), l.compute, Value.channelsLast(inputShape))
              : buffer("convolution gradient", inputShape, l.compute);
      this.pass = norm == null ? null : norm.new GradientPass(dx);
    }

    void add(Value dy, long first) {
      Value to = whole ? part(dx, first) : dx;
      if (winograd == null) {
        direct(dy, to, first);
      } else {
        if (filter == null) {
          filter = winograd.dataGradient(dy, to);
        }
        filter.emit(dy, to, flop * images / batch);
      }
      if (pass != null) {
        pass.add(to, first);
      }
    }

    private void direct(Value dy, Value to, long first) {
      if (primitive == null) {
        primitive =
            l.dnnl.convolutionBackwardData(
                to.desc(l.dnnl),
                l.dnnl.any(l.compute, weight.dims()),
                dy.desc(l.dnnl),
                window,
                hint(to, dy));
        laid = l.weight(weight, l.compute, primitive.query(dnnl_query_weights_md));
      }
      l.program
          .call("convolution: data gradient", first == 0 ? primitive : primitive.again())
          .in(DNNL_ARG_WEIGHTS, laid)
          .in(DNNL_ARG_DIFF_DST, dy)
          .out(DNNL_ARG_DIFF_SRC, to)
          .flop(flop * images / batch)
          .add();
    }

    void end() {
      if (pass == null) {
        l.contribute(node, 0, dx);
      } else {
        pass.end();
      }
    }
  }

  // Chunks.

  /** Room for as many images of a shape as are worked on at a time. */
  private Value buffer(String name, long[] shape, Type type) {
    long[] dims = shape.clone();
    dims[0] = images;
    return l.program.value(name, type, dims, Value.channelsLast(dims));
  }

  private Value part(Value value, long first) {
    return images == batch ? value : value.narrowed(0, first, images, 1);
  }

  /** A weight (O, C/g, k...) as oneDNN wants it: (g, O/g, C/g, k...) for more groups than one. */
  static Value grouped(Value weight, long groups) {
    if (groups == 1) {
      return weight;
    }
    long[] dims = weight.dims();
    long[] shape = new long[dims.length + 1];
    shape[0] = groups;
    shape[1] = dims[0] / groups;
    System.arraycopy(dims, 1, shape, 2, dims.length - 1);
    return weight.reshaped(shape);
  }

  private static Dnnl.Window window(Node node) {
    long[] dilation = Arrays.stream(node.sizes("dilation")).map(size -> size - 1).toArray();
    return new Dnnl.Window(
        node.sizes("stride"), dilation, node.sizes("padding"), node.sizes("padding-after"));
  }
}
