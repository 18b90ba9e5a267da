package sparkvision.data;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.io.Serializable;
import java.io.UncheckedIOException;

/**
 * What Spark tasks take and return, as bytes.
 *
 * <p>A cluster may force Kryo on them, and Kryo knows no records; bytes pass everywhere.
 */
public final class TaskBytes {

  private TaskBytes() {}

  public static byte[] pack(Serializable value) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
      out.writeObject(value);
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot pack a " + value.getClass().getSimpleName(), e);
    }
    return bytes.toByteArray();
  }

  /**
   * Reads here and not in a library of Spark's, whose class loader does not know our classes.
   *
   * @throws IllegalStateException if the bytes hold something else
   */
  public static <T> T unpack(byte[] bytes, Class<T> type) {
    try (ObjectInputStream in = new ObjectInputStream(new ByteArrayInputStream(bytes))) {
      return type.cast(in.readObject());
    } catch (IOException | ClassNotFoundException | ClassCastException e) {
      throw new IllegalStateException("Cannot unpack a " + type.getSimpleName() + ": " + e, e);
    }
  }
}
