package sparkvision.plan;

import java.util.List;
import java.util.function.Supplier;
import sparkvision.kernels.Type;

/**
 * A channels-last tensor that is not in memory: some images of it at a time are made where they are
 * needed, from values that are, while they fit into a cache.
 */
interface Deferred {

  /** What the images are made from. */
  List<Value> reads();

  /**
   * Makes the images from {@code first} on, as many as {@code to} has room for.
   *
   * @return asked for once, when every value has its place
   */
  Supplier<Program.Body> fill(Value to, long first);

  /** What kind of work that is, for the profile. */
  String kind();

  /** The whole tensor, in memory of its own. */
  default Value whole(Lowering l, String name, Type type, long[] dims) {
    Value value = l.program.value(name, type, dims, Value.channelsLast(dims));
    emit(l, value, 0);
    return value;
  }

  /** Emits the step that makes images. */
  default void emit(Lowering l, Value to, long first) {
    l.program.loop(kind(), 4.0 * to.elements(), reads(), List.of(to), fill(to, first));
  }
}
