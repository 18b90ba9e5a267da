/**
 * From raw data sets to shuffled, augmented batches.
 *
 * <pre>
 * Sources -> Source: Listing of Items, each read as a Sample
 *               |
 *            Sharding (Spark): Probe -> ShardWriter -> shard set -> ShardSet -> BatchLoader -> Batch
 *                                                                  SampleOrder, ImageTransform, Mixing
 * </pre>
 *
 * <h2>The shard set, format version 2</h2>
 *
 * A directory, local or on any Hadoop file system:
 *
 * <pre>
 * part-00000.parquet   samples, in row groups
 * part-00001.parquet
 * _manifest.json       written last; a directory without it is not a shard set
 * </pre>
 *
 * <p>Sets of version 1 are refused: shard the input again.
 *
 * <p><b>Files</b> are ordinary Parquet, uncompressed, since pictures and volumes are compressed
 * already; anything reads them, such as {@code spark.read.parquet(directory)}. Which columns there
 * are depends on the {@link sparkvision.data.Task}; all of them are required:
 *
 * <pre>
 * id       string   of the sample; unique; whatever the source calls it
 * label    int32    index into the manifest's classes; -1 where samples have no class of their own
 * width    int32    pixels or voxels
 * height   int32
 * depth    int32    volumes: slices
 * image    binary   pictures: JPEG or PNG; volumes: NIfTI-1, gzip, one channel, see
 *                   sparkvision.data.volume
 * mask     binary   segmentation: 8-bit grey PNG of the picture's size, the class of each pixel, 255
 *                   = ignore; volume-segmentation: NIfTI-1 of uint8, gzip, likewise
 * objects  list     detection: of structs
 *   category int32    index into the classes
 *   x, y, width, height double   box: left, upper edge, size; pixels
 *   area     double   pixels, as the data set states it
 *   crowd    boolean  stands for a group
 *   rle      string   mask: COCO's compressed run-length string for (height, width); empty if none
 * </pre>
 *
 * <p>{@code objects} is Parquet's three-level LIST. A footer's metadata names version and task:
 * {@code sparkvision.shard-version}, {@code sparkvision.task}.
 *
 * <p><b>A block</b> is one row group. It is the unit of reading and shuffling. Every block holds
 * {@code samples-per-block} samples, except the very last of the set, which may hold fewer. A
 * block's bytes are the contiguous range [offset, offset + length) of its file, and its pages point
 * nowhere else, so a block is read by one sequential read; blocks follow each other without gaps
 * from byte 4 on (after Parquet's magic number). What follows the last block is Parquet's footer.
 *
 * <p><b>Order on disk.</b> The good samples, sorted by id, are permuted by {@link
 * sparkvision.data.SplitMix} keyed with {@code seed} (Fisher-Yates) and cut into blocks, so every
 * block mixes classes. B blocks are dealt out to F files: file i has blocks [i * B / F, (i + 1) * B
 * / F), rounded down.
 *
 * <p><b>How many files.</b> As many as asked for; or, if none are, as many as {@code
 * target-file-bytes} fill, and at least one for every task that the cluster runs at a time (Spark's
 * default parallelism: the cores of its executors). Never more than blocks. So the same input and
 * options give the same blocks in the same order whatever the cluster, and with a number of files
 * the same bytes; the manifest tells what was decided, and a set that is there already is the right
 * one however many files it has. What files will hold is estimated where pictures are resized:
 * their bytes shrink with their area.
 *
 * <p><b>Bytes</b> are stored as they came, or, with {@code resize}, a picture whose shorter side is
 * longer than that is decoded, shrunk to it by Pillow's antialiased bilinear filter and encoded as
 * JPEG of {@code jpeg-quality}; its mask shrinks by the nearest pixel.
 *
 * <p><b>The manifest</b> is UTF-8 JSON. Checksums are CRC32C (Castagnoli) as eight hexadecimal
 * digits; lengths and offsets are bytes.
 *
 * <pre>
 * version            2
 * task               classification, detection, segmentation, volume-classification or
 *                    volume-segmentation
 * dataset, split     names for people; split may be empty
 * preparation        what the source did to samples, in words; empty for nothing
 * source             root of the input, fully qualified
 * fingerprint        SHA-256 over the line of "listing" and a line for each item in order of ids:
 *                    crc32c of the sample as it was read, or "bad"; each ends in LF
 * samples            in the set
 * samples-per-block
 * classes            a label, a category, a value of a mask is an index into them
 * class-counts       by class: samples of it; detection: objects of it; segmentation: samples
 *                    whose mask contains it
 * mean, std          pictures: over all pixels of all samples as stored, scaled to 0..1: one value
 *                    if all pictures are grey, else red, green, blue (grey pictures count in
 *                    each); volumes: one value, over all voxels as stored
 * widths, heights, depths   histograms: samples of sizes from, from + 1, ... from + 31; no depths
 *                    of pictures
 * files              name, length, crc32c (whole file), footer-crc32c (what follows the last
 *                    block), blocks: samples, offset, length, crc32c
 * quarantined        id, path, offset and reason of each input that was left out; the offset is
 *                    that of the sample in its file, 0 but for members of archives
 * resize             shorter side, pixels; 0: bytes as they came
 * jpeg-quality       0 if nothing was encoded
 * target-file-bytes, seed
 * ignored-files      files in the input that are no samples
 * listing            SHA-256 over task, classes and a line for each item: id, path, offset,
 *                    length, label, crc32c of its annotation
 * newest-input       latest modification time of an item, milliseconds since 1970
 * sparkvision        version of the program
 * crc32c             over this JSON without this key, in the same form
 * </pre>
 *
 * <p><b>Quarantine.</b> Of items with one id the first counts. What a source cannot read, and what
 * contradicts its task (a label or category that is no class, no mask), is left out with the
 * reason; above {@code max-bad-share} of the inputs the job fails, and so it does if a class loses
 * all its samples.
 *
 * <p><b>Writing.</b> Each attempt at a file writes {@code _temporary/part-*.<uuid>}: retried and
 * speculative tasks never meet. Of the attempts that Spark takes as done, the driver renames the
 * files to their names, looks at their lengths, and writes the manifest into {@code _temporary};
 * its rename is the commit; then {@code _temporary} goes, with all that other attempts left. What
 * an attempt leaves there later is not part of the set, and readers of Parquet pass over names with
 * an underscore.
 *
 * <p>A directory with the mark {@code _temporary/sparkvision-sharding} but no whole manifest is a
 * broken run of ours: the next run sweeps it and starts again. So a set is whole or not there even
 * where a rename is a copy: on S3A, whose objects appear whole or not at all, and on a store that
 * shows half a copy. It costs one copy there, eight files at a time. One driver at a time may write
 * a set.
 *
 * <h2>Order and augmentation</h2>
 *
 * Global sample number: blocks in manifest order, rows in a block. In epoch e blocks are permuted
 * by the stream keyed (seed, e); window w, of {@code window-blocks} consecutive blocks of that
 * permutation, is shuffled by the stream keyed (seed, e, w + 1). Rank r of N takes [r * B, (r + 1)
 * * B) of each global batch of N * B; what is left at the end of an epoch is dropped. A sample's
 * augmentation comes from the stream keyed (seed, e, hash(id)); {@link sparkvision.data.transform}
 * and {@link sparkvision.data.volume} say how. So neither depends on N, on threads, or on where a
 * run was resumed; only how the pictures of a batch are mixed is keyed by step and rank.
 *
 * <p>With R repeats ({@link sparkvision.data.SampleOrder}) positions p * R .. p * R + R - 1 show
 * the sample that would stand at p, as far as the epoch reaches; from the second repeat on its
 * number is the last part of the key.
 */
package sparkvision.data;
