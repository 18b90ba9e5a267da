package sparkvision.kernels;

/** bfloat16: the upper half of a float32. */
public final class Bfloat16 {

  private Bfloat16() {}

  public static float toFloat(short bits) {
    return Float.intBitsToFloat(bits << 16);
  }

  /** Rounded to nearest, ties to even. */
  public static short of(float value) {
    int bits = Float.floatToRawIntBits(value);
    return (short) ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16);
  }
}
