package sparkvision.plan;

import static org.bytedeco.dnnl.global.dnnl.DNNL_ARG_SCRATCHPAD;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import sparkvision.kernels.Desc;
import sparkvision.kernels.Dnnl;
import sparkvision.kernels.Memory;
import sparkvision.kernels.Primitive;
import sparkvision.kernels.Team;
import sparkvision.kernels.Type;

/**
 * Steps over memory that is laid out once. Steps are added in the order in which they will run;
 * {@link #allocate} then gives each storage a place in one arena, where storages that are never in
 * use together share memory. A run allocates nothing.
 */
final class Program implements AutoCloseable {

  final Dnnl dnnl = new Dnnl();
  final Team team;
  private final boolean poisoned;
  private final List<Step> steps = new ArrayList<>();
  private final List<Step> once = new ArrayList<>(); // before the others, when weights have changed
  private final List<Storage> storages = new ArrayList<>();
  private final List<Memory> owned = new ArrayList<>();
  private long arenaBytes;
  private long fixedBytes;
  private final List<String> plainCalls = new ArrayList<>();
  private boolean measured;
  private boolean collectingOnce;

  /**
   * @param team the threads that will run it
   * @param poisoned every storage gets memory of its own, full of NaN before each run
   */
  Program(Team team, boolean poisoned) {
    this.team = team;
    this.poisoned = poisoned;
  }

  // Values.

  /** A storage to be placed by {@link #allocate}. */
  Storage storage(String name, long bytes) {
    Storage storage = new Storage(name, bytes);
    storages.add(storage);
    return storage;
  }

  /** A value of its own storage. */
  Value value(String name, Type type, long[] dims, long[] strides) {
    Storage storage = storage(name, Value.elements(dims) * type.bytes());
    return new Value(storage, type, dims.clone(), strides, 0);
  }

  Value rowMajor(String name, Type type, long... dims) {
    return value(name, type, dims, Value.rowMajor(dims));
  }

  /** Zeroed memory that lives as long as the program. */
  Memory own(long bytes) {
    Memory memory = new Memory(bytes);
    memory.fill(0, bytes, 0);
    owned.add(memory);
    fixedBytes += bytes;
    return memory;
  }

  /** A row-major float32 value that lives as long as the program, zero at first. */
  Value owned(String name, long... dims) {
    long bytes = Value.elements(dims) * Type.FLOAT32.bytes();
    Storage storage = Storage.fixed(name, own(bytes), 0, bytes);
    return new Value(storage, Type.FLOAT32, dims.clone(), Value.rowMajor(dims), 0);
  }

  // Steps.

  /** A step that runs a oneDNN operation; say what it reads and writes, then {@link Call#add}. */
  Call call(String kind, Primitive primitive) {
    return new Call(kind, primitive);
  }

  /** The kinds of operations that oneDNN runs one number at a time, for want of anything faster. */
  List<String> plainCalls() {
    return plainCalls;
  }

  /** A oneDNN operation with its arguments. */
  final class Call {
    private final String kind;
    private final Primitive primitive;
    private final Map<Integer, Value> arguments = new LinkedHashMap<>();
    private final List<Value> reads = new ArrayList<>();
    private final List<Value> writes = new ArrayList<>();
    private double flop;

    private Call(String kind, Primitive primitive) {
      this.kind = kind;
      this.primitive = primitive;
    }

    Call in(int argument, Value value) {
      if (value != null) {
        arguments.put(argument, value);
        reads.add(value);
      }
      return this;
    }

    Call out(int argument, Value value) {
      if (value != null) {
        arguments.put(argument, value);
        writes.add(value);
      }
      return this;
    }

    /** Says that the operation also reads what it writes. */
    Call alsoReads(Value value) {
      reads.add(value);
      return this;
    }

    Call flop(double count) {
      flop = count;
      return this;
    }

    void add() {
      if (primitive.implementation().startsWith("ref")) {
        plainCalls.add(kind);
      }
      Desc scratch = primitive.scratch();
      if (scratch.bytes() > 0) {
        Storage storage = storage("scratch", scratch.bytes());
        long[] bytes = {scratch.bytes()};
        out(DNNL_ARG_SCRATCHPAD, Value.opaque(storage, Type.FLOAT32, bytes, scratch));
      }
      Program.this.add(
          new Step(kind, reads, writes, flop) {
            @Override
            void prepare() {
              arguments.forEach(
                  (id, value) -> primitive.bind(id, value.desc(dnnl), value.address()));
              primitive.prepare();
            }

            @Override
            void run(Team team) {
              primitive.run();
            }
          });
    }
  }

  /** What a step in Java does, when its values have their places. */
  interface Body {
    void run(Team team);
  }

  /** A step in Java; {@code body} is asked for once, when every value has its place. */
  void loop(String kind, double flop, List<Value> reads, List<Value> writes, Supplier<Body> body) {
    add(
        new Step(kind, reads, writes, flop) {
          private Body prepared;

          @Override
          void prepare() {
            prepared = body.get();
          }

          @Override
          void run(Team team) {
            prepared.run(team);
          }
        });
  }

  void add(Step step) {
    if (collectingOnce) {
      step.reads.forEach(value -> value.storage.keep());
      step.writes.forEach(value -> value.storage.keep());
      once.add(step);
      return;
    }
    int index = steps.size();
    step.reads.forEach(value -> value.storage.touch(index));
    step.writes.forEach(value -> value.storage.touch(index));
    steps.add(step);
  }

  /** The steps that {@code emission} adds run only by {@link #runOnce}; what they touch is kept. */
  void once(Runnable emission) {
    collectingOnce = true;
    emission.run();
    collectingOnce = false;
  }

  int size() {
    return steps.size();
  }

  List<Step> steps() {
    return steps;
  }

  // Memory.

  /** Lays the memory out and prepares the steps. */
  void allocate() {
    List<Storage> open =
        storages.stream().filter(storage -> !storage.isFixed() && storage.dies >= 0).toList();
    if (poisoned) {
      for (Storage storage : open) {
        storage.memory = new Memory(Math.max(1, storage.bytes));
        owned.add(storage.memory);
        arenaBytes += storage.bytes;
      }
    } else {
      arenaBytes = place(open);
      Memory arena = new Memory(Math.max(1, arenaBytes));
      owned.add(arena);
      open.forEach(storage -> storage.memory = arena);
    }
    once.forEach(Step::prepare);
    steps.forEach(Step::prepare);
  }

  /** Largest first, each at the lowest place that is free during its life; returns the size. */
  private static long place(List<Storage> open) {
    List<Storage> placed = new ArrayList<>(); // by offset
    List<Storage> largestFirst =
        open.stream()
            .sorted(Comparator.comparingLong((Storage storage) -> -storage.bytes))
            .toList();
    long size = 0;
    for (Storage storage : largestFirst) {
      long offset = 0;
      for (Storage other : placed) {
        boolean together = other.born <= storage.dies && storage.born <= other.dies;
        if (together && other.offset < offset + storage.bytes) {
          offset = Math.max(offset, aligned(other.offset + other.bytes));
        }
      }
      storage.offset = offset;
      int index = 0;
      while (index < placed.size() && placed.get(index).offset <= offset) {
        index++;
      }
      placed.add(index, storage);
      size = Math.max(size, offset + storage.bytes);
    }
    return size;
  }

  private static long aligned(long bytes) {
    return (bytes + Memory.ALIGNMENT - 1) / Memory.ALIGNMENT * Memory.ALIGNMENT;
  }

  /** Bytes of the arena and of everything that lives as long as the program. */
  long plannedBytes() {
    return arenaBytes + fixedBytes;
  }

  long arenaBytes() {
    return arenaBytes;
  }

  List<Storage> storages() {
    return storages;
  }

  // Runs.

  /** From now on measures how long each step takes. */
  void measure() {
    measured = true;
  }

  /** Before the first step of a run. */
  void begin() {
    if (poisoned) {
      for (Storage storage : storages) {
        if (storage.memory != null && storage.dies < Integer.MAX_VALUE) {
          storage.memory.fill(0, storage.bytes, 0xFF);
        }
      }
    }
  }

  /** Runs the steps that depend on nothing but the weights. */
  void runOnce(Team team) {
    once.forEach(step -> step.run(team));
  }

  /** Runs the steps from {@code first} (inclusive) to {@code end} (exclusive). */
  void run(Team team, int first, int end) {
    for (int i = first; i < end; i++) {
      Step step = steps.get(i);
      long start = measured ? System.nanoTime() : 0;
      step.run(team);
      if (measured) {
        step.nanos = Math.min(step.nanos, System.nanoTime() - start);
      }
    }
  }

  @Override
  public void close() {
    dnnl.close();
    owned.forEach(Memory::close);
    owned.clear();
  }
}
