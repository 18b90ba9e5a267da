/**
 * From folders of pictures to shuffled, augmented batches.
 *
 * <pre>
 * IdxImages -> ImageFolder -> Sharding (Spark) -> shard set -> ShardSet -> BatchLoader -> Batch
 *                                                                 SampleOrder, ImageTransform
 * </pre>
 *
 * <h2>The shard set, format version 1</h2>
 *
 * A directory, local or on any Hadoop file system:
 *
 * <pre>
 * part-00000.parquet   samples, in row groups
 * part-00001.parquet
 * _manifest.json       written last; a directory without it is not a shard set
 * </pre>
 *
 * <p><b>Files</b> are ordinary Parquet, uncompressed, since pictures are compressed already;
 * anything reads them, such as {@code spark.read.parquet(directory)}. All columns are required:
 *
 * <pre>
 * id      string   path of the input relative to the image folder, with forward slashes; unique
 * label   int32    index into the manifest's classes
 * width   int32    pixels
 * height  int32    pixels
 * image   binary   the input file's bytes, JPEG or PNG, unchanged
 * </pre>
 *
 * <p><b>A block</b> is one row group. It is the unit of reading and shuffling. Every block holds
 * {@code samples-per-block} samples, except the very last of the set, which may hold fewer; every
 * file holds {@code blocks-per-file} blocks, except the last. A block's bytes are the contiguous
 * range [offset, offset + length) of its file, and its pages point nowhere else, so a block is read
 * by one sequential read; blocks follow each other without gaps from byte 4 on (after Parquet's
 * magic number). What follows the last block is Parquet's footer.
 *
 * <p><b>Order on disk.</b> The good pictures, sorted by class name and path, are permuted by {@link
 * sparkvision.data.SplitMix} keyed with {@code seed} (Fisher-Yates) and cut into blocks, so every
 * block mixes classes. The same input and options give the same bytes, whatever the cluster.
 *
 * <p><b>The manifest</b> is UTF-8 JSON. Checksums are CRC32C (Castagnoli) as eight hexadecimal
 * digits; lengths and offsets are bytes.
 *
 * <pre>
 * version            1
 * dataset            a name for people
 * source             the image folder, fully qualified
 * fingerprint        SHA-256 over a line for each picture, bad ones too, in sorted order:
 *                    path TAB length TAB crc32c LF
 * samples            in the set
 * samples-per-block
 * classes            names in sorted order; a label is an index into them
 * class-counts       samples by label
 * mean, std          over all pixels of all samples as stored, scaled to 0..1: one value if all
 *                    pictures are grey, else red, green, blue (grey pictures count in each)
 * files              name, length, crc32c (whole file), footer-crc32c (what follows the last
 *                    block), blocks: samples, offset, length, crc32c
 * quarantined        path and reason of each picture that was left out
 * blocks-per-file, seed
 * ignored-files      files in the image folder that are not named like a picture
 * listing            SHA-256 over: path TAB length LF; the fingerprint without reading pictures
 * newest-input       latest modification time of a picture, milliseconds since 1970
 * sparkvision        version of the program
 * </pre>
 *
 * <p><b>Writing.</b> A task writes {@code _temporary/part-*.<uuid>} and renames it; a file that is
 * there already, from a faster attempt, must have the same checksum. The manifest is written into
 * {@code _temporary}, and its rename is the commit; then {@code _temporary} goes. A directory with
 * the mark {@code _temporary/sparkvision-sharding} but no manifest is a broken run of ours: the
 * next run sweeps it and starts again.
 *
 * <h2>Order and augmentation</h2>
 *
 * Global sample number: blocks in manifest order, rows in a block. In epoch e blocks are permuted
 * by the stream keyed (seed, e); window w, of {@code window-blocks} consecutive blocks of that
 * permutation, is shuffled by the stream keyed (seed, e, w + 1). Rank r of N takes [r * B, (r + 1)
 * * B) of each global batch of N * B; what is left at the end of an epoch is dropped. A sample's
 * augmentation comes from the stream keyed (seed, e, hash(id)); {@link sparkvision.data.transform}
 * says how. So neither depends on N, on threads, or on where a run was resumed. With repeated
 * augmentation ({@link sparkvision.data.SampleOrder}) positions p * R .. p * R + R - 1 show the
 * sample at p, as far as the epoch reaches.
 */
package sparkvision.data;
