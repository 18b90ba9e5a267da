package sparkvision;

import java.util.Random;
import sparkvision.graph.Initializer;
import sparkvision.weights.HostTensor;

/** Numbers for tests, drawn from fixed seeds: one tensor at a time, or many from one object. */
public final class Draw {

  private final Random random;

  public Draw(long seed) {
    random = new Random(seed * 0x9E3779B97F4A7C15L); // neighbouring seeds begin alike otherwise
  }

  /** From {@code least} to {@code most}, both inclusive. */
  public int number(int least, int most) {
    return least + random.nextInt(most - least + 1);
  }

  /** As many numbers, each from {@code least} to {@code most}. */
  public long[] numbers(int count, int least, int most) {
    return random.ints(count, least, most + 1).asLongStream().toArray();
  }

  /** True half of the time. */
  public boolean coin() {
    return random.nextBoolean();
  }

  /** All of [0, count) in some order. */
  public int[] order(int count) {
    int[] order = new int[count];
    for (int i = 0; i < count; i++) {
      int j = random.nextInt(i + 1);
      order[i] = order[j];
      order[j] = i;
    }
    return order;
  }

  /** Standard normal values. */
  public HostTensor values(long... shape) {
    return normal(random.nextLong(), shape);
  }

  /** Values above 0.3. */
  public HostTensor positive(long... shape) {
    HostTensor values = values(shape);
    for (int i = 0; i < values.floats().length; i++) {
      values.floats()[i] = 0.3f + Math.abs(values.floats()[i]);
    }
    return values;
  }

  /** Values of both signs that keep their distance from each other and from zero. */
  public HostTensor apart(long... shape) {
    int count = elements(shape);
    int[] order = order(count);
    float distance = Math.max(0.02f, 4f / count);
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = distance * (order[i] - count / 2 + 0.5f + 0.4f * (random.nextFloat() - 0.5f));
    }
    return HostTensor.of(values, shape);
  }

  /** Whole numbers in [0, end). */
  public HostTensor indices(int end, long... shape) {
    return HostTensor.ofLongs(random.longs(elements(shape), 0, end).toArray(), shape);
  }

  /** Standard normal values. */
  public static HostTensor normal(long seed, long... shape) {
    float[] values = new float[elements(shape)];
    Random random = new Random(seed);
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return HostTensor.of(values, shape);
  }

  /** Class indices in [0, classes). */
  public static HostTensor labels(long seed, int classes, int count) {
    return HostTensor.ofLongs(new Random(seed).longs(count, 0, classes).toArray(), count);
  }

  /** Standard normal values that follow from the seed and the name, as an initializer. */
  public static Initializer normal() {
    return (seed, name, shape) -> normal(seed * 31 + name.hashCode(), shape).floats();
  }

  private static int elements(long... shape) {
    int elements = 1;
    for (long size : shape) {
      elements *= (int) size;
    }
    return elements;
  }
}
