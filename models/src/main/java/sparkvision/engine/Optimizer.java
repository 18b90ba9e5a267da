package sparkvision.engine;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import java.util.stream.Stream;
import sparkvision.graph.Tensor;
import sparkvision.weights.HostTensor;

/**
 * One step of {@link OptimizerConfig}'s optimizers over an engine's memory, and the state that
 * belongs to it.
 *
 * <p>Work is cut into tiles, each at most {@link #TILE} neighbouring numbers of one variable. A
 * step is up to three passes over them:
 *
 * <pre>
 *   1  clipping, LARS   sums of squares of gradients and weights, a tile
 *   2  LAMB             moments; sums of squares of weights and of the direction, a tile
 *   3  all              moments, weights, moving average
 * </pre>
 *
 * <p>Between passes the sums of the tiles are added up in their order, in double precision. Tiles
 * of one pass touch no common memory: in whatever order and on however many threads they run, the
 * bits are the same.
 *
 * <p>State by name: {@code step} (int64 scalar); for each parameter {@code momentum/<name>} (SGD
 * and LARS with momentum), or {@code exp-avg/<name>} and {@code exp-avg-sq/<name>} (Adam, AdamW,
 * LAMB); for each parameter and running statistic {@code ema/<name>}. On the heap all of these are
 * arrays of one tile each: the compiler vectorises a loop only where it indexes every array alike.
 *
 * <p>The moving average is that of timm's ModelEmaV2: it begins with the weights before the first
 * step, then follows them after every step, and running statistics likewise; they begin as they
 * stand when the first step is taken, behind its forward pass.
 *
 * @see <a href="https://arxiv.org/abs/1412.6980">Kingma and Ba, Adam, 2015, algorithm 1</a>
 * @see <a href="https://arxiv.org/abs/1711.05101">Loshchilov and Hutter, Decoupled Weight Decay
 *     Regularization, 2019, algorithm 2</a>
 */
final class Optimizer {

  /** Numbers in a tile; a few such arrays fit into a core's cache. */
  static final int TILE = 4096;

  private static final String STEP = "step";
  private static final String MOMENTUM = "momentum/";
  private static final String MEAN = "exp-avg/";
  private static final String SQUARE = "exp-avg-sq/";

  /** PyTorch's clip_grad_norm_ divides by the norm and this. */
  private static final double CLIP_EPSILON = 1e-6;

  /**
   * The engine's memory. Variables are numbered: parameters in the order of declaration, then float
   * running statistics. Several threads call it at once, for different ranges.
   */
  interface Weights {

    /**
     * Copies {@code count} numbers of a variable from its {@code first} on to the array's start.
     */
    void read(int variable, int first, float[] target, int count);

    void write(int variable, int first, float[] source, int count);

    /** As {@link #read}, of a parameter's last gradient. */
    void readGradient(int parameter, int first, float[] target, int count);
  }

  /** What is done with one tile. */
  interface Body {
    void run(int tile, Scratch scratch);
  }

  /** How an engine runs a pass: each tile below {@code tiles} once, all ended when it returns. */
  interface Loop {
    void run(int tiles, Body body);

    /** One tile after the other. */
    static Loop serial() {
      Scratch scratch = new Scratch();
      return (tiles, body) -> {
        for (int tile = 0; tile < tiles; tile++) {
          body.run(tile, scratch);
        }
      };
    }
  }

  /** Room for one tile; every thread needs its own. */
  static final class Scratch {
    private final float[] w = new float[TILE];
    private final float[] g = new float[TILE];
    private final float[] u = new float[TILE];
  }

  private final OptimizerConfig config;
  private final List<Tensor> parameters;
  private final double[] decay; // of each parameter
  private final double[] factor; // of its rate
  private final List<Tensor> variables;
  private final Weights memory;

  // Of each variable its first tile, and the number of tiles in the end; of each tile the variable.
  private final int[] firstTile;
  private final int[] firstNumber; // of each variable, all in a row
  private final int[] owner;
  private final int parameterTiles;

  // Arrays by tile; null where the optimizer has no such thing.
  private final float[][] momentum;
  private final float[][] mean;
  private final float[][] square;
  private final float[][] average;
  private float[][] gradientSum;

  private final double[] weightSquares; // sums of each tile
  private final double[] otherSquares; // of the gradient, or of LAMB's direction
  private final double[] trust; // of each parameter, what LAMB and LARS multiply its step by

  private long step;
  private int accumulated;
  private double rate;
  private double gradientScale; // of the mean, and of clipping
  private Adam[] adam; // of this step, by parameter

  /** For {@code parameters} and float {@code statistics} as {@code memory} numbers them. */
  Optimizer(
      OptimizerConfig config,
      List<Tensor> parameters,
      List<Tensor> statistics,
      Predicate<Tensor> head,
      Weights memory) {
    this.config = config;
    this.decay =
        parameters.stream().mapToDouble(p -> decays(p) ? config.weightDecay() : 0).toArray();
    this.factor =
        parameters.stream().mapToDouble(p -> head.test(p) ? config.headRate() : 1).toArray();
    this.parameters = parameters;
    this.variables = Stream.concat(parameters.stream(), statistics.stream()).toList();
    this.memory = memory;
    this.firstTile = new int[variables.size() + 1];
    this.firstNumber = new int[variables.size() + 1];
    for (int v = 0; v < variables.size(); v++) {
      firstNumber[v + 1] = Math.addExact(firstNumber[v], (int) variables.get(v).elements());
      firstTile[v + 1] =
          Math.addExact(
              firstTile[v], Math.toIntExact((variables.get(v).elements() + TILE - 1) / TILE));
    }
    this.owner = new int[firstTile[variables.size()]];
    for (int v = 0; v < variables.size(); v++) {
      Arrays.fill(owner, firstTile[v], firstTile[v + 1], v);
    }
    this.parameterTiles = firstTile[parameters.size()];
    boolean squares =
        switch (config.name()) {
          case ADAM, ADAMW, LAMB -> true;
          case SGD, LARS -> false;
        };
    this.momentum = !squares && config.momentum() > 0 ? room(parameterTiles) : null;
    this.mean = squares ? room(parameterTiles) : null;
    this.square = squares ? room(parameterTiles) : null;
    this.average = config.emaDecay() > 0 ? room(owner.length) : null;
    this.weightSquares = new double[parameterTiles];
    this.otherSquares = new double[parameterTiles];
    this.trust = new double[parameters.size()];
  }

  private float[][] room(int tiles) {
    float[][] room = new float[tiles][];
    for (int tile = 0; tile < tiles; tile++) {
      room[tile] = new float[size(tile)];
    }
    return room;
  }

  private int offset(int tile) {
    return (tile - firstTile[owner[tile]]) * TILE;
  }

  private int size(int tile) {
    return (int) Math.min(TILE, variables.get(owner[tile]).elements() - offset(tile));
  }

  /** How many steps were taken. */
  long step() {
    return step;
  }

  /**
   * The number of the next forward pass, from which dropout draws: that of steps taken, and in the
   * upper half that of gradients accumulated since.
   */
  long draw() {
    return step + ((long) accumulated << 32);
  }

  /** Adds the last gradients to a sum; the next step takes the mean of those added. */
  void accumulate(Loop loop) {
    if (gradientSum == null) {
      gradientSum = room(parameterTiles);
    }
    loop.run(parameterTiles, this::accumulate);
    accumulated++;
  }

  private void accumulate(int tile, Scratch scratch) {
    float[] g = scratch.g;
    float[] sum = gradientSum[tile];
    memory.readGradient(owner[tile], offset(tile), g, sum.length);
    if (accumulated == 0) {
      System.arraycopy(g, 0, sum, 0, sum.length);
    } else {
      add(sum, g, sum.length);
    }
  }

  /** Copies the mean of the accumulated gradients, else the last one, all parameters in a row. */
  void readGradients(float[] target, Loop loop) {
    float scale = 1f / Math.max(1, accumulated);
    loop.run(
        parameterTiles,
        (tile, scratch) -> {
          int n = size(tile);
          readGradient(tile, scratch.g, n);
          int first = start(tile);
          for (int i = 0; i < n; i++) {
            target[first + i] = scale * scratch.g[i];
          }
        });
  }

  /** From now on {@code values}, all parameters in a row, are the gradients of the next step. */
  void writeGradients(float[] values, Loop loop) {
    if (gradientSum == null) {
      gradientSum = room(parameterTiles);
    }
    loop.run(
        parameterTiles,
        (tile, scratch) ->
            System.arraycopy(values, start(tile), gradientSum[tile], 0, gradientSum[tile].length));
    accumulated = 1;
  }

  /** Where a parameter's tile begins with all parameters in a row. */
  private int start(int tile) {
    return firstNumber[owner[tile]] + offset(tile);
  }

  /** Moves the weights along the mean of the accumulated gradients, else along the last one. */
  void step(double learningRate, Loop loop) {
    step++;
    rate = learningRate;
    gradientScale = 1.0 / Math.max(1, accumulated);
    boolean lars = config.name() == OptimizerConfig.Name.LARS;
    boolean lamb = config.name() == OptimizerConfig.Name.LAMB;
    if (config.clipNorm() > 0 || lars) {
      loop.run(parameterTiles, this::measure);
    }
    if (config.clipNorm() > 0) {
      double norm = gradientScale * Math.sqrt(sum(otherSquares, 0, parameterTiles));
      gradientScale *= Math.min(1, config.clipNorm() / (norm + CLIP_EPSILON));
    }
    if (mean != null) {
      adam =
          Arrays.stream(factor)
              .mapToObj(f -> Adam.at(config, step, lamb ? 1 : f * learningRate))
              .toArray(Adam[]::new);
    }
    if (lamb) {
      loop.run(parameterTiles, this::direct);
    }
    for (int p = 0; p < trust.length; p++) {
      trust[p] = lars || lamb ? trust(p) : 1;
    }
    loop.run(average == null ? parameterTiles : owner.length, this::move);
    accumulated = 0;
  }

  private double trust(int parameter) {
    double weight = Math.sqrt(sum(weightSquares, firstTile[parameter], firstTile[parameter + 1]));
    double other = Math.sqrt(sum(otherSquares, firstTile[parameter], firstTile[parameter + 1]));
    if (parameters.get(parameter).rank() < 2 || weight == 0 || other == 0) {
      return 1;
    }
    return config.name() == OptimizerConfig.Name.LAMB
        ? weight / other
        : config.trustCoefficient()
            * weight
            / (gradientScale * other + decay[parameter] * weight + config.epsilon());
  }

  private boolean decays(Tensor parameter) {
    return (config.decayNormAndBias() || parameter.rank() > 1)
        && config.noDecay().stream().noneMatch(parameter.name()::contains);
  }

  /** The first pass. */
  private void measure(int tile, Scratch scratch) {
    int n = size(tile);
    readGradient(tile, scratch.g, n);
    otherSquares[tile] = sumOfSquares(scratch.g, n);
    if (config.name() == OptimizerConfig.Name.LARS) {
      memory.read(owner[tile], offset(tile), scratch.w, n);
      weightSquares[tile] = sumOfSquares(scratch.w, n);
    }
  }

  /** LAMB's pass over the moments. */
  private void direct(int tile, Scratch scratch) {
    int n = size(tile);
    float[] w = scratch.w;
    float[] u = scratch.u;
    memory.read(owner[tile], offset(tile), w, n);
    readGradient(tile, scratch.g, n);
    scale(scratch.g, w, n, (float) gradientScale, 0);
    Adam adam = this.adam[owner[tile]];
    adam.follow(scratch.g, mean[tile], square[tile], n);
    adam.direction(u, w, mean[tile], square[tile], n, (float) decay[owner[tile]]);
    weightSquares[tile] = sumOfSquares(w, n);
    otherSquares[tile] = sumOfSquares(u, n);
  }

  /** The last pass. */
  private void move(int tile, Scratch scratch) {
    int n = size(tile);
    float[] w = scratch.w;
    memory.read(owner[tile], offset(tile), w, n);
    if (average != null && step == 1) {
      System.arraycopy(w, 0, average[tile], 0, n);
    }
    if (tile < parameterTiles) {
      switch (config.name()) {
        case SGD, LARS -> sgd(tile, scratch, n);
        case ADAM, ADAMW -> adam(tile, scratch, n);
        case LAMB -> lamb(tile, scratch, n);
      }
      memory.write(owner[tile], offset(tile), w, n);
    }
    if (average != null) {
      approach(average[tile], w, n, (float) (1 - config.emaDecay()));
    }
  }

  private void sgd(int tile, Scratch scratch, int n) {
    float[] w = scratch.w;
    float[] g = scratch.g;
    double ratio = trust[owner[tile]];
    float step = (float) (factor[owner[tile]] * rate);
    readGradient(tile, g, n);
    scale(g, w, n, (float) (ratio * gradientScale), (float) (ratio * decay[owner[tile]]));
    if (momentum == null) {
      descend(w, g, n, step);
    } else if (config.nesterov()) {
      nesterov(w, g, momentum[tile], n, step, (float) config.momentum());
    } else {
      momentum(w, g, momentum[tile], n, step, (float) config.momentum());
    }
  }

  private void adam(int tile, Scratch scratch, int n) {
    int parameter = owner[tile];
    boolean decoupled = config.name() == OptimizerConfig.Name.ADAMW;
    readGradient(tile, scratch.g, n);
    scale(scratch.g, scratch.w, n, (float) gradientScale, decoupled ? 0 : (float) decay[parameter]);
    float kept = decoupled ? (float) (1 - factor[parameter] * rate * decay[parameter]) : 1;
    adam[parameter].move(scratch.w, scratch.g, mean[tile], square[tile], n, kept);
  }

  private void lamb(int tile, Scratch scratch, int n) {
    int parameter = owner[tile];
    float shrinking = (float) decay[parameter];
    adam[parameter].direction(scratch.u, scratch.w, mean[tile], square[tile], n, shrinking);
    descend(scratch.w, scratch.u, n, (float) (factor[parameter] * rate * trust[parameter]));
  }

  private void readGradient(int tile, float[] g, int n) {
    if (accumulated > 0) {
      System.arraycopy(gradientSum[tile], 0, g, 0, n);
    } else {
      memory.readGradient(owner[tile], offset(tile), g, n);
    }
  }

  /** What Adam and LAMB multiply by in one step; differences are taken in double precision. */
  private record Adam(
      float beta1, float gain1, float beta2, float gain2, float size, float scale, float epsilon) {

    static Adam at(OptimizerConfig config, long step, double rate) {
      return new Adam(
          (float) config.beta1(),
          (float) (1 - config.beta1()), // in float, 1 - 0.9999f is off by 1.7e-4
          (float) config.beta2(),
          (float) (1 - config.beta2()),
          (float) (rate / (1 - Math.pow(config.beta1(), (double) step))),
          (float) (1 / Math.sqrt(1 - Math.pow(config.beta2(), (double) step))),
          (float) config.epsilon());
    }

    void move(float[] w, float[] g, float[] mean, float[] square, int n, float kept) {
      for (int i = 0; i < n; i++) {
        mean[i] = beta1 * mean[i] + gain1 * g[i];
        square[i] = beta2 * square[i] + gain2 * g[i] * g[i];
        w[i] = kept * w[i] - size * mean[i] / ((float) Math.sqrt(square[i]) * scale + epsilon);
      }
    }

    void follow(float[] g, float[] mean, float[] square, int n) {
      for (int i = 0; i < n; i++) {
        mean[i] = beta1 * mean[i] + gain1 * g[i];
        square[i] = beta2 * square[i] + gain2 * g[i] * g[i];
      }
    }

    void direction(float[] u, float[] w, float[] mean, float[] square, int n, float decay) {
      for (int i = 0; i < n; i++) {
        u[i] = size * mean[i] / ((float) Math.sqrt(square[i]) * scale + epsilon) + decay * w[i];
      }
    }
  }

  /** {@code g = scale·g + decay·w}. */
  private static void scale(float[] g, float[] w, int n, float scale, float decay) {
    if (scale == 1 && decay == 0) {
      return;
    }
    for (int i = 0; i < n; i++) {
      g[i] = scale * g[i] + decay * w[i];
    }
  }

  private static void descend(float[] w, float[] direction, int n, float rate) {
    for (int i = 0; i < n; i++) {
      w[i] -= rate * direction[i];
    }
  }

  private static void momentum(
      float[] w, float[] g, float[] buffer, int n, float rate, float momentum) {
    for (int i = 0; i < n; i++) {
      buffer[i] = momentum * buffer[i] + g[i];
      w[i] -= rate * buffer[i];
    }
  }

  private static void nesterov(
      float[] w, float[] g, float[] buffer, int n, float rate, float momentum) {
    for (int i = 0; i < n; i++) {
      buffer[i] = momentum * buffer[i] + g[i];
      w[i] -= rate * (g[i] + momentum * buffer[i]);
    }
  }

  /** Not {@code decay·average + gain·w}: rounded, the two factors would not add up to 1. */
  private static void approach(float[] average, float[] w, int n, float gain) {
    for (int i = 0; i < n; i++) {
      average[i] += gain * (w[i] - average[i]);
    }
  }

  private static void add(float[] sum, float[] g, int n) {
    for (int i = 0; i < n; i++) {
      sum[i] += g[i];
    }
  }

  /** Four sums side by side: one alone would wait for every addition. */
  private static double sumOfSquares(float[] x, int n) {
    double sum0 = 0;
    double sum1 = 0;
    double sum2 = 0;
    double sum3 = 0;
    int i = 0;
    for (; i < n - 3; i += 4) {
      sum0 += (double) x[i] * x[i];
      sum1 += (double) x[i + 1] * x[i + 1];
      sum2 += (double) x[i + 2] * x[i + 2];
      sum3 += (double) x[i + 3] * x[i + 3];
    }
    for (; i < n; i++) {
      sum0 += (double) x[i] * x[i];
    }
    return (sum0 + sum1) + (sum2 + sum3);
  }

  private static double sum(double[] values, int begin, int end) {
    double sum = 0;
    for (int i = begin; i < end; i++) {
      sum += values[i];
    }
    return sum;
  }

  /** Everything that a step needs beside the weights; empty before the first step. */
  Map<String, HostTensor> state() {
    Map<String, HostTensor> state = new LinkedHashMap<>();
    if (step > 0) {
      state.put(STEP, HostTensor.ofLongs(new long[] {step}));
      moments().forEach((name, moment) -> state.put(name, moment.gather()));
    }
    return state;
  }

  /** The moving average by variable; empty before the first step, or if there is none. */
  Map<String, HostTensor> ema() {
    Map<String, HostTensor> ema = new LinkedHashMap<>();
    if (step > 0 && average != null) {
      for (int v = 0; v < variables.size(); v++) {
        ema.put(variables.get(v).name(), new Moment(average, v).gather());
      }
    }
    return ema;
  }

  /** Continues from what {@link #state} gave; forgets gradients accumulated since. */
  void load(Map<String, HostTensor> state) {
    Map<String, Moment> moments = moments();
    accumulated = 0;
    if (state.isEmpty()) {
      step = 0;
      moments.values().forEach(Moment::clear);
      return;
    }
    Map<String, Signature> expected = new LinkedHashMap<>();
    expected.put(STEP, Signature.of(Tensor.Type.INT64));
    moments.forEach((name, moment) -> expected.put(name, Signature.of(moment.variable())));
    Signature.requireMatch("load optimizer state", expected, state);
    step = state.get(STEP).longs()[0];
    moments.forEach((name, moment) -> moment.scatter(state.get(name).floats()));
  }

  /** Every part of the state but the step, by name. */
  private Map<String, Moment> moments() {
    Map<String, Moment> moments = new LinkedHashMap<>();
    put(moments, MOMENTUM, momentum, parameters.size());
    put(moments, MEAN, mean, parameters.size());
    put(moments, SQUARE, square, parameters.size());
    put(moments, Engine.EMA, average, variables.size());
    return moments;
  }

  private void put(Map<String, Moment> moments, String prefix, float[][] tiles, int count) {
    for (int v = 0; tiles != null && v < count; v++) {
      moments.put(prefix + variables.get(v).name(), new Moment(tiles, v));
    }
  }

  /** The tiles of one variable. */
  private final class Moment {

    private final float[][] tiles;
    private final int variable;

    Moment(float[][] tiles, int variable) {
      this.tiles = tiles;
      this.variable = variable;
    }

    Tensor variable() {
      return variables.get(variable);
    }

    HostTensor gather() {
      float[] values = new float[(int) variable().elements()];
      for (int tile = firstTile[variable]; tile < firstTile[variable + 1]; tile++) {
        System.arraycopy(tiles[tile], 0, values, offset(tile), tiles[tile].length);
      }
      return HostTensor.of(values, variable().shape());
    }

    void scatter(float[] values) {
      for (int tile = firstTile[variable]; tile < firstTile[variable + 1]; tile++) {
        System.arraycopy(values, offset(tile), tiles[tile], 0, tiles[tile].length);
      }
    }

    void clear() {
      for (int tile = firstTile[variable]; tile < firstTile[variable + 1]; tile++) {
        Arrays.fill(tiles[tile], 0);
      }
    }
  }
}
