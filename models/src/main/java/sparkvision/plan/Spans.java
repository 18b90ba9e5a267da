package sparkvision.plan;

import java.util.Arrays;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Supplier;
import sparkvision.kernels.Rows;
import sparkvision.kernels.ScanLoops;
import sparkvision.kernels.Team;

/**
 * How work on sequences (B, E, L) is cut: tokens into chunks of {@value #CHUNK}, channels into
 * blocks of {@value ScanLoops#COLUMNS}, so that all that belongs to a chunk of a block lies in the
 * first cache.
 *
 * <p>An item of work is a span of blocks of one sequence. Members of a team take the next one as
 * they are free; how the work is cut depends on sizes alone, so the number of threads changes no
 * bit. What runs backward takes the rows from the last to the first.
 */
final class Spans {

  /** Tokens that are taken together. */
  static final int CHUNK = 16;

  /** Items that are wanted, if there is so much to share out. */
  private static final int ITEMS = 16;

  /** Blocks of an item at least, since summing over their channels has its price. */
  private static final int FEWEST = 6;

  final int batch;
  final int channels;
  final int length;
  final int blocks;
  final int chunks;
  final int span; // blocks of an item
  final int spans; // of a sequence
  private final boolean backward;

  /**
   * @param dims B, E, L
   */
  Spans(long[] dims, boolean backward) {
    this.batch = (int) dims[0];
    this.channels = (int) dims[1];
    this.length = (int) dims[2];
    this.blocks = parts(channels, ScanLoops.COLUMNS);
    this.chunks = parts(length, CHUNK);
    int enough = parts(blocks, Math.max(1, ITEMS / batch));
    this.span = Math.min(blocks, Math.max(FEWEST, enough));
    this.spans = parts(blocks, span);
    this.backward = backward;
  }

  /** How many parts of a size hold {@code count}. */
  static int parts(int count, int size) {
    return (count + size - 1) / size;
  }

  /** Numbers in a chunk of a block. */
  static final int BLOCK = CHUNK * ScanLoops.COLUMNS;

  /** Room for a chunk of a block. */
  static float[] block() {
    return new float[BLOCK];
  }

  /** Tokens of a chunk. */
  int tokens(int chunk) {
    return Math.min(CHUNK, length - chunk * CHUNK);
  }

  /** The row of a chunk's first token. */
  int row(int chunk) {
    return backward ? length - 1 - chunk * CHUNK : chunk * CHUNK;
  }

  /** From a token's row to the next one's. */
  int step() {
    return backward ? -1 : 1;
  }

  /** A span of the blocks of a sequence, to be worked on. */
  interface Item {
    void run(int sequence, int span);
  }

  /** Has all items done by a worker for each member of the team. */
  Program.Body dealt(Team team, Supplier<Item> workers) {
    Item[] items = new Item[team.threads()];
    Arrays.setAll(items, member -> workers.get());
    AtomicInteger next = new AtomicInteger();
    Team.Work work =
        (m, n) -> {
          for (int i = next.getAndIncrement(); i < batch * spans; i = next.getAndIncrement()) {
            items[m].run(i / spans, i % spans);
          }
        };
    return members -> {
      next.set(0);
      members.run(work);
    };
  }

  /** (B, C, L), rows of channels, as a matrix for each sequence. */
  static Rows[] rows(Value x) {
    Rows[] rows = new Rows[(int) x.size(0)];
    for (int i = 0; i < rows.length; i++) {
      rows[i] = new Rows(x.narrowed(0, i, 1, 1).buffer(), x.type, (int) x.stride(2));
    }
    return rows;
  }

  /** Null of null. */
  Sequences sequences(Value x) {
    return x == null ? null : new Sequences(x);
  }

  /** (B, C, L) to be read and written a chunk of a block at a time. */
  final class Sequences {
    private final ScanLoops loops = ScanLoops.best();
    private final Rows[] rows;
    private final int columns;

    private Sequences(Value x) {
      this.rows = rows(x);
      this.columns = (int) x.size(1);
    }

    void load(int sequence, int chunk, int block, float[] to, int at) {
      load(sequence, row(chunk), tokens(chunk), block, 1, to, at, BLOCK);
    }

    /** A chunk of {@code count} blocks, which in {@code to} are {@link #BLOCK} apart. */
    void loadAll(int sequence, int chunk, int block, int count, float[] to) {
      load(sequence, row(chunk), tokens(chunk), block, count, to, 0, BLOCK);
    }

    /**
     * The so many tokens before a chunk, zeros before the first, of {@code count} blocks, which in
     * {@code to} follow each other.
     */
    void loadBefore(int sequence, int chunk, int block, int count, int tokens, float[] to) {
      int apart = tokens * ScanLoops.COLUMNS;
      if (chunk == 0) {
        Arrays.fill(to, 0, count * apart, 0);
      } else {
        load(sequence, row(chunk) - tokens * step(), tokens, block, count, to, 0, apart);
      }
    }

    private void load(
        int sequence, int row, int tokens, int block, int count, float[] to, int at, int apart) {
      int column = block * ScanLoops.COLUMNS;
      int width = Math.min(count * ScanLoops.COLUMNS, columns - column);
      loops.load(rows[sequence], row, step(), column, width, tokens, to, at, apart);
    }

    void store(float[] from, int at, int sequence, int chunk, int block) {
      int column = block * ScanLoops.COLUMNS;
      int width = Math.min(ScanLoops.COLUMNS, columns - column);
      loops.store(from, at, rows[sequence], row(chunk), step(), column, width, tokens(chunk));
    }
  }
}
