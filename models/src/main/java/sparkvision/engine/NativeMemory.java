package sparkvision.engine;

import org.bytedeco.javacpp.DoublePointer;
import org.bytedeco.javacpp.FloatPointer;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;

/** Copies between float arrays and flat ND4J arrays of floats or doubles. */
final class NativeMemory {

  private NativeMemory() {}

  static void read(INDArray flat, long offset, float[] target, int first, int count) {
    if (flat.dataType() == DataType.FLOAT) {
      new FloatPointer(flat.data().pointer()).position(offset).get(target, first, count);
      return;
    }
    double[] values = new double[count];
    new DoublePointer(flat.data().pointer()).position(offset).get(values);
    for (int i = 0; i < count; i++) {
      target[first + i] = (float) values[i];
    }
  }

  /** As doubles, whatever they are. */
  static double[] read(INDArray flat, long offset, int count) {
    double[] values = new double[count];
    if (flat.dataType() == DataType.DOUBLE) {
      new DoublePointer(flat.data().pointer()).position(offset).get(values);
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
      new DoublePointer(flat.data().pointer()).position(offset).put(values);
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
      new FloatPointer(flat.data().pointer()).position(offset).put(source, first, count);
      return;
    }
    double[] values = new double[count];
    for (int i = 0; i < count; i++) {
      values[i] = source[first + i];
    }
    new DoublePointer(flat.data().pointer()).position(offset).put(values);
  }
}
