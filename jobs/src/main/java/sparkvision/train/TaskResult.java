package sparkvision.train;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.ObjectInputStream;
import java.io.Serializable;
import org.apache.commons.lang3.SerializationUtils;

/**
 * The result of a Spark task as bytes.
 *
 * <p>A cluster may force Kryo on task results, and Kryo knows no records; bytes pass everywhere.
 */
final class TaskResult {

  private TaskResult() {}

  static byte[] pack(Serializable value) {
    return SerializationUtils.serialize(value);
  }

  /** Reads here and not in a library of Spark's, whose class loader does not know our classes. */
  static <T> T unpack(byte[] bytes, Class<T> type) {
    try (ObjectInputStream in = new ObjectInputStream(new ByteArrayInputStream(bytes))) {
      return type.cast(in.readObject());
    } catch (IOException | ClassNotFoundException e) {
      throw new IllegalStateException("Cannot read the result of a task", e);
    }
  }
}
