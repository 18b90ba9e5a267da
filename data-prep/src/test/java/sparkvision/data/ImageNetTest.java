package sparkvision.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Real pictures of ILSVRC2012, which cannot be part of this repository. */
final class ImageNetTest {

  private static final Path TRAIN = Path.of("../../shared/data/imagenet/ILSVRC/Data/CLS-LOC/train");

  @TempDir Path dir;

  @Test
  void shardsRealPicturesGreyOnesAndThePngCalledJpegToo() {
    assumeTrue(Files.isDirectory(TRAIN), "skipped: no ImageNet sample at " + TRAIN);
    ShardManifest manifest = Shards.of(TRAIN, dir.resolve("out")).manifest();
    assertThat(manifest.samples()).isEqualTo(120);
    assertThat(manifest.quarantined()).isEmpty();
    // The whole set's published means are 0.485, 0.456, 0.406.
    assertThat(manifest.mean().get(0)).isCloseTo(0.485, within(0.05));
    assertThat(manifest.mean().get(1)).isCloseTo(0.456, within(0.05));
    assertThat(manifest.mean().get(2)).isCloseTo(0.406, within(0.05));

    ImageTransform transform =
        new ImageTransform(
            new ImageTransform.Options(224, 256, 3, 0, 0.5, manifest.mean(), manifest.std()));
    ShardSet shards = ShardSet.open(Shards.HADOOP, dir.resolve("out").toString());
    float[] target = new float[transform.size()];
    double sum = 0;
    for (int block = 0; block < shards.blocks(); block++) {
      for (Sample sample : shards.read(block)) {
        transform.evaluate(sample, target, 0);
        for (float value : target) {
          sum += value;
        }
      }
    }
    assertThat(sum / 120 / target.length).isCloseTo(0, within(0.2));
  }
}
