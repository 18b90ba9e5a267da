package sparkvision.data;

import com.fasterxml.jackson.annotation.JsonValue;
import java.util.Locale;

/** What a data set's samples are for; decides which columns its shards have. */
public enum Task {
  /** A picture and its class. */
  CLASSIFICATION,
  /** A picture and the objects in it, with boxes and masks. */
  DETECTION,
  /** A picture and a class for every pixel. */
  SEGMENTATION,
  /** A volume and its class. */
  VOLUME_CLASSIFICATION,
  /** A volume and a class for every voxel. */
  VOLUME_SEGMENTATION;

  /** Whether a sample is a volume, not a picture. */
  public boolean isVolume() {
    return this == VOLUME_CLASSIFICATION || this == VOLUME_SEGMENTATION;
  }

  /** Whether a sample has a class for every pixel or voxel. */
  public boolean hasMask() {
    return this == SEGMENTATION || this == VOLUME_SEGMENTATION;
  }

  /** Whether a sample has a class of its own. */
  public boolean isClassification() {
    return this == CLASSIFICATION || this == VOLUME_CLASSIFICATION;
  }

  /** As the manifest and the command line spell it, such as {@code volume-segmentation}. */
  @Override
  @JsonValue
  public String toString() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
