package sparkvision.engine;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.api.ops.DynamicCustomOp;
import org.nd4j.linalg.api.ops.Op;
import org.nd4j.linalg.api.ops.impl.transforms.floating.RSqrt;
import org.nd4j.linalg.api.ops.impl.transforms.same.Sign;
import org.nd4j.linalg.factory.Nd4j;

/**
 * A list of native ND4J operations, and of steps in Java, over memory that is laid out once.
 *
 * <p>Operations are added in the order in which they will run; {@link #allocate} then gives each
 * intermediate value a place in one arena, where values that are never alive together share memory.
 * After that native operations allocate no memory for values.
 */
final class Plan implements AutoCloseable {

  /** Values start at multiples of this many elements: a cache line of floats. */
  private static final long ALIGNMENT = 16;

  /** Memory of one value, or of several that view it. */
  private static final class Storage {
    final long elements;
    INDArray base; // null until allocated
    long offset;
    int born = Integer.MAX_VALUE; // the first call that writes
    int dies = -1; // the last call that reads

    Storage(long elements) {
      this.elements = elements;
    }
  }

  /** A row-major view of some storage. */
  static final class Value {
    private final Storage storage;
    private final long[] shape;

    private Value(Storage storage, long... shape) {
      this.storage = storage;
      this.shape = shape;
    }

    long size(int axis) {
      return shape[axis];
    }

    long elements() {
      return storage.elements;
    }

    long[] shape() {
      return shape.clone();
    }
  }

  /** Work on the Java side: what is in {@code out}, all zeros, becomes values. */
  interface Step {
    void run(double[][] in, double[][] out);
  }

  private final DataType type;
  private final List<Supplier<Runnable>> calls = new ArrayList<>(); // run once there is memory
  private final List<Storage> storages = new ArrayList<>();
  private final Map<String, Value> constants = new LinkedHashMap<>();
  private final List<INDArray> owned = new ArrayList<>();
  private List<Runnable> program = List.of();

  Plan(DataType type) {
    this.type = type;
  }

  /** An intermediate value, to be written by one call and read by later ones. */
  Value value(long... shape) {
    Storage storage = new Storage(elements(shape));
    storages.add(storage);
    return new Value(storage, shape);
  }

  /** The elements of {@code flat} from {@code offset} on. */
  Value fixed(INDArray flat, long offset, long... shape) {
    Storage storage = new Storage(elements(shape));
    storage.base = flat;
    storage.offset = offset;
    return new Value(storage, shape);
  }

  /** Memory of its own for a value that is filled from outside. */
  Value external(long... shape) {
    return fixed(own(elements(shape)), 0, shape);
  }

  /** {@code number}, everywhere. */
  Value constant(double number, long... shape) {
    Value flat =
        constants.computeIfAbsent(
            number + "/" + elements(shape),
            key -> {
              Value value = external(elements(shape));
              value.storage.base.assign(number);
              return value;
            });
    return view(flat, shape);
  }

  /** The same memory, seen with another shape. */
  Value view(Value value, long... shape) {
    if (elements(shape) != value.storage.elements) {
      throw new IllegalStateException("Cannot view a value: the sizes differ");
    }
    return new Value(value.storage, shape);
  }

  /** Zeroed memory that lives as long as the plan. */
  INDArray own(long elements) {
    INDArray flat = Nd4j.create(type, elements);
    owned.add(flat);
    return flat;
  }

  /** Keeps a value after the last call that reads it. */
  void keep(Value value) {
    value.storage.dies = Integer.MAX_VALUE;
  }

  /**
   * Moves an intermediate value to a fixed place, so that nothing needs to copy it there.
   *
   * @return whether it could be moved
   */
  boolean place(Value value, INDArray flat, long offset) {
    Storage storage = value.storage;
    if (storage.base != null) {
      return false;
    }
    storage.base = flat;
    storage.offset = offset;
    return true;
  }

  /** How many calls there are so far. */
  int size() {
    return calls.size();
  }

  /** Adds a call that takes no arguments but values. */
  Value call(String op, Value out, Value... in) {
    call(op, new double[0], new long[0], List.of(out), in);
    return out;
  }

  /** Adds a call with integer arguments. */
  Value call(String op, long[] integers, Value out, Value... in) {
    call(op, new double[0], integers, List.of(out), in);
    return out;
  }

  /** Adds a call with real arguments. */
  Value call(String op, double[] numbers, Value out, Value... in) {
    call(op, numbers, new long[0], List.of(out), in);
    return out;
  }

  /** Adds a call; the arguments are those of the native operation of this name. */
  void call(String op, double[] numbers, long[] integers, List<Value> out, Value... in) {
    add(List.of(in), out, () -> nativeCall(op, numbers, integers, List.of(in), out));
  }

  /** Adds a step on the Java side, which sees all numbers as doubles. */
  void step(List<Value> in, List<Value> out, Step step) {
    add(in, out, () -> () -> run(step, in, out));
  }

  private void add(List<Value> in, List<Value> out, Supplier<Runnable> call) {
    int index = calls.size();
    calls.add(call);
    for (Value value : in) {
      value.storage.dies = Math.max(value.storage.dies, index);
    }
    for (Value value : out) {
      value.storage.born = Math.min(value.storage.born, index);
      value.storage.dies = Math.max(value.storage.dies, index);
    }
  }

  /** Lays the memory out and prepares the calls. */
  void allocate() {
    long size = layOut();
    INDArray arena = Nd4j.createUninitialized(type, Math.max(1, size));
    owned.add(arena);
    for (Storage storage : storages) {
      if (storage.base == null) {
        storage.base = arena;
      }
    }
    program = calls.stream().map(Supplier::get).toList();
  }

  /** Gives every value the lowest place that is free during its life; returns the size needed. */
  private long layOut() {
    List<Storage> open =
        storages.stream()
            .filter(storage -> storage.base == null && storage.born != Integer.MAX_VALUE)
            .sorted(Comparator.comparingInt(storage -> storage.born))
            .toList();
    List<Storage> alive = new ArrayList<>(); // by offset
    long size = 0;
    for (Storage storage : open) {
      alive.removeIf(other -> other.dies < storage.born);
      long offset = 0;
      int index = 0;
      while (index < alive.size() && alive.get(index).offset < offset + storage.elements) {
        Storage other = alive.get(index++);
        offset = (other.offset + other.elements + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
      }
      storage.offset = offset;
      alive.add(index, storage);
      size = Math.max(size, offset + storage.elements);
    }
    return size;
  }

  private Runnable nativeCall(
      String name, double[] numbers, long[] integers, List<Value> from, List<Value> to) {
    INDArray[] in = from.stream().map(this::array).toArray(INDArray[]::new);
    INDArray[] out = to.stream().map(this::array).toArray(INDArray[]::new);
    switch (name) {
      case "sign":
        return execute(new Sign(in[0], out[0]));
      case "rsqrt":
        return execute(new RSqrt(in[0], out[0]));
      default:
        DynamicCustomOp op = new DynamicCustomOp(name, in, out);
        op.addTArgument(numbers);
        op.addIArgument(integers);
        return () -> Nd4j.exec(op);
    }
  }

  private static Runnable execute(Op op) {
    return () -> Nd4j.exec(op);
  }

  private static void run(Step step, List<Value> in, List<Value> out) {
    double[][] from = in.stream().map(Plan::numbers).toArray(double[][]::new);
    double[][] to =
        out.stream().map(value -> new double[(int) value.elements()]).toArray(double[][]::new);
    step.run(from, to);
    for (int i = 0; i < to.length; i++) {
      Storage storage = out.get(i).storage;
      NativeMemory.write(storage.base, storage.offset, to[i]);
    }
  }

  private static double[] numbers(Value value) {
    Storage storage = value.storage;
    return NativeMemory.read(storage.base, storage.offset, (int) storage.elements);
  }

  /** The array behind a value; only after {@link #allocate}, unless the value is fixed. */
  INDArray array(Value value) {
    long[] shape = value.shape.length == 0 ? new long[] {1} : value.shape;
    return Nd4j.create(
        value.storage.base.data(), shape, Nd4j.getStrides(shape, 'c'), value.storage.offset, 'c');
  }

  /** Runs the calls from {@code first} (inclusive) to {@code end} (exclusive). */
  void run(int first, int end) {
    for (int i = first; i < end; i++) {
      program.get(i).run();
    }
  }

  void read(Value value, float[] target) {
    NativeMemory.read(value.storage.base, value.storage.offset, target, 0, target.length);
  }

  void write(Value value, float[] source) {
    NativeMemory.write(value.storage.base, value.storage.offset, source, 0, source.length);
  }

  private static long elements(long... shape) {
    long elements = 1;
    for (long size : shape) {
      elements = Math.multiplyExact(elements, size);
    }
    return elements;
  }

  @Override
  public void close() {
    program = List.of();
    owned.forEach(INDArray::close);
    owned.clear();
  }
}
