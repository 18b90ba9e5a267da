package sparkvision.plan;

import sparkvision.kernels.Memory;

/** A piece of memory that one or several values lie in, and when it is in use. */
final class Storage {

  final String name;
  final long bytes;
  int born = Integer.MAX_VALUE; // the first step that touches it
  int dies = -1; // the last one
  Memory memory; // null until placed
  long offset;

  Storage(String name, long bytes) {
    this.name = name;
    this.bytes = bytes;
  }

  /** In memory that outlives the steps. */
  static Storage fixed(String name, Memory memory, long offset, long bytes) {
    Storage storage = new Storage(name, bytes);
    storage.memory = memory;
    storage.offset = offset;
    return storage;
  }

  boolean isFixed() {
    return memory != null;
  }

  /** Keeps it beyond the last step. */
  void keep() {
    born = 0;
    dies = Integer.MAX_VALUE;
  }

  void touch(int step) {
    born = Math.min(born, step);
    dies = Math.max(dies, step);
  }
}
