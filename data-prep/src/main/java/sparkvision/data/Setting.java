package sparkvision.data;

/** What settings may be. */
public final class Setting {

  private Setting() {}

  /**
   * Refuses a value that does not hold.
   *
   * @param allowed such as "must be >= 1"
   * @throws IllegalArgumentException with key, value and what is allowed
   */
  public static void require(boolean holds, String key, Object value, String allowed) {
    if (!holds) {
      throw new IllegalArgumentException(String.format("Invalid %s: %s (%s)", key, value, allowed));
    }
  }

  /** Refuses a split that is neither of two; an empty one is none. */
  public static void requireSplit(String split, String first, String second) {
    if (split.isEmpty()) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot read the data set: key split is missing (give split=%s or split=%s)",
              first, second));
    }
    require(split.equals(first) || split.equals(second), "split", split, first + " or " + second);
  }
}
