package sparkvision.plan;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import sparkvision.graph.Node;
import sparkvision.graph.Tensor;
import sparkvision.kernels.Loops;
import sparkvision.kernels.Rows;
import sparkvision.kernels.Team;
import sparkvision.kernels.Type;

/**
 * Concatenations of channels that grow out of each other, as in a DenseNet block, share one buffer:
 * what {@code concat(x, y)} adds is y, and x is already there.
 *
 * <pre>
 *   buffer, a row per pixel   | x0      | y1  | y2  | y3  |
 *   concat(x0, y1)            |---------------|
 *   concat(that, y2)          |---------------------|
 * </pre>
 *
 * <p>Three things follow. A new part is copied once. The mean and the variance of its channels are
 * computed once, though every batch norm behind reads them. And the gradients of all batch norms
 * that read a channel meet in one buffer: each adds its scaled gradient there, and of its other two
 * terms (Ioffe and Szegedy 2015, section 3), which are linear in x, only the two coefficients; they
 * are applied when the channel's own layer asks for its gradient.
 */
final class Concatenations {

  /** One shared buffer. */
  private static final class Group {
    final long channels;
    final Set<Tensor> parts = new HashSet<>();
    Value data;
    Value gradient; // null until somebody contributes
    final float[] mean;
    final float[] variance;
    final float[] lift; // what batch norms behind subtract from the gradient of a channel,
    final float[] slope; // and what they subtract times x − mean
    boolean normalised;

    Group(long channels) {
      this.channels = channels;
      this.mean = new float[(int) channels];
      this.variance = new float[(int) channels];
      this.lift = new float[(int) channels];
      this.slope = new float[(int) channels];
    }
  }

  private record Place(Group group, int offset, int channels) {}

  private final Lowering lowering;
  private final Map<Tensor, Place> places = new HashMap<>();

  Concatenations(Lowering lowering) {
    this.lowering = lowering;
    // From the last on, so that the widest concatenation of a chain comes first.
    for (int i = lowering.nodes.size() - 1; i >= 0; i--) {
      Node node = lowering.nodes.get(i);
      if (joinsChannels(node) && !places.containsKey(node.output())) {
        group(node);
      }
    }
  }

  private static boolean joinsChannels(Node node) {
    return node.kind() == Node.Kind.CONCAT
        && node.integer("axis") == 1
        && node.output().rank() >= 4;
  }

  private void group(Node widest) {
    Group group = new Group(widest.output().size(1));
    List<Node> chain = new ArrayList<>();
    for (Node node = widest; node != null; ) {
      chain.add(node);
      Node before = lowering.producer(node.input(0));
      boolean grows =
          before != null && joinsChannels(before) && !places.containsKey(before.output());
      node = grows ? before : null;
    }
    for (Node node : chain) {
      places.put(node.output(), new Place(group, 0, (int) node.output().size(1)));
      group.normalised |= isNormalised(node.output());
    }
    for (Node node : chain) {
      int offset = 0;
      for (Tensor input : node.inputs()) {
        int channels = (int) input.size(1);
        // A tensor that is a part elsewhere, twice or given from outside stays where it is and is
        // copied here.
        if (!places.containsKey(input) && lowering.producer(input) != null) {
          places.put(input, new Place(group, offset, channels));
          group.parts.add(input);
          group.normalised |= isNormalised(input);
        }
        offset += channels;
      }
    }
  }

  private boolean isNormalised(Tensor tensor) {
    return lowering.training
        && lowering.consumers(tensor).stream().anyMatch(n -> n.kind() == Node.Kind.BATCH_NORM);
  }

  /** Whether a tensor is part of a shared buffer, or a concatenation that is. */
  boolean holds(Tensor tensor) {
    return places.containsKey(tensor);
  }

  /** The value of a tensor, copied into its shared buffer if it is a part of one. */
  Value placed(Tensor tensor, Value value) {
    Place place = places.get(tensor);
    if (place == null || !place.group.parts.contains(tensor)) {
      return value;
    }
    fill(place.group, place.offset, value, place.channels);
    return part(place.group, place.offset, place.channels);
  }

  /** Lowers a concatenation of channels: copies into the buffer what is not there yet. */
  void concat(Node node) {
    Place place = places.get(node.output());
    int offset = 0;
    for (int i = 0; i < node.inputs().size(); i++) {
      Tensor input = node.input(i);
      int channels = (int) input.size(1);
      Place own = places.get(input);
      if (own == null || own.group != place.group || own.offset != offset) {
        fill(place.group, offset, lowering.value(input), channels);
        int from = offset;
        int index = i;
        if (lowering.wants(node, i)) {
          lowering.tape(
              () -> lowering.contribute(node, index, gradient(place.group, from, channels)));
        }
      }
      offset += channels;
    }
    lowering.bind(node.output(), part(place.group, 0, offset));
  }

  private void fill(Group group, int offset, Value value, int channels) {
    if (group.data == null) {
      long[] shape = value.dims();
      shape[1] = group.channels;
      group.data =
          lowering.program.value("concat", lowering.compute, shape, Value.channelsLast(shape));
    }
    Value source = lowering.rows(value);
    Value target = part(group, offset, channels);
    if (!group.normalised) {
      move(source, target, false);
      return;
    }
    lowering.program.loop(
        "concat",
        0,
        List.of(source),
        List.of(target),
        () -> {
          Moments moments = new Moments(channels);
          Rows from = rows(source);
          Rows copy = rows(target);
          int pixels = pixels(source);
          float[] mean = new float[channels];
          float[] variance = new float[channels];
          return team -> {
            moments.begin(from);
            moments.add(team, from, copy, pixels);
            moments.end(mean, variance);
            System.arraycopy(mean, 0, group.mean, offset, channels);
            System.arraycopy(variance, 0, group.variance, offset, channels);
          };
        });
  }

  private static Value part(Group group, int offset, int channels) {
    return group.data.narrowed(1, offset, channels, 1);
  }

  // Batch norms that read a shared buffer.

  /** The mean of every channel of a tensor that is in a shared buffer, filled when it runs. */
  void readMoments(Tensor tensor, float[] mean, float[] variance) {
    Place place = places.get(tensor);
    System.arraycopy(place.group.mean, place.offset, mean, 0, place.channels);
    System.arraycopy(place.group.variance, place.offset, variance, 0, place.channels);
  }

  /** Adds to the coefficients of the deferred terms, when it runs. */
  void defer(Tensor tensor, float[] lift, float[] slope) {
    Place place = places.get(tensor);
    for (int c = 0; c < place.channels; c++) {
      place.group.lift[place.offset + c] += lift[c];
      place.group.slope[place.offset + c] += slope[c];
    }
  }

  // Gradients.

  /** Where the gradient of a tensor has to be added, and whether there is something already. */
  record Target(Value value, boolean adding) {}

  /** Where to add a gradient; emit the step that does it next. */
  Target target(Tensor tensor) {
    Place place = places.get(tensor);
    Group group = place.group;
    boolean adding = group.gradient != null;
    if (!adding) {
      // In float32 in any case: many gradients are added here.
      long[] shape = group.data.dims();
      group.gradient =
          lowering.program.value("concat gradient", Type.FLOAT32, shape, Value.channelsLast(shape));
      lowering.program.loop(
          "zero",
          0,
          List.of(),
          List.of(),
          () ->
              team -> {
                Arrays.fill(group.lift, 0);
                Arrays.fill(group.slope, 0);
              });
      if (place.channels < group.channels) {
        lowering.zero(group.gradient);
        adding = true;
      }
    }
    return new Target(group.gradient.narrowed(1, place.offset, place.channels, 1), adding);
  }

  void add(Tensor tensor, Value gradient) {
    Value source = lowering.rows(gradient);
    Target target = target(tensor);
    move(source, target.value, target.adding);
  }

  /** The gradient of a part, complete; null if nobody contributed. */
  Value gradient(Tensor tensor) {
    Place place = places.get(tensor);
    return gradient(place.group, place.offset, place.channels);
  }

  /** The gradient of a part, complete, made where it is needed; null if nobody contributed. */
  Deferred deferredGradient(Tensor tensor) {
    Place place = places.get(tensor);
    return place.group.gradient == null
        ? null
        : new Settled(place.group, place.offset, place.channels);
  }

  private Value gradient(Group group, int offset, int channels) {
    if (group.gradient == null) {
      return null;
    }
    long[] dims = part(group, offset, channels).dims();
    return new Settled(group, offset, channels).whole(lowering, "gradient", lowering.compute, dims);
  }

  /** The gradient of some channels, with the terms that batch norms deferred. */
  private record Settled(Group group, int offset, int channels) implements Deferred {

    @Override
    public List<Value> reads() {
      Value sum = group.gradient.narrowed(1, offset, channels, 1);
      return group.normalised ? List.of(sum, part(group, offset, channels)) : List.of(sum);
    }

    @Override
    public Supplier<Program.Body> fill(Value to, long first) {
      Value sum = group.gradient.narrowed(1, offset, channels, 1);
      Value sums = sum.narrowed(0, first, to.size(0), 1);
      Value xs = part(group, offset, channels).narrowed(0, first, to.size(0), 1);
      return () -> {
        Rows from = rows(sums);
        Rows reference = rows(xs);
        Rows into = rows(to);
        int pixels = pixels(sums);
        Loops loops = Loops.best();
        float[] mean = new float[channels];
        float[] lift = new float[channels];
        float[] slope = new float[channels];
        return team -> {
          System.arraycopy(group.mean, offset, mean, 0, channels);
          System.arraycopy(group.lift, offset, lift, 0, channels);
          System.arraycopy(group.slope, offset, slope, 0, channels);
          team.run(
              (m, n) -> {
                int begin = Team.share(pixels, m, n);
                int end = Team.share(pixels, m + 1, n);
                if (group.normalised) {
                  loops.settle(from, reference, into, channels, begin, end, mean, lift, slope);
                } else {
                  loops.copy(from, into, false, channels, begin, end);
                }
              });
        };
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
