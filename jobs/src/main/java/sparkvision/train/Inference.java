package sparkvision.train;

import java.util.Map;
import sparkvision.engine.Engine;
import sparkvision.engine.Engines;
import sparkvision.weights.HostTensor;

/** A network with its weights, for answers alone. Not thread-safe. */
final class Inference implements AutoCloseable {

  private final String engineName;
  private final Network network;
  private final Map<String, HostTensor> weights;
  private final Engine engine;
  private Inference resized; // the last one

  /**
   * @param weights of the network; those that only training needs may be among them
   * @throws IllegalArgumentException if a tensor is missing, unknown or of another shape
   */
  Inference(String engineName, Network network, Map<String, HostTensor> weights) {
    this.engineName = engineName;
    this.network = network;
    this.weights = weights;
    this.engine = Engines.open(engineName, network.inference(), null);
    try {
      engine.load(network.forInference(weights));
    } catch (RuntimeException e) {
      engine.close();
      throw e;
    }
  }

  Network network() {
    return network;
  }

  /**
   * Logits of a batch.
   *
   * @param images (B, C, ...)
   */
  float[] logits(float[] images) {
    return engine.forward(network.inputs(images)).get(Network.LOGITS).floats();
  }

  /**
   * The same network for inputs of another size, ready until the next call and closed with this
   * one.
   *
   * @throws IllegalArgumentException if it cannot take them
   */
  Inference resized(Objective objective) {
    if (resized == null || !resized.network.fits(objective)) {
      closeResized();
      resized = new Inference(engineName, network.resized(objective), weights);
    }
    return resized;
  }

  private void closeResized() {
    if (resized != null) {
      resized.close();
      resized = null;
    }
  }

  @Override
  public void close() {
    closeResized();
    engine.close();
  }
}
