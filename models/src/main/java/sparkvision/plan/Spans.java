package sparkvision.plan;

import java.nio.FloatBuffer;
import java.nio.ShortBuffer;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Supplier;
import sparkvision.kernels.Bfloat16;
import sparkvision.kernels.Room;
import sparkvision.kernels.Rows;
import sparkvision.kernels.ScanLoops;
import sparkvision.kernels.Team;
import sparkvision.kernels.Type;

/**
 * How work on sequences (B, E, L) is cut: tokens into chunks of {@value #CHUNK}, channels into
 * blocks of {@value ScanLoops#COLUMNS}.
 *
 * <p>An item of work is a span of blocks of one sequence. Members of a team take the next one as
 * they are free; how the work is cut depends on sizes alone, so the number of threads changes no
 * bit. What runs backward takes the rows from the last to the first.
 *
 * <p>Where even spans of one block are few, a long sequence's chunks are shared out too, in
 * segments: see {@link #segments}.
 */
final class Spans {

  /** Tokens that are taken together. */
  static final int CHUNK = 16;

  /** Items that are wanted, if there is so much to share out. */
  private static final int ITEMS = 8;

  /**
   * Blocks of an item at least, since summing over their channels has its price: a third of the
   * gradient's time with a block, a twentieth with six. Fewer than {@link #FEWEST_ITEMS} items cost
   * more.
   */
  private static final int FEWEST = 6;

  private static final int FEWEST_ITEMS = 4;

  /** Chunks of a segment at least. */
  private static final int SEGMENT = 8;

  final int batch;
  final int channels;
  final int length;
  final int blocks;
  final int chunks;
  final int span; // blocks of an item
  final int spans; // of a sequence

  /**
   * Of a sequence whose tokens wait for each other: 1, or more where its spans are few. Every
   * segment but one is gone through twice then, the first time for what it hands to the next one:
   * of one block of channels and 6,085 tokens a scan and its gradients take 1.1 times as long with
   * one thread, 0.92 with two ({@code bench scan batch=1 channels=16 lengths=[6085] steps=600}).
   */
  final int segments;

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
    int fewest = Math.min(FEWEST, parts(blocks * batch, FEWEST_ITEMS));
    this.span = Math.min(blocks, Math.max(fewest, enough));
    this.spans = parts(blocks, span);
    int items = batch * spans;
    this.segments =
        items < FEWEST_ITEMS ? Math.max(1, Math.min(ITEMS / items, chunks / SEGMENT)) : 1;
    this.backward = backward;
  }

  /** How many parts of a size hold {@code count}. */
  static int parts(int count, int size) {
    return (count + size - 1) / size;
  }

  /** Channels of a span, and what fills up its last block. */
  int width() {
    return span * ScanLoops.COLUMNS;
  }

  /** Numbers of a chunk of a span. */
  int rows() {
    return CHUNK * width();
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

  /** Where a segment's numbers of a block begin, with a row for each state and one more. */
  int handedAt(int sequence, int segment, int block, int states) {
    return ((sequence * segments + segment) * blocks + block) * (states + 1) * ScanLoops.COLUMNS;
  }

  /** The first chunk of a segment of so many; that of the one behind the last is the end. */
  int firstChunk(int segment, int segments) {
    return Team.share(chunks, segment, segments);
  }

  /**
   * Works on a span of the blocks of a sequence, or on a segment of it, a chunk of tokens after the
   * other, and knows where it is.
   */
  abstract static class Worker {
    private final Spans spans;
    final Room room = new Room();
    float[] numbers;
    int sequence;
    int segment;
    int firstChunk;
    int endChunk;
    int firstBlock;
    int count; // blocks
    int width; // of a row of their channels
    int chunk;
    int tokens;

    Worker(Spans spans) {
      this.spans = spans;
    }

    /** Does all of the span from the first chunk to the one before the end. */
    abstract void run(int span);

    private void run(float[] numbers, int item, int segments) {
      this.numbers = numbers;
      this.segment = item % segments;
      this.firstChunk = spans.firstChunk(segment, segments);
      this.endChunk = spans.firstChunk(segment + 1, segments);
      int span = item / segments % spans.spans;
      begin(item / segments / spans.spans, span);
      run(span);
    }

    /** Before the first chunk of an item. */
    void begin(int sequence, int span) {
      this.sequence = sequence;
      this.firstBlock = span * spans.span;
      this.count = Math.min(spans.span, spans.blocks - firstBlock);
      this.width = count * ScanLoops.COLUMNS;
    }

    /** Before anything of a chunk. */
    void beginChunk(int chunk) {
      this.chunk = chunk;
      this.tokens = spans.tokens(chunk);
    }

    final void read(Sequences from, int rows) {
      from.read(sequence, chunk, firstBlock, count, numbers, rows);
    }

    /** Nothing where {@code to} is null. */
    final void write(int rows, Sequences to) {
      if (to != null) {
        to.write(numbers, rows, sequence, chunk, firstBlock, count);
      }
    }

    /** Makes numbers zero. */
    final void clear(int first, int count) {
      Arrays.fill(numbers, first, first + count, 0);
    }
  }

  /** Has all spans done by a worker for each member of the team. */
  Program.Body dealt(Team team, Supplier<Worker> makers) {
    return dealt(team, 1, makers);
  }

  /** Has so many segments of all spans done by a worker for each member of the team. */
  Program.Body dealt(Team team, int segments, Supplier<Worker> makers) {
    Worker[] workers = new Worker[team.threads()];
    Arrays.setAll(workers, member -> makers.get());
    AtomicInteger next = new AtomicInteger();
    int items = batch * spans * segments;
    Team.Work work =
        (m, n) -> {
          float[] numbers = team.numbers(m, workers[m].room.size());
          for (int i = next.getAndIncrement(); i < items; i = next.getAndIncrement()) {
            workers[m].run(numbers, i, segments);
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

  /** (B, C, L) to be read and written a chunk at a time, by one thread. */
  final class Sequences {
    private final FloatBuffer[] floats; // by sequence, as shorts, of which one is null
    private final ShortBuffer[] shorts;
    private final int stride;
    private final int columns;
    private short[] row = {};

    private Sequences(Value x) {
      this.stride = (int) x.stride(2);
      this.columns = (int) x.size(1);
      boolean whole = x.type == Type.FLOAT32;
      Rows[] rows = rows(x);
      this.floats = whole ? new FloatBuffer[rows.length] : null;
      this.shorts = whole ? null : new ShortBuffer[rows.length];
      for (int i = 0; i < rows.length; i++) {
        if (whole) {
          floats[i] = rows[i].data().asFloatBuffer();
        } else {
          shorts[i] = rows[i].data().asShortBuffer();
        }
      }
    }

    /**
     * Reads the tokens of a chunk, of each the channels of {@code count} blocks; zeros where there
     * are no more channels.
     */
    void read(int sequence, int chunk, int block, int count, float[] to, int at) {
      read(sequence, row(chunk), tokens(chunk), block, count, to, at);
    }

    /** As {@link #read}, of the so many tokens before a chunk; zeros before the first. */
    void readBefore(int sequence, int chunk, int block, int count, int tokens, float[] to, int at) {
      if (chunk == 0) {
        Arrays.fill(to, at, at + tokens * count * ScanLoops.COLUMNS, 0);
      } else {
        read(sequence, row(chunk) - tokens * step(), tokens, block, count, to, at);
      }
    }

    private void read(
        int sequence, int first, int tokens, int block, int count, float[] to, int at) {
      int width = width(block, count);
      for (int t = 0; t < tokens; t++) {
        int from = (first + t * step()) * stride + block * ScanLoops.COLUMNS;
        int begin = at + t * count * ScanLoops.COLUMNS;
        if (floats != null) {
          floats[sequence].get(from, to, begin, width);
        } else {
          row = row.length < width ? new short[width] : row;
          shorts[sequence].get(from, row, 0, width);
          for (int i = 0; i < width; i++) {
            to[begin + i] = Bfloat16.toFloat(row[i]);
          }
        }
        Arrays.fill(to, begin + width, begin + count * ScanLoops.COLUMNS, 0);
      }
    }

    /** Writes what {@link #read} would read. */
    void write(float[] from, int at, int sequence, int chunk, int block, int count) {
      int width = width(block, count);
      for (int t = 0; t < tokens(chunk); t++) {
        int to = (row(chunk) + t * step()) * stride + block * ScanLoops.COLUMNS;
        int begin = at + t * count * ScanLoops.COLUMNS;
        if (floats != null) {
          floats[sequence].put(to, from, begin, width);
        } else {
          row = row.length < width ? new short[width] : row;
          for (int i = 0; i < width; i++) {
            row[i] = Bfloat16.of(from[begin + i]);
          }
          shorts[sequence].put(to, row, 0, width);
        }
      }
    }

    private int width(int block, int count) {
      return Math.min(count * ScanLoops.COLUMNS, columns - block * ScanLoops.COLUMNS);
    }
  }
}
