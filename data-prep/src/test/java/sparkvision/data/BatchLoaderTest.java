package sparkvision.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import sparkvision.data.transform.Mixing;

@Timeout(60)
final class BatchLoaderTest {

  private static final long SEED = 11;
  private static final ImageTransform TRANSFORM =
      new ImageTransform(new ImageTransform.Options(4, 0, 1, 1, 0.5, List.of(0.4), List.of(0.3)));

  private static final long BATCH_BYTES = 2 * (4L * TRANSFORM.size() + 8);

  @TempDir static Path dir;
  private static ShardSet shards; // 30 samples, 8 blocks of 4 (the last of 2)

  @BeforeAll
  static void shard() throws IOException {
    shards = Shards.of(Pictures.folder(dir.resolve("in"), 10), dir.resolve("out"));
  }

  @Test
  void yieldsTheGlobalOrderWhateverTheRanksThreadsAndWindows() {
    for (int windowBlocks : new int[] {1, 3, 8}) {
      SampleOrder order = new SampleOrder(shards.manifest(), SEED, windowBlocks);
      Map<String, float[]> images = new HashMap<>();
      List<String> expected = new ArrayList<>();
      for (int epoch = 0; epoch < 3; epoch++) {
        int[] indices = order.epoch(epoch);
        for (int position = 0; position < 24; position++) { // 12 a step, 6 are dropped
          Sample sample = sample(indices[position]);
          expected.add(epoch + " " + sample.id());
          float[] image = new float[TRANSFORM.size()];
          TRANSFORM.train(sample, SEED, epoch, image, 0);
          images.put(epoch + " " + sample.id(), image);
        }
      }
      for (int ranks : new int[] {1, 2, 3, 4}) {
        for (int threads : new int[] {1, 3}) {
          assertThat(load(order, ranks, 0, 6, threads, images)).isEqualTo(expected);
        }
      }
      // Resumed in the middle of an epoch.
      assertThat(load(order, 2, 3, 6, 2, images)).isEqualTo(expected.subList(36, 72));
    }
  }

  @Test
  void readsEveryBlockOnceAWindowAndNeverFarAhead() {
    SampleOrder order = new SampleOrder(shards.manifest(), SEED, 2);
    BatchLoader.Slice slice = new BatchLoader.Slice(2, 0, 1, 0, 15, 15);
    try (BatchLoader loader = new BatchLoader(shards, order, TRANSFORM, SEED, slice, 1, 1)) {
      for (int step = 0; step < 15; step++) {
        loader.next();
        assertThat(loader.blocksRead()).isLessThanOrEqualTo(2 * (step / 4 + 3));
      }
      assertThat(loader.blocksRead()).isEqualTo(8);
    }
  }

  @Test
  void mixesBatchesAndRepeatsSamples() {
    SampleOrder order = new SampleOrder(shards.manifest(), SEED, 3, 3);
    Mixing mixing = new Mixing(0.8, 1, 0.5, 0.1);
    int[] indices = order.epoch(1);
    List<float[]> first = null;
    for (int threads : new int[] {1, 3}) {
      List<float[]> found = new ArrayList<>();
      for (int rank = 0; rank < 2; rank++) {
        BatchLoader.Slice slice = new BatchLoader.Slice(6, rank, 2, 3, 4, 2); // epoch 1
        try (BatchLoader loader =
            new BatchLoader(shards, order, TRANSFORM, mixing, SEED, slice, threads, 1)) {
          Batch batch = loader.next();
          float[] images = new float[6 * TRANSFORM.size()];
          for (int i = 0; i < 6; i++) {
            int position = 12 + rank * 6 + i;
            Sample sample = sample(indices[position]);
            assertThat(batch.ids().get(i)).isEqualTo(sample.id());
            TRANSFORM.train(sample, SEED, 1, position % 3, images, i * TRANSFORM.size());
          }
          float[] targets = new float[6 * 3];
          mixing.apply(images, 4, batch.labels(), targets, new SplitMix(SEED, 1, 3, rank));
          assertThat(batch.images()).isEqualTo(images);
          assertThat(batch.targets()).isEqualTo(targets);
          found.add(targets);
        }
      }
      if (first != null) {
        assertThat(found).usingRecursiveComparison().isEqualTo(first);
      }
      first = found;
    }
    assertThat(first.get(0)).isNotEqualTo(first.get(1));
  }

  @Test
  void worksAheadOfTheCaller() throws InterruptedException {
    SampleOrder order = new SampleOrder(shards.manifest(), SEED, 4);
    BatchLoader.Slice slice = new BatchLoader.Slice(2, 0, 1, 0, 15, 15);
    try (BatchLoader loader =
        new BatchLoader(shards, order, TRANSFORM, SEED, slice, 2, 3 * BATCH_BYTES)) {
      loader.next();
      while (loader.ready() < 3) { // the time limit of the test is the assertion
        Thread.sleep(5);
      }
      assertThat(loader.ready()).isEqualTo(3);
    }
  }

  @Test
  void endsWithASentence() {
    SampleOrder order = new SampleOrder(shards.manifest(), SEED, 4);
    BatchLoader.Slice slice = new BatchLoader.Slice(3, 0, 1, 4, 5, 10);
    BatchLoader loader = new BatchLoader(shards, order, TRANSFORM, SEED, slice, 1, 1);
    assertThat(loader.next().step()).isEqualTo(4);
    assertThatThrownBy(loader::next)
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("Cannot load step 5: it is past the end");
    loader.close();
    assertThatThrownBy(loader::next).hasMessage("Cannot load a batch: the loader is closed");
    assertThatThrownBy(
            () ->
                new BatchLoader(
                    shards, order, TRANSFORM, SEED, new BatchLoader.Slice(4, 0, 2, 0, 5, 4), 1, 1))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid slice: 4 steps of 8 samples need 32, the set has 30");
  }

  @Test
  void rethrowsABadShardInNextAndGoesOnThrowing() throws IOException {
    ShardSet broken = Shards.of(dir.resolve("in"), dir.resolve("broken"));
    ShardManifest.ShardFile file = broken.manifest().files().get(1);
    Path path = dir.resolve("broken").resolve(file.name());
    try (RandomAccessFile bytes = new RandomAccessFile(path.toFile(), "rw")) {
      bytes.setLength(file.blocks().get(0).offset() + 40);
      bytes.setLength(file.length()); // zeros from there on
    }
    SampleOrder order = new SampleOrder(broken.manifest(), SEED, 1);
    BatchLoader.Slice slice = new BatchLoader.Slice(2, 0, 1, 0, 15, 15);
    try (BatchLoader loader = new BatchLoader(broken, order, TRANSFORM, SEED, slice, 2, 2)) {
      assertThatThrownBy(
              () -> {
                for (int step = 0; step < 15; step++) {
                  loader.next();
                }
              })
          .isInstanceOf(DataException.class)
          .hasMessageContaining("part-00001.parquet");
      assertThatThrownBy(loader::next).isInstanceOf(DataException.class);
    }
  }

  @Test
  void rethrowsAPictureThatCannotBeCropped() {
    ImageTransform large =
        new ImageTransform(new ImageTransform.Options(9, 0, 1, 0, 0, List.of(0.4), List.of(0.3)));
    SampleOrder order = new SampleOrder(shards.manifest(), SEED, 1);
    BatchLoader.Slice slice = new BatchLoader.Slice(2, 0, 1, 0, 15, 15);
    try (BatchLoader loader = new BatchLoader(shards, order, large, SEED, slice, 2, 2)) {
      assertThatThrownBy(loader::next)
          .isInstanceOf(DataException.class)
          .hasMessageContaining("to 9 pixels: it is 6 x 5");
    }
  }

  @Test
  void closeWakesWhoWaitsForABatch() throws InterruptedException {
    SampleOrder order = new SampleOrder(shards.manifest(), SEED, 1);
    BatchLoader.Slice slice = new BatchLoader.Slice(2, 0, 1, 0, 15_000, 15);
    BatchLoader loader = new BatchLoader(shards, order, TRANSFORM, SEED, slice, 1, 1);
    AtomicReference<Throwable> thrown = new AtomicReference<>();
    Thread waiting =
        new Thread(
            () -> {
              try {
                while (true) {
                  loader.next();
                }
              } catch (IllegalStateException e) {
                thrown.set(e);
              }
            });
    waiting.start();
    Thread.sleep(50);
    loader.close();
    waiting.join();
    assertThat(thrown.get()).hasMessageContaining("the loader is closed");
  }

  @Test
  void closeLeavesNoThreads() {
    SampleOrder order = new SampleOrder(shards.manifest(), SEED, 1);
    BatchLoader.Slice slice = new BatchLoader.Slice(2, 7, 8, 0, 1, 1);
    for (int i = 0; i < 5; i++) {
      try (BatchLoader loader = new BatchLoader(shards, order, TRANSFORM, SEED, slice, 3, 3)) {
        if (i % 2 == 0) {
          loader.next();
        }
      }
    }
    assertThat(Thread.getAllStackTraces().keySet())
        .extracting(Thread::getName)
        .noneMatch(name -> name.startsWith("batch-loader-7"));
  }

  private List<String> load(
      SampleOrder order,
      int ranks,
      long first,
      long end,
      int threads,
      Map<String, float[]> images) {
    int batchSize = 12 / ranks;
    String[] found = new String[(int) (end - first) * 12];
    for (int rank = 0; rank < ranks; rank++) {
      BatchLoader.Slice slice = new BatchLoader.Slice(batchSize, rank, ranks, first, end, 2);
      try (BatchLoader loader =
          new BatchLoader(shards, order, TRANSFORM, SEED, slice, threads, 2)) {
        for (long step = first; step < end; step++) {
          Batch batch = loader.next();
          assertThat(batch.step()).isEqualTo(step);
          for (int i = 0; i < batchSize; i++) {
            String id = step / 2 + " " + batch.ids().get(i);
            found[(int) (step - first) * 12 + rank * batchSize + i] = id;
            int from = i * TRANSFORM.size();
            assertThat(Arrays.copyOfRange(batch.images(), from, from + TRANSFORM.size()))
                .isEqualTo(images.get(id));
            assertThat(shards.manifest().classes().get((int) batch.labels()[i]))
                .isEqualTo(batch.ids().get(i).substring(0, 3));
          }
        }
      }
    }
    return List.of(found);
  }

  private Sample sample(int index) {
    return shards.read(index / 4).get(index % 4);
  }
}
