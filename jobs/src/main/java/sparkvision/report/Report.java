package sparkvision.report;

import com.fasterxml.jackson.annotation.JsonAlias;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;

/**
 * What one evaluation found, with the history of the run that made the checkpoint.
 *
 * <p>Lists that are null become empty: a plain weights file has no history.
 *
 * @param title the headline of the page
 * @param model the model's name
 * @param checkpoint where the weights came from
 * @param step the optimizer step of the checkpoint; 0 if unknown
 * @param parameters how many trainable values the model has
 * @param shards the shard directory that was evaluated
 * @param samples how many samples were evaluated
 * @param top1 share of samples, 0..1; null but for classification
 * @param top5 share of samples, 0..1; null but for classification
 * @param loss mean cross-entropy, nats; null but for classification
 * @param classes class names by index
 * @param perClassAccuracy by class index, 0..1; of samples, or of pixels or voxels; null where a
 *     class has none (NaN is turned into null)
 * @param confusion {@code [truth][predicted]} counts of samples, or of pixels or voxels; not copied
 * @param mistakes the worst mistakes, worst first
 * @param segmentation over all pixels or voxels; null but for segmentation
 * @param volumes over volumes one by one; null but for segmentation of volumes
 * @param overlays the pictures of lowest pixel accuracy, lowest first
 * @param score the name of the validations' score, such as top-1
 * @param epochs history, one point per epoch or validation, in order of steps
 * @param rounds history, one point per averaging round, of a long run per two, four ... of them, in
 *     order of steps
 * @param ranks work and waiting of each rank
 * @param evaluationSeconds wall time of the evaluation
 * @param imagesPerSecond of the evaluation
 * @param configuration the configuration as text, empty if there is none
 * @param created when, as text to be shown
 * @param version of the software that wrote this
 */
@SuppressWarnings("ArrayRecordComponent") // carried along, never compared by content
public record Report(
    String title,
    String model,
    String checkpoint,
    long step,
    long parameters,
    String shards,
    long samples,
    Double top1,
    Double top5,
    Double loss,
    List<String> classes,
    List<Double> perClassAccuracy,
    long[][] confusion,
    List<Mistake> mistakes,
    SegmentationScores segmentation,
    VolumeScores volumes,
    List<Overlay.Example> overlays,
    String score,
    List<EpochPoint> epochs,
    List<RoundPoint> rounds,
    List<RankThroughput> ranks,
    double evaluationSeconds,
    double imagesPerSecond,
    String configuration,
    String created,
    String version) {

  /**
   * A sample that was taken for another class.
   *
   * @param truth the class name of its label
   * @param predicted the class name the model preferred
   * @param confidence the model's probability of {@code predicted}, 0..1
   * @param loss cross-entropy, nats
   * @param image encoded picture, PNG or JPEG; base64 in JSON; null if there is none
   */
  @SuppressWarnings("ArrayRecordComponent") // carried along, never compared by content
  public record Mistake(
      String id, String truth, String predicted, double confidence, double loss, byte[] image) {}

  /**
   * A validation, or the end of an epoch without one.
   *
   * @param epoch epochs done, fractional when validated inside one
   * @param validationLoss nats; null when it was not measured
   * @param validationScore 0..1; null when there was no validation
   */
  public record EpochPoint(
      double epoch,
      long step,
      double trainLoss,
      Double validationLoss,
      // What checkpoints called it when there was only classification.
      @JsonAlias("validationTop1") Double validationScore) {}

  /**
   * An averaging round: loss over its batches, and speed over all ranks.
   *
   * @param computeSeconds a rank's mean
   * @param waitSeconds for the loader, a rank's mean
   * @param exchangeSeconds of the averaging before it, a rank's mean
   * @param slowestRank the one that computed and waited for its loader longest
   * @param drift norm of what a rank's parameters moved in the round, a rank's mean
   */
  public record RoundPoint(
      long step,
      double loss,
      double learningRate,
      double imagesPerSecond,
      double computeSeconds,
      double waitSeconds,
      double exchangeSeconds,
      int slowestRank,
      double drift) {}

  /** What one rank did with its time over the run. */
  public record RankThroughput(
      int rank,
      String host,
      long images,
      double computeSeconds,
      double waitSeconds,
      double exchangeSeconds) {}

  private static final JsonMapper JSON =
      JsonMapper.builder()
          .propertyNamingStrategy(PropertyNamingStrategies.KEBAB_CASE)
          .enable(SerializationFeature.INDENT_OUTPUT)
          .enable(DeserializationFeature.FAIL_ON_MISSING_CREATOR_PROPERTIES)
          .enable(DeserializationFeature.FAIL_ON_NULL_FOR_PRIMITIVES)
          .build();

  /**
   * Checks that the sizes agree.
   *
   * @throws IllegalArgumentException if accuracy or confusion are not of as many classes as there
   *     are names
   */
  public Report {
    classes = orEmpty(classes);
    perClassAccuracy = nullForNaN(orEmpty(perClassAccuracy));
    confusion = confusion == null ? new long[0][] : confusion;
    mistakes = orEmpty(mistakes);
    overlays = orEmpty(overlays);
    epochs = orEmpty(epochs);
    rounds = orEmpty(rounds);
    ranks = orEmpty(ranks);

    int size = classes.size();
    if (perClassAccuracy.size() != size) {
      throw new IllegalArgumentException(
          String.format(
              "Invalid per-class-accuracy: %d values (must be one for each of the %d classes)",
              perClassAccuracy.size(), size));
    }
    if (confusion.length != size || Arrays.stream(confusion).anyMatch(row -> row.length != size)) {
      throw new IllegalArgumentException(
          String.format(
              "Invalid confusion: %d rows (must be %d rows of %d counts, one per class)",
              confusion.length, size, size));
    }
  }

  private static <T> List<T> orEmpty(List<T> list) {
    return list == null ? List.of() : Collections.unmodifiableList(new ArrayList<>(list));
  }

  private static List<Double> nullForNaN(List<Double> values) {
    List<Double> result = new ArrayList<>(values);
    result.replaceAll(value -> value == null || value.isNaN() ? null : value);
    return Collections.unmodifiableList(result);
  }

  /** The text of {@code report.json}. */
  public String toJson() {
    try {
      return JSON.writeValueAsString(this) + "\n";
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("Cannot write report: " + e.getOriginalMessage(), e);
    }
  }

  /**
   * Reads the text of a {@code report.json}.
   *
   * @throws IllegalArgumentException with one sentence if it is not a report
   */
  public static Report fromJson(String json) {
    try {
      Report report = JSON.readValue(json, Report.class);
      if (report == null) {
        throw new IllegalArgumentException("Cannot read report: found null");
      }
      return report;
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException("Cannot read report: " + e.getOriginalMessage(), e);
    }
  }
}
