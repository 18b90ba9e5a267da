package sparkvision.engine;

import java.util.stream.Stream;
import sparkvision.graph.Graph;
import sparkvision.graph.Tensor;
import sparkvision.kernels.Team;
import sparkvision.kernels.Type;
import sparkvision.plan.CompiledGraph;
import sparkvision.weights.HostTensor;

/** The fast engine: oneDNN's kernels and our own loops over planned memory. */
final class CompiledEngine extends GraphEngine {

  private final CompiledGraph compiled;
  private final Optimizer.Scratch[] scratches; // one per thread

  CompiledEngine(Graph graph, OptimizerConfig config, EngineOptions options) {
    super(graph, config);
    this.compiled = new CompiledGraph(graph, layout, settings(options));
    this.scratches =
        Stream.generate(Optimizer.Scratch::new)
            .limit(options.threads())
            .toArray(Optimizer.Scratch[]::new);
    initialise();
  }

  private static CompiledGraph.Settings settings(EngineOptions options) {
    return new CompiledGraph.Settings(
        options.threads(),
        options.precision() == EngineOptions.Precision.FLOAT32 ? Type.FLOAT32 : Type.BFLOAT16,
        options.memory() == EngineOptions.Memory.LEAN,
        options.poison());
  }

  @Override
  void readWeights(long offset, float[] target, int count) {
    compiled.readWeights(offset, target, count);
  }

  @Override
  void writeWeights(long offset, float[] source, int count) {
    compiled.writeWeights(offset, source, count);
  }

  @Override
  void readGradients(long offset, float[] target, int count) {
    compiled.readGradients(offset, target, count);
  }

  @Override
  void write(Tensor input, HostTensor values) {
    if (input.type() == Tensor.Type.INT64) {
      compiled.write(input, values.longs());
    } else {
      compiled.write(input, values.floats());
    }
  }

  @Override
  void runForward(long draw) {
    compiled.forward(draw);
  }

  @Override
  void runForwardBackward(long draw) {
    compiled.forwardBackward(draw);
  }

  @Override
  void read(Tensor result, float[] target) {
    compiled.read(result, target);
  }

  @Override
  void readInputGradient(Tensor input, float[] target) {
    compiled.readGradient(input, target);
  }

  /** Tiles are dealt out in runs, one per thread. */
  @Override
  Optimizer.Loop loop() {
    return (tiles, body) -> {
      Team team = compiled.team();
      team.enter();
      team.run(
          (member, members) -> {
            int end = Team.share(tiles, member + 1, members);
            for (int tile = Team.share(tiles, member, members); tile < end; tile++) {
              body.run(tile, scratches[member]);
            }
          });
    };
  }

  @Override
  public long plannedBytes() {
    return compiled.plannedBytes();
  }

  @Override
  public double flopPerStep() {
    return compiled.flop();
  }

  @Override
  public void measure() {
    compiled.measure();
  }

  @Override
  public String explain() {
    return compiled.explain();
  }

  @Override
  void free() {
    compiled.close();
  }
}
