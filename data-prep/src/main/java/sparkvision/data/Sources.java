package sparkvision.data;

import java.util.List;
import java.util.Locale;
import sparkvision.data.volume.VolumeSource;

/** The data sets that can be sharded, by name. */
public final class Sources {

  /** The layouts that are known. */
  public enum Dataset {
    IMAGENET,
    TINY_IMAGENET,
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

  private Sources() {}

  /**
   * The source of a data set as it lies on disk.
   *
   * @param split such as {@code train}; empty where the layout has none
   * @param input the data set's root
   * @throws IllegalArgumentException if a setting does not fit the data set
   */
  public static Source of(Dataset dataset, String split, String input, Volumes volumes) {
    return switch (dataset) {
      case IMAGENET -> new ImageNet(input, split);
      case TINY_IMAGENET -> new TinyImageNet(input, split);
      case ADE20K -> new Ade20k(input, split);
      case VOLUMES ->
          new VolumeSource(
              withoutSplit(dataset, split, input),
              volumes.spacing(),
              volumes.normalise(),
              volumes.channel());
      case IMAGE_FOLDER -> new ImageFolder(withoutSplit(dataset, split, input));
    };
  }

  /** The input of a layout that has one split a folder. */
  private static String withoutSplit(Dataset dataset, String split, String input) {
    if (!split.isEmpty()) {
      throw new IllegalArgumentException(
          String.format(
              "Invalid split: %s (%s has none; give the split's own folder as input)",
              split, dataset));
    }
    return input;
  }
}
