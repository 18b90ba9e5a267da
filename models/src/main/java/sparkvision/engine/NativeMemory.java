package sparkvision.engine;

import org.bytedeco.javacpp.DoublePointer;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.Pointer;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.concurrency.AffinityManager;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

/**
 * Copies between float arrays and flat ND4J arrays of floats or doubles.
 *
 * <p>On a backend whose arrays live on a device, the host's copy is brought up to date before it is
 * read, and called the newer one after it was written; on the CPU both do nothing.
 */
final class NativeMemory {

  private NativeMemory() {}

  private static Pointer readable(INDArray flat) {
    Nd4j.getAffinityManager().ensureLocation(flat, AffinityManager.Location.HOST);
    return flat.data().pointer();
  }

  /** Up to date before, since what is written may be a part. */
  private static Pointer writable(INDArray flat) {
    Pointer pointer = readable(flat);
    Nd4j.getAffinityManager().tagLocation(flat, AffinityManager.Location.HOST);
    return pointer;
  }

  static void read(INDArray flat, long offset, float[] target, int first, int count) {
    if (flat.dataType() == DataType.FLOAT) {
      new FloatPointer(readable(flat)).position(offset).get(target, first, count);
      return;
    }
    double[] values = new double[count];
    new DoublePointer(readable(flat)).position(offset).get(values);
    for (int i = 0; i < count; i++) {
      target[first + i] = (float) values[i];
    }
  }

  /** As doubles, whatever they are. */
  static double[] read(INDArray flat, long offset, int count) {
    double[] values = new double[count];
    if (flat.dataType() == DataType.DOUBLE) {
      new DoublePointer(readable(flat)).position(offset).get(values);
      return values;
    }
    float[] floats = new float[count];
    read(flat, offset, floats, 0, count);
    for (int i = 0; i < count; i++) {
      values[i] = floats[i];
    }
    return values;
  }

  /** Rounds if need be. */
  static void write(INDArray flat, long offset, double... values) {
    if (flat.dataType() == DataType.DOUBLE) {
      new DoublePointer(writable(flat)).position(offset).put(values);
      return;
    }
    float[] floats = new float[values.length];
    for (int i = 0; i < values.length; i++) {
      floats[i] = (float) values[i];
    }
    write(flat, offset, floats, 0, values.length);
  }

  static void write(INDArray flat, long offset, float[] source, int first, int count) {
    if (flat.dataType() == DataType.FLOAT) {
      new FloatPointer(writable(flat)).position(offset).put(source, first, count);
      return;
    }
    double[] values = new double[count];
    for (int i = 0; i < count; i++) {
      values[i] = source[first + i];
    }
    new DoublePointer(writable(flat)).position(offset).put(values);
  }
}
