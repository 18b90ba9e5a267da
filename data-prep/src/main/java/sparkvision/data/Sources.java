package sparkvision.data;

import java.io.IOException;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import sparkvision.data.coco.CocoSource;
import sparkvision.data.volume.VolumeSource;

/** The data sets that can be sharded, by name. */
public final class Sources {

  /** The layouts that are known. */
  public enum Dataset {
    IMAGENET,
    TINY_IMAGENET,
    COCO,
    COCO_JSON,
    ADE20K,
    VOLUMES,
    IMAGE_FOLDER;

    /** As the command line and the manifest spell it, such as {@code image-folder}. */
    @Override
    public String toString() {
      return name().toLowerCase(Locale.ROOT).replace('_', '-');
    }
  }

  /** How volumes are prepared; see {@link VolumeSource}. */
  public record Volumes(List<Double> spacing, boolean normalise, int channel) {}

  /**
   * Which data set, and where.
   *
   * @param split such as {@code train}; empty where the layout has none
   * @param input the data set's root
   * @param annotations the JSON file of {@code coco-json}
   * @param volumes counts for {@code volumes} alone
   */
  public record Selection(
      Dataset dataset, String split, String input, Optional<String> annotations, Volumes volumes) {

    /** What the source does to samples, in words; empty for nothing. */
    public String preparation() {
      return dataset == Dataset.VOLUMES
          ? String.format(
              "spacing=%s normalise=%s channel=%d",
              volumes.spacing(), volumes.normalise(), volumes.channel())
          : "";
    }

    /** The input of a layout that has one split a folder. */
    private String inputWithoutSplit() {
      if (!split.isEmpty()) {
        throw new IllegalArgumentException(
            String.format(
                "Invalid split: %s (%s has none; give the split's own folder as input)",
                split, dataset));
      }
      return input;
    }
  }

  private Sources() {}

  /**
   * The source of a data set as it lies on disk.
   *
   * @throws IllegalArgumentException if a setting does not fit the data set
   */
  public static Source of(Configuration hadoop, Selection selection) throws IOException {
    String input = selection.input();
    String split = selection.split();
    Volumes volumes = selection.volumes();
    return switch (selection.dataset()) {
      case IMAGENET -> new ImageNet(input, split);
      case TINY_IMAGENET -> new TinyImageNet(input, split);
      case COCO -> CocoSource.ofSplit(hadoop, input, split);
      case COCO_JSON ->
          new CocoSource(
              selection
                  .annotations()
                  .orElseThrow(
                      () ->
                          new IllegalArgumentException(
                              "Cannot shard " + input + ": coco-json needs annotations=FILE")),
              selection.inputWithoutSplit());
      case ADE20K -> new Ade20k(input, split);
      case VOLUMES ->
          new VolumeSource(input, split, volumes.spacing(), volumes.normalise(), volumes.channel());
      case IMAGE_FOLDER -> new ImageFolder(selection.inputWithoutSplit());
    };
  }
}
