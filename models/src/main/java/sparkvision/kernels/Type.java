package sparkvision.kernels;

/** What a buffer's elements are. */
public enum Type {
  FLOAT32(4),
  BFLOAT16(2);

  private final int bytes;

  Type(int bytes) {
    this.bytes = bytes;
  }

  /** Bytes per element. */
  public int bytes() {
    return bytes;
  }
}
