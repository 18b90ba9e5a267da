package sparkvision.plan;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import sparkvision.graph.Node;
import sparkvision.graph.Tensor;
import sparkvision.kernels.Loops;
import sparkvision.kernels.Rows;
import sparkvision.kernels.Team;
import sparkvision.kernels.Type;

/**
 * Concatenations of channels, which nobody carries out: each part stays where its layer wrote it,
 * and a batch norm reads the parts one after the other.
 *
 * <pre>
 *   parts                  x0 | y1 | y2 | y3      each dense, a row per pixel
 *   concat(x0, y1)         -------
 *   concat(that, y2)       ------------
 * </pre>
 *
 * <p>For a DenseNet block, where every concatenation grows out of the one before, three things
 * follow. No part is ever copied, and all are read in the order in which they lie in memory: rows
 * of one wide buffer, read in part, run at a quarter of that speed. Mean and variance of a channel
 * are computed once, though every batch norm behind needs them. And the gradients of all batch
 * norms that read a channel meet in one place: each adds its scaled gradient there, and of its
 * other two terms (Ioffe and Szegedy 2015, section 3), which are linear in x, only the two
 * coefficients; they are applied when the channel's own layer asks for its gradient.
 *
 * <p>A reader that is no batch norm gets a copy of the whole.
 */
final class Concatenations {

  /** Some channels that were made together. */
  static final class Part {
    final Value data; // rows
    final int channels;
    final ChannelMoments moments; // null if no batch norm in training reads them
    final float[] lift; // what batch norms behind subtract from the gradient of a channel,
    final float[] slope; // and what they subtract times x − mean
    private Value gradient; // null until somebody contributes

    private Part(Value data, ChannelMoments moments) {
      this.data = data;
      this.channels = (int) data.size(1);
      this.moments = moments;
      this.lift = new float[channels];
      this.slope = new float[channels];
    }
  }

  private final Lowering lowering;
  private final Map<Tensor, Node> concats = new HashMap<>(); // by output
  private final Map<Tensor, List<Part>> parts = new HashMap<>(); // of outputs and of their inputs

  Concatenations(Lowering lowering) {
    this.lowering = lowering;
    for (Node node : lowering.nodes) {
      if (node.kind() == Node.Kind.CONCAT
          && node.integer("axis") == 1
          && node.output().rank() >= 4) {
        concats.put(node.output(), node);
      }
    }
  }

  /** Whether a tensor is a concatenation of channels. */
  boolean isConcat(Tensor tensor) {
    return concats.containsKey(tensor);
  }

  /** Whether the gradient of a tensor is gathered here. */
  boolean holds(Tensor tensor) {
    return parts.containsKey(tensor);
  }

  /** The parts of a concatenation; the tensor itself as the only part, if it is part of one. */
  List<Part> parts(Tensor tensor) {
    return parts.get(tensor);
  }

  /** Called for every value that a kernel makes: some become parts. */
  void placed(Tensor tensor, Value value) {
    boolean joined =
        lowering.producer(tensor) != null
            && lowering.consumers(tensor).stream().anyMatch(node -> concats.containsValue(node));
    if (joined && value.isRows()) {
      parts.put(tensor, List.of(part(tensor, value)));
    }
  }

  private Part part(Tensor tensor, Value value) {
    if (!isNormalised(tensor)) {
      return new Part(value, null);
    }
    ChannelMoments known = lowering.moments(tensor);
    if (known != null) {
      return new Part(value, known);
    }
    ChannelMoments moments = new ChannelMoments((int) value.size(1));
    lowering.program.loop(
        "norm: moments",
        3.0 * value.elements(),
        List.of(value),
        List.of(),
        () -> {
          Moments running = new Moments((int) value.size(1));
          Rows rows = rows(value);
          int pixels = pixels(value);
          return team -> {
            running.begin(rows);
            running.add(team, rows, pixels);
            running.end(moments.mean, moments.variance);
          };
        });
    return new Part(value, moments);
  }

  /** Whether a batch norm in training reads this tensor, or a concatenation with it. */
  boolean isNormalised(Tensor tensor) {
    return lowering.training
        && lowering.consumers(tensor).stream()
            .anyMatch(
                node ->
                    node.kind() == Node.Kind.BATCH_NORM
                        || (isConcat(node.output()) && isNormalised(node.output())));
  }

  /** Lowers a concatenation: its parts are those of its inputs. */
  void concat(Node node) {
    List<Part> all = new ArrayList<>();
    for (int i = 0; i < node.inputs().size(); i++) {
      Tensor input = node.input(i);
      List<Part> own = parts.get(input);
      if (own != null && all.stream().noneMatch(own::contains)) {
        all.addAll(own);
        continue;
      }
      // From outside, or here a second time: a part with a gradient of its own.
      Part part =
          part(input, lowering.rows(lowering.cast(lowering.value(input), lowering.compute)));
      all.add(part);
      int index = i;
      if (lowering.wants(node, i)) {
        lowering.tape(
            () -> {
              if (part.gradient != null) {
                lowering.contribute(node, index, settled(part));
              }
            });
      }
    }
    parts.put(node.output(), List.copyOf(all));
  }

  /** The whole of a concatenation in one piece of memory. */
  Value whole(Tensor tensor) {
    Value whole = lowering.fresh(tensor, lowering.compute, Value.channelsLast(tensor.shape()));
    int offset = 0;
    for (Part part : parts.get(tensor)) {
      move(part.data, whole.narrowed(1, offset, part.channels, 1), false);
      offset += part.channels;
    }
    return whole;
  }

  // Gradients.

  /** Where the gradient of a part has to be added, and whether there is something already. */
  record Target(Value value, boolean adding) {}

  /** Where to add a gradient; emit the step that does it next. */
  Target target(Part part) {
    boolean adding = part.gradient != null;
    if (!adding) {
      // In float32 in any case: many gradients are added here.
      long[] shape = part.data.dims();
      part.gradient =
          lowering.program.value("concat gradient", Type.FLOAT32, shape, Value.channelsLast(shape));
      lowering.program.loop(
          "norm: sums",
          0,
          List.of(),
          List.of(),
          () ->
              team -> {
                Arrays.fill(part.lift, 0);
                Arrays.fill(part.slope, 0);
              });
    }
    return new Target(part.gradient, adding);
  }

  /** Adds to the gradient of a concatenation or of a part. */
  void add(Tensor tensor, Value gradient) {
    Value source = lowering.rows(gradient);
    int offset = 0;
    for (Part part : parts.get(tensor)) {
      Target target = target(part);
      move(source.narrowed(1, offset, part.channels, 1), target.value, target.adding);
      offset += part.channels;
    }
  }

  /** The gradient of a part, complete; null if nobody contributed. */
  Value gradient(Tensor tensor) {
    Part part = only(tensor);
    return part == null || part.gradient == null ? null : settled(part);
  }

  /** The gradient of a part, complete, made where it is needed; null if nobody contributed. */
  Deferred deferredGradient(Tensor tensor) {
    Part part = only(tensor);
    return part == null || part.gradient == null ? null : new Settled(part);
  }

  /** Null for a concatenation: its gradient is that of its parts. */
  private Part only(Tensor tensor) {
    return isConcat(tensor) ? null : parts.get(tensor).get(0);
  }

  private Value settled(Part part) {
    return new Settled(part).whole(lowering, "gradient", lowering.compute, part.data.dims());
  }

  /** The gradient of some channels, with the terms that batch norms deferred. */
  private record Settled(Part part) implements Deferred {

    @Override
    public String kind() {
      return "norm: gradient of part";
    }

    @Override
    public List<Value> reads() {
      return part.moments == null ? List.of(part.gradient) : List.of(part.gradient, part.data);
    }

    @Override
    public Supplier<Program.Body> fill(Value to, long first) {
      Value sums = part.gradient.narrowed(0, first, to.size(0), 1);
      Value xs = part.data.narrowed(0, first, to.size(0), 1);
      return () -> {
        Rows from = rows(sums);
        Rows reference = rows(xs);
        Rows into = rows(to);
        int pixels = pixels(sums);
        Loops loops = Loops.best();
        return team ->
            team.run(
                (m, n) -> {
                  int begin = Team.share(pixels, m, n);
                  int end = Team.share(pixels, m + 1, n);
                  if (part.moments == null) {
                    loops.copy(from, into, false, part.channels, begin, end);
                  } else {
                    loops.settle(
                        from,
                        reference,
                        into,
                        part.channels,
                        begin,
                        end,
                        part.moments.mean,
                        part.lift,
                        part.slope);
                  }
                });
      };
    }
  }

  private void move(Value source, Value target, boolean adding) {
    lowering.program.loop(
        "concat",
        0,
        adding ? List.of(source, target) : List.of(source),
        List.of(target),
        () -> {
          Rows from = rows(source);
          Rows to = rows(target);
          int channels = (int) source.size(1);
          int pixels = pixels(source);
          Loops loops = Loops.best();
          return team ->
              team.run(
                  (m, n) ->
                      loops.copy(
                          from,
                          to,
                          adding,
                          channels,
                          Team.share(pixels, m, n),
                          Team.share(pixels, m + 1, n)));
        });
  }

  // Channels-last values as rows.

  /** A channels-last value, or some channels of one, as rows: one per pixel of each image. */
  static Rows rows(Value value) {
    int stride = (int) value.size(1);
    if (value.size(0) > 1) {
      stride = (int) (value.stride(0) / Value.elements(spatial(value)));
    }
    for (int axis = 2; axis < value.rank(); axis++) {
      if (value.size(axis) > 1) {
        stride = (int) value.stride(axis); // the last one is the densest
      }
    }
    return new Rows(value.buffer(), value.type, stride);
  }

  static int pixels(Value value) {
    return Math.toIntExact(value.elements() / value.size(1));
  }

  static long[] spatial(Value value) {
    return IntStream.range(2, value.rank()).mapToLong(value::size).toArray();
  }
}
