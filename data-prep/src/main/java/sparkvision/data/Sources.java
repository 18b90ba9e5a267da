package sparkvision.data;

/** The data sets that can be sharded, by name. */
public final class Sources {

  /** The layouts that are known. */
  public enum Dataset {
    IMAGE_FOLDER;

    /** As the command line and the manifest spell it, such as {@code image-folder}. */
    @Override
    public String toString() {
      return name().toLowerCase(java.util.Locale.ROOT).replace('_', '-');
    }
  }

  private Sources() {}

  /**
   * The source of a data set as it lies on disk.
   *
   * @param split such as {@code train}; empty where the layout has none
   * @param input the data set's root
   * @throws IllegalArgumentException if the split is not one of the data set's
   */
  public static Source of(Dataset dataset, String split, String input) {
    return switch (dataset) {
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
