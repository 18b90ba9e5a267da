package sparkvision.metrics;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.stream.Collectors;
import sparkvision.data.coco.Box;
import sparkvision.data.coco.Rle;

/**
 * COCO's average precision and recall of detected boxes or masks over the images added.
 *
 * <p>One instance per partition, each image added to one of them; {@link #merge} joins them. How
 * the images were spread changes nothing, not even a bit. Not thread-safe.
 *
 * <p>Of an image and category, the 100 detections of highest score are matched in that order, each
 * with the free object of largest overlap, at overlaps of 0.50, 0.55 ... 0.95. A crowd takes any
 * number of detections, by the share of the detection inside it. Detections matched with a crowd or
 * an object outside the area range do not count, nor do unmatched ones outside it. Precision is
 * read at recalls of 0, 0.01 ... 1, after it was made to fall. Areas are small below 32 x 32
 * pixels, large above 96 x 96. Equal scores stay in the order in which detections were added, and
 * images go by their id.
 *
 * @see <a href="https://cocodataset.org/#detection-eval">COCO detection evaluation</a>
 * @see <a
 *     href="https://github.com/cocodataset/cocoapi/blob/master/PythonAPI/pycocotools/cocoeval.py">
 *     pycocotools/cocoeval.py</a>
 */
public final class CocoEvaluation implements Serializable {

  private static final long serialVersionUID = 1;

  private static final int MAX_DETECTIONS = 100;
  private static final int RECALLS = 101;

  /** The least overlap of a match; written as the original computes it, to the bit. */
  private static final double[] OVERLAPS = overlaps();

  /** Of an object's area, both ends included: all, small, medium, large. */
  private static final double[][] AREAS = {
    {0, 1e10}, {0, 32 * 32}, {32 * 32, 96 * 96}, {96 * 96, 1e10}
  };

  private static final int ALL = 0;
  private static final int SMALL = 1;
  private static final int MEDIUM = 2;
  private static final int LARGE = 3;

  /** What is compared. */
  public enum Type {
    BBOX,
    SEGM
  }

  /**
   * An object that is in an image.
   *
   * @param category index
   * @param mask null for {@link Type#BBOX}
   * @param area pixels, as the data set states it
   * @param crowd whether it stands for a group that was not told apart
   */
  public record Truth(int category, Box box, Rle mask, double area, boolean crowd) {}

  /**
   * An object that a model sees in an image.
   *
   * @param category index
   * @param mask null for {@link Type#BBOX}
   * @param area pixels, of the box or the mask
   * @param score the higher, the surer
   */
  public record Detection(int category, Box box, Rle mask, double area, double score) {}

  /**
   * The twelve numbers that COCO prints, 0..1, or -1 where there is nothing to find.
   *
   * @param ap average precision, mean of overlaps 0.50:0.95 and categories
   * @param ap50 at overlap 0.50
   * @param ap75 at overlap 0.75
   * @param ar1 average recall with one detection per image and category
   */
  public record Summary(
      double ap,
      double ap50,
      double ap75,
      double apSmall,
      double apMedium,
      double apLarge,
      double ar1,
      double ar10,
      double ar100,
      double arSmall,
      double arMedium,
      double arLarge) {}

  /**
   * The detections of one image and category, best first.
   *
   * @param matched by detection, a bit for each area and overlap
   * @param ignored the same
   */
  @SuppressWarnings("ArrayRecordComponent") // never compared
  private record Matches(long image, double[] scores, long[] matched, long[] ignored)
      implements Serializable {}

  /** One detection among all of a category. */
  private record Ranked(double score, int rank, long matched, long ignored) {}

  private final Type type;
  private final TreeSet<Long> images = new TreeSet<>();
  private final List<List<Matches>> matches = new ArrayList<>(); // by category
  private final long[][] objects; // by category and area: those to be found

  /** An evaluation of no images yet. */
  public CocoEvaluation(Type type, int categories) {
    if (categories < 1) {
      throw new IllegalArgumentException("Invalid categories: " + categories + " (must be >= 1)");
    }
    this.type = type;
    this.objects = new long[categories][AREAS.length];
    for (int i = 0; i < categories; i++) {
      matches.add(new ArrayList<>());
    }
  }

  private static double[] overlaps() {
    double[] overlaps = new double[10];
    double step = (0.95 - 0.5) / 9;
    for (int i = 0; i < 9; i++) {
      overlaps[i] = i * step + 0.5;
    }
    overlaps[9] = 0.95;
    return overlaps;
  }

  /**
   * Matches the detections of one image.
   *
   * @param image its id
   * @throws IllegalArgumentException if the image was added before, a category is none, a score is
   *     not a number, or masks differ in size
   */
  public void add(long image, List<Truth> truths, List<Detection> detections) {
    if (images.contains(image)) {
      throw new IllegalArgumentException(
          "Cannot evaluate image " + image + ": it was added before");
    }
    Map<Integer, List<Truth>> truthsOf =
        truths.stream().collect(Collectors.groupingBy(Truth::category));
    Map<Integer, List<Detection>> detectionsOf =
        detections.stream().collect(Collectors.groupingBy(Detection::category));
    truthsOf.keySet().forEach(this::requireCategory);
    detectionsOf.keySet().forEach(this::requireCategory);
    for (Detection detection : detections) {
      if (Double.isNaN(detection.score())) {
        throw new IllegalArgumentException("Cannot evaluate image " + image + ": a score is NaN");
      }
    }

    detectionsOf.forEach(
        (category, list) ->
            matches
                .get(category)
                .add(match(image, truthsOf.getOrDefault(category, List.of()), list)));
    for (Truth truth : truths) {
      for (int area = 0; area < AREAS.length; area++) {
        if (counts(truth, area)) {
          objects[truth.category()][area]++;
        }
      }
    }
    images.add(image);
  }

  private void requireCategory(int category) {
    if (category < 0 || category >= objects.length) {
      throw new IllegalArgumentException(
          String.format("Invalid category: %d (there are %d)", category, objects.length));
    }
  }

  private static boolean counts(Truth truth, int area) {
    return !truth.crowd() && inside(truth.area(), area);
  }

  private static boolean inside(double pixels, int area) {
    return pixels >= AREAS[area][0] && pixels <= AREAS[area][1];
  }

  private Matches match(long image, List<Truth> truths, List<Detection> detections) {
    List<Detection> best =
        detections.stream()
            .sorted(Comparator.comparingDouble(d -> order(d.score())))
            .limit(MAX_DETECTIONS)
            .toList();
    double[][] overlaps = overlaps(best, truths);
    Matches result =
        new Matches(
            image,
            best.stream().mapToDouble(Detection::score).toArray(),
            new long[best.size()],
            new long[best.size()]);
    for (int area = 0; area < AREAS.length; area++) {
      int range = area;
      int[] order = countingFirst(truths, area);
      int counting = (int) truths.stream().filter(truth -> counts(truth, range)).count();
      for (int t = 0; t < OVERLAPS.length; t++) {
        long bit = 1L << (area * OVERLAPS.length + t);
        boolean[] taken = new boolean[truths.size()];
        for (int d = 0; d < best.size(); d++) {
          int found = find(overlaps[d], OVERLAPS[t], truths, order, counting, taken);
          if (found >= 0) {
            taken[order[found]] = true;
            result.matched[d] |= bit;
          }
          if (found >= counting || (found < 0 && !inside(best.get(d).area(), area))) {
            result.ignored[d] |= bit;
          }
        }
      }
    }
    return result;
  }

  /**
   * The place in {@code order} of the object that a detection takes, or -1: of the counting ones
   * that are free the one of largest overlap, the last of equals; if there is none, of the others.
   */
  private static int find(
      double[] overlaps,
      double least,
      List<Truth> truths,
      int[] order,
      int counting,
      boolean[] taken) {
    int found = -1;
    double best = least;
    for (int i = 0; i < order.length; i++) {
      if (i == counting && found >= 0) {
        break;
      }
      int truth = order[i];
      if (overlaps[truth] >= best && (!taken[truth] || truths.get(truth).crowd())) {
        best = overlaps[truth];
        found = i;
      }
    }
    return found;
  }

  /** The objects that count in this range of areas, then the others; else as added. */
  private static int[] countingFirst(List<Truth> truths, int area) {
    int[] order = new int[truths.size()];
    int next = 0;
    for (boolean counting : new boolean[] {true, false}) {
      for (int i = 0; i < order.length; i++) {
        if (counts(truths.get(i), area) == counting) {
          order[next++] = i;
        }
      }
    }
    return order;
  }

  private double[][] overlaps(List<Detection> detections, List<Truth> truths) {
    double[][] overlaps = new double[detections.size()][truths.size()];
    List<Box> around =
        type == Type.SEGM ? truths.stream().map(truth -> truth.mask().box()).toList() : List.of();
    for (int d = 0; d < overlaps.length && !truths.isEmpty(); d++) {
      Detection detection = detections.get(d);
      Box box = type == Type.SEGM ? detection.mask().box() : detection.box();
      for (int g = 0; g < overlaps[d].length; g++) {
        Truth truth = truths.get(g);
        if (type == Type.BBOX) {
          overlaps[d][g] = truth.crowd() ? box.shareInside(truth.box()) : box.iou(truth.box());
        } else if (box.iou(around.get(g)) > 0) {
          overlaps[d][g] =
              truth.crowd()
                  ? detection.mask().shareInside(truth.mask())
                  : detection.mask().iou(truth.mask());
        }
      }
    }
    return overlaps;
  }

  /** Sorts scores downwards; 0 and -0 are equal. */
  private static double order(double score) {
    return 0.0 - score;
  }

  /**
   * Adds the images of {@code other}, which stays as it is.
   *
   * @return this
   * @throws IllegalArgumentException if both have an image, or they compare different things
   */
  public CocoEvaluation merge(CocoEvaluation other) {
    if (other.type != type || other.objects.length != objects.length) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot merge evaluations: %s of %d categories here, %s of %d there",
              type, objects.length, other.type, other.objects.length));
    }
    for (long image : other.images) {
      if (!images.add(image)) {
        throw new IllegalArgumentException("Cannot merge evaluations: both have image " + image);
      }
    }
    for (int category = 0; category < objects.length; category++) {
      matches.get(category).addAll(other.matches.get(category));
      for (int area = 0; area < AREAS.length; area++) {
        objects[category][area] += other.objects[category][area];
      }
    }
    return this;
  }

  /** The number of images added. */
  public int images() {
    return images.size();
  }

  /** Sums over categories and overlaps. */
  private static final class Mean {
    private double sum;
    private long count;

    void add(double value) {
      sum += value;
      count++;
    }

    double value() {
      return count == 0 ? -1 : sum / count;
    }
  }

  /** The twelve numbers of what was added so far. */
  public Summary summary() {
    Mean[] precision = means(AREAS.length);
    Mean ap50 = new Mean();
    Mean ap75 = new Mean();
    Mean[] recall = means(AREAS.length);
    Mean recall1 = new Mean();
    Mean recall10 = new Mean();
    for (int category = 0; category < objects.length; category++) {
      List<Ranked> ranked = ranked(matches.get(category));
      for (int t = 0; t < OVERLAPS.length; t++) {
        for (int area = 0; area < AREAS.length; area++) {
          if (objects[category][area] == 0) {
            continue;
          }
          double[] curve = curve(ranked, area, t, objects[category][area]);
          precision[area].add(curve[0]);
          recall[area].add(curve[1]);
          if (area != ALL) {
            continue;
          }
          if (OVERLAPS[t] == 0.5) {
            ap50.add(curve[0]);
          }
          if (OVERLAPS[t] == 0.75) {
            ap75.add(curve[0]);
          }
          recall1.add(recall(ranked, 1, t, objects[category][ALL]));
          recall10.add(recall(ranked, 10, t, objects[category][ALL]));
        }
      }
    }
    return new Summary(
        precision[ALL].value(),
        ap50.value(),
        ap75.value(),
        precision[SMALL].value(),
        precision[MEDIUM].value(),
        precision[LARGE].value(),
        recall1.value(),
        recall10.value(),
        recall[ALL].value(),
        recall[SMALL].value(),
        recall[MEDIUM].value(),
        recall[LARGE].value());
  }

  private static Mean[] means(int count) {
    Mean[] means = new Mean[count];
    Arrays.setAll(means, i -> new Mean());
    return means;
  }

  private static List<Ranked> ranked(List<Matches> matches) {
    List<Ranked> ranked = new ArrayList<>();
    matches.stream()
        .sorted(Comparator.comparingLong(Matches::image))
        .forEach(
            image -> {
              for (int rank = 0; rank < image.scores.length; rank++) {
                ranked.add(
                    new Ranked(image.scores[rank], rank, image.matched[rank], image.ignored[rank]));
              }
            });
    ranked.sort(Comparator.comparingDouble(detection -> order(detection.score())));
    return ranked;
  }

  /** The mean precision over all recalls, and the recall that is reached. */
  private static double[] curve(List<Ranked> ranked, int area, int t, long positives) {
    long bit = 1L << (area * OVERLAPS.length + t);
    double[] precisions = new double[ranked.size()];
    double[] recalls = new double[ranked.size()];
    int size = 0;
    long hits = 0;
    for (Ranked detection : ranked) {
      if ((detection.ignored & bit) != 0) {
        continue;
      }
      if ((detection.matched & bit) != 0) {
        hits++;
      }
      recalls[size] = (double) hits / positives;
      precisions[size] = hits / (size + 1 + Math.ulp(1.0));
      size++;
    }
    for (int i = size - 1; i > 0; i--) {
      precisions[i - 1] = Math.max(precisions[i - 1], precisions[i]);
    }
    double sum = 0;
    int at = 0;
    for (int r = 0; r < RECALLS; r++) {
      while (at < size && recalls[at] < r * 0.01) {
        at++;
      }
      if (at == size) {
        break;
      }
      sum += precisions[at];
    }
    return new double[] {sum / RECALLS, size == 0 ? 0 : recalls[size - 1]};
  }

  private static double recall(List<Ranked> ranked, int perImage, int t, long positives) {
    long bit = 1L << (ALL * OVERLAPS.length + t);
    long hits =
        ranked.stream()
            .filter(d -> d.rank < perImage && (d.matched & ~d.ignored & bit) != 0)
            .count();
    return (double) hits / positives;
  }
}
