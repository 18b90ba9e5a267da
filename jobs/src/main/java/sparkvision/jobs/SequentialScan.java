package sparkvision.jobs;

import java.util.Arrays;
import java.util.Map;
import java.util.TreeMap;
import sparkvision.weights.HostTensor;

/**
 * The selective scan and its gradients as one writes them down: token after token, every state
 * kept. What {@code bench scan} compares the engine's kernel with, in time and in numbers.
 *
 * <p>Sequences are (B, L, E), b and c (B, L, N), a (E, N), d and bias (E).
 */
final class SequentialScan {

  private final int batch;
  private final int length;
  private final int channels;
  private final int states;
  private final Map<String, float[]> x = new TreeMap<>();
  private final Map<String, float[]> gradients = new TreeMap<>();
  private final float[] weights;
  private final float[] y;
  private final float[] sums; // y before the gate, of one sequence
  private final float[] steps; // softplus(delta + bias)
  private final float[] decays; // (L, E, N)
  private final float[] h; // (L + 1, E, N), the first is zero
  private final float[] later; // the gradient of h

  /**
   * @param values u, delta, a, b, c, d, z and bias
   * @param weights of y in the loss
   */
  SequentialScan(Map<String, HostTensor> values, HostTensor weights) {
    values.forEach((name, value) -> x.put(name, value.floats()));
    x.forEach((name, value) -> gradients.put(name, new float[value.length]));
    this.weights = weights.floats();
    long[] sequence = values.get("u").shape();
    this.batch = (int) sequence[0];
    this.length = (int) sequence[1];
    this.channels = (int) sequence[2];
    this.states = (int) values.get("a").shape()[1];
    this.y = new float[x.get("u").length];
    this.sums = new float[length * channels];
    this.steps = new float[length * channels];
    this.decays = new float[length * channels * states];
    this.h = new float[(length + 1) * channels * states];
    this.later = new float[channels * states];
  }

  /** Forward and backward of Σ weights·y. */
  void run() {
    gradients.values().forEach(g -> Arrays.fill(g, 0));
    for (int sequence = 0; sequence < batch; sequence++) {
      forward(sequence);
      backward(sequence);
    }
  }

  float[] result() {
    return y;
  }

  float[] gradient(String name) {
    return gradients.get(name);
  }

  private void forward(int sequence) {
    float[] u = x.get("u");
    float[] delta = x.get("delta");
    float[] a = x.get("a");
    float[] b = x.get("b");
    float[] c = x.get("c");
    float[] d = x.get("d");
    float[] z = x.get("z");
    float[] bias = x.get("bias");
    int first = sequence * length;
    for (int t = 0; t < length; t++) {
      for (int e = 0; e < channels; e++) {
        int at = (first + t) * channels + e;
        float raw = delta[at] + bias[e];
        float step = raw > 20 ? raw : (float) Math.log1p(Math.exp(raw));
        float sum = d[e] * u[at];
        for (int n = 0; n < states; n++) {
          int state = (t * channels + e) * states + n;
          float decay = (float) Math.exp(step * a[e * states + n]);
          float now = decay * h[state] + step * u[at] * b[(first + t) * states + n];
          decays[state] = decay;
          h[state + channels * states] = now;
          sum += now * c[(first + t) * states + n];
        }
        steps[t * channels + e] = step;
        sums[t * channels + e] = sum;
        y[at] = sum * z[at] * sigmoid(z[at]);
      }
    }
  }

  private void backward(int sequence) {
    float[] u = x.get("u");
    float[] delta = x.get("delta");
    float[] a = x.get("a");
    float[] b = x.get("b");
    float[] c = x.get("c");
    float[] d = x.get("d");
    float[] z = x.get("z");
    float[] bias = x.get("bias");
    float[] ofU = gradients.get("u");
    float[] ofDelta = gradients.get("delta");
    float[] ofA = gradients.get("a");
    float[] ofB = gradients.get("b");
    float[] ofC = gradients.get("c");
    float[] ofD = gradients.get("d");
    float[] ofZ = gradients.get("z");
    float[] ofBias = gradients.get("bias");
    int first = sequence * length;
    Arrays.fill(later, 0);
    for (int t = length - 1; t >= 0; t--) {
      for (int e = 0; e < channels; e++) {
        int at = (first + t) * channels + e;
        float step = steps[t * channels + e];
        float gate = sigmoid(z[at]);
        float ofSum = weights[at] * z[at] * gate;
        ofZ[at] = weights[at] * sums[t * channels + e] * gate * (1 + z[at] * (1 - gate));
        ofD[e] += ofSum * u[at];
        float ofInput = 0; // of step·u
        float ofStep = 0;
        for (int n = 0; n < states; n++) {
          int state = (t * channels + e) * states + n;
          int token = (first + t) * states + n;
          int rate = e * states + n;
          float ofState = later[rate] + ofSum * c[token];
          ofC[token] += ofSum * h[state + channels * states];
          ofB[token] += ofState * step * u[at];
          ofInput += ofState * b[token];
          later[rate] = ofState * decays[state];
          float ofExponent = later[rate] * h[state];
          ofStep += ofExponent * a[rate];
          ofA[rate] += ofExponent * step;
        }
        ofU[at] = ofSum * d[e] + ofInput * step;
        float ofRaw = (ofStep + ofInput * u[at]) * sigmoid(delta[at] + bias[e]);
        ofDelta[at] = ofRaw;
        ofBias[e] += ofRaw;
      }
    }
  }

  private static float sigmoid(float value) {
    return (float) (1 / (1 + Math.exp(-value)));
  }
}
