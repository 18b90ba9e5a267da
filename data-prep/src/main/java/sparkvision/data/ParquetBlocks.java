package sparkvision.data;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.zip.CRC32C;
import org.apache.parquet.ParquetReadOptions;
import org.apache.parquet.column.ParquetProperties;
import org.apache.parquet.column.page.PageReadStore;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.example.data.simple.convert.GroupRecordConverter;
import org.apache.parquet.format.ColumnChunk;
import org.apache.parquet.format.FileMetaData;
import org.apache.parquet.format.RowGroup;
import org.apache.parquet.format.Util;
import org.apache.parquet.hadoop.ParquetFileReader;
import org.apache.parquet.hadoop.ParquetFileWriter;
import org.apache.parquet.hadoop.ParquetWriter;
import org.apache.parquet.hadoop.example.ExampleParquetWriter;
import org.apache.parquet.io.ColumnIOFactory;
import org.apache.parquet.io.DelegatingSeekableInputStream;
import org.apache.parquet.io.InputFile;
import org.apache.parquet.io.OutputFile;
import org.apache.parquet.io.PositionOutputStream;
import org.apache.parquet.io.RecordReader;
import org.apache.parquet.io.SeekableInputStream;
import org.apache.parquet.schema.MessageType;

/**
 * A Parquet file whose row groups hold exactly the samples they are told to, with a checksum each.
 *
 * <p>Parquet 1.13 ends row groups by size only. So a block is written in memory as a file of one
 * row group, which is then appended to the real file byte by byte.
 */
final class ParquetBlocks implements AutoCloseable {

  private final Task task;
  private final MessageType schema;
  private static final int MAGIC_BYTES = 4; // "PAR1"

  private final SummedStream stream;
  private final ParquetFileWriter writer;
  private final List<ShardManifest.Block> blocks = new ArrayList<>();

  /** Writes to {@code out}, which {@link #close} closes. */
  ParquetBlocks(Task task, OutputStream out) throws IOException {
    this.task = task;
    schema = SampleRows.schema(task);
    stream = new SummedStream(out);
    writer =
        new ParquetFileWriter(
            new StreamOutput(stream),
            schema,
            ParquetFileWriter.Mode.CREATE,
            ParquetWriter.DEFAULT_BLOCK_SIZE,
            0,
            ParquetProperties.DEFAULT_COLUMN_INDEX_TRUNCATE_LENGTH,
            ParquetProperties.DEFAULT_STATISTICS_TRUNCATE_LENGTH,
            ParquetProperties.DEFAULT_PAGE_WRITE_CHECKSUM_ENABLED);
    writer.start();
  }

  /** Writes one row group; its encoded images together stay under 1 GiB. */
  void append(List<Sample> samples) throws IOException {
    ByteArrayOutputStream file = new ByteArrayOutputStream();
    try (ParquetWriter<Group> rows =
        ExampleParquetWriter.builder(new StreamOutput(new SummedStream(file)))
            .withType(schema)
            .withRowGroupSize(1L << 40)
            .withDictionaryEncoding("id", false)
            .withDictionaryEncoding("image", false)
            .withDictionaryEncoding("mask", false)
            .withDictionaryEncoding("objects.list.element.rle", false)
            .build()) {
      for (Sample sample : samples) {
        rows.write(SampleRows.row(task, schema, sample));
      }
    }
    long offset = stream.getPos();
    stream.block.reset();
    byte[] bytes = file.toByteArray();
    writer.appendFile(new MemoryInput(bytes.length, 0, bytes));
    blocks.add(
        new ShardManifest.Block(
            samples.size(), offset, stream.getPos() - offset, hex(stream.block)));
  }

  /**
   * The end of a file with the encodings of every column in order: Parquet writes them as a hash
   * set gives them, which differs from one JVM to the next, and with it the file's checksum.
   */
  private static byte[] ordered(byte[] end) throws IOException {
    int tail = Integer.BYTES + MAGIC_BYTES; // the footer's length stands before the magic number
    int length = ByteBuffer.wrap(end).order(ByteOrder.LITTLE_ENDIAN).getInt(end.length - tail);
    int begin = end.length - tail - length;
    FileMetaData footer = Util.readFileMetaData(new ByteArrayInputStream(end, begin, length));
    for (RowGroup block : footer.getRow_groups()) {
      for (ColumnChunk column : block.getColumns()) {
        Collections.sort(column.getMeta_data().getEncodings());
        if (column.getMeta_data().isSetEncoding_stats()) {
          Collections.sort(column.getMeta_data().getEncoding_stats());
        }
      }
    }
    ByteArrayOutputStream result = new ByteArrayOutputStream();
    result.write(end, 0, begin);
    Util.writeFileMetaData(footer, result);
    if (result.size() != begin + length) {
      throw new IOException("Cannot order a footer of " + length + " bytes: its length changes");
    }
    result.write(end, end.length - tail, tail);
    return result.toByteArray();
  }

  /** Writes the footer and describes the file. */
  ShardManifest.ShardFile finish(String name) throws IOException {
    stream.block.reset();
    stream.hold();
    writer.end(
        new TreeMap<>(
            Map.of(
                "sparkvision.shard-version",
                Integer.toString(ShardManifest.VERSION),
                "sparkvision.task",
                task.toString())));
    byte[] end = ordered(stream.release());
    stream.write(end, 0, end.length);
    return new ShardManifest.ShardFile(
        name, stream.getPos(), hex(stream.file), List.copyOf(blocks), hex(stream.block));
  }

  @Override
  public void close() throws IOException {
    stream.close();
  }

  /** Parses one row group of a file of which only this row group and the footer are at hand. */
  static List<Sample> parse(
      Task task, long fileLength, ShardManifest.Block block, byte[] bytes, byte[] footer)
      throws IOException {
    MessageType schema = SampleRows.schema(task);
    InputFile file = new MemoryInput(fileLength, block.offset(), bytes, footer);
    ParquetReadOptions options =
        ParquetReadOptions.builder()
            .withRange(block.offset(), block.offset() + block.length())
            .build();
    try (ParquetFileReader reader = ParquetFileReader.open(file, options)) {
      PageReadStore pages = reader.readNextRowGroup();
      if (pages == null || pages.getRowCount() != block.samples()) {
        throw new IOException("the footer does not know its " + block.samples() + " rows");
      }
      RecordReader<Group> rows =
          new ColumnIOFactory()
              .getColumnIO(schema)
              .getRecordReader(pages, new GroupRecordConverter(schema));
      List<Sample> samples = new ArrayList<>(block.samples());
      for (int i = 0; i < block.samples(); i++) {
        samples.add(SampleRows.sample(task, rows.read()));
      }
      return samples;
    }
  }

  private static String hex(CRC32C crc) {
    return Storage.hex((int) crc.getValue());
  }

  /** Counts and sums what passes: from the start, and from the last reset of {@link #block}. */
  private static final class SummedStream extends PositionOutputStream {
    final CRC32C file = new CRC32C();
    final CRC32C block = new CRC32C();
    private final OutputStream out;
    private ByteArrayOutputStream held; // what is not yet on its way to the file
    private long position;

    SummedStream(OutputStream out) {
      this.out = out;
    }

    /** Keeps what comes from now on in memory. */
    void hold() {
      held = new ByteArrayOutputStream();
    }

    /** Returns what was kept, and passes on what comes from now on. */
    byte[] release() {
      byte[] bytes = held.toByteArray();
      held = null;
      return bytes;
    }

    @Override
    public long getPos() {
      return position + (held == null ? 0 : held.size());
    }

    @Override
    public void write(int value) throws IOException {
      write(new byte[] {(byte) value}, 0, 1);
    }

    @Override
    public void write(byte[] bytes, int offset, int length) throws IOException {
      if (held != null) {
        held.write(bytes, offset, length);
        return;
      }
      out.write(bytes, offset, length);
      file.update(bytes, offset, length);
      block.update(bytes, offset, length);
      position += length;
    }

    @Override
    public void flush() throws IOException {
      out.flush();
    }

    @Override
    public void close() throws IOException {
      if (held == null) {
        out.close();
      }
    }
  }

  private record StreamOutput(SummedStream stream) implements OutputFile {
    @Override
    public PositionOutputStream create(long blockSizeHint) {
      return stream;
    }

    @Override
    public PositionOutputStream createOrOverwrite(long blockSizeHint) {
      return stream;
    }

    @Override
    public boolean supportsBlockSize() {
      return false;
    }

    @Override
    public long defaultBlockSize() {
      return 0;
    }
  }

  /** A file of which a middle part and the end are in memory. */
  private record MemoryInput(long length, long offset, byte[] middle, byte[] end)
      implements InputFile {

    MemoryInput(long length, long offset, byte[] middle) {
      this(length, offset, middle, new byte[0]);
    }

    @Override
    public long getLength() {
      return length;
    }

    @Override
    public SeekableInputStream newStream() {
      MemoryStream stream = new MemoryStream(this);
      return new DelegatingSeekableInputStream(stream) {
        @Override
        public long getPos() {
          return stream.position;
        }

        @Override
        public void seek(long position) {
          stream.position = position;
        }
      };
    }
  }

  private static final class MemoryStream extends InputStream {
    private final MemoryInput file;
    private long position;

    MemoryStream(MemoryInput file) {
      this.file = file;
    }

    @Override
    public int read() throws IOException {
      byte[] one = new byte[1];
      return read(one, 0, 1) < 0 ? -1 : one[0] & 0xFF;
    }

    @Override
    public int read(byte[] target, int offset, int length) throws IOException {
      if (position >= file.length) {
        return -1;
      }
      long endStart = file.length - file.end.length;
      byte[] part = position >= endStart ? file.end : file.middle;
      long at = position - (position >= endStart ? endStart : file.offset);
      if (at < 0 || at >= part.length) {
        throw new IOException("byte " + position + " belongs to another block");
      }
      int count = (int) Math.min(length, part.length - at);
      System.arraycopy(part, (int) at, target, offset, count);
      position += count;
      return count;
    }
  }
}
