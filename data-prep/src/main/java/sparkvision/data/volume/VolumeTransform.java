package sparkvision.data.volume;

import static sparkvision.data.Setting.require;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import sparkvision.data.DataException;
import sparkvision.data.Sample;
import sparkvision.data.SampleTransform;
import sparkvision.data.SplitMix;

/**
 * Turns a stored volume and its mask into a patch that a network takes: for training cropped,
 * turned and changed in intensity at random, for evaluation cropped at the centre. Thread-safe.
 *
 * <p><b>In training</b>, after nnU-Net's {@code nnUNetTrainer} (without its blur, contrast and low
 * resolution), in this order; what is done is drawn from the stream keyed (seed, epoch, hash(id)),
 * with the repeat after them unless it is the first:
 *
 * <ol>
 *   <li><b>Crop.</b> With the probability of {@code foregroundShare} a class is drawn of those that
 *       the mask has besides 0, then one of its voxels, and the patch is centred on it, as far as
 *       it stays inside; else every place is equally likely. nnU-Net's {@code
 *       oversample_foreground_percent}, with chance in place of a place in the batch.
 *   <li><b>Rotation</b> about the patch's centre by an angle for each axis, in voxel units, and
 *       <b>zoom</b>, one factor for all axes, above 1 making things larger. nnU-Net's {@code
 *       SpatialTransform} without elastic deformation.
 *   <li><b>Flips</b>, of each axis for itself; nnU-Net's {@code MirrorTransform}.
 *   <li><b>Rotation by 90, 180 or 270 degrees</b> in a plane of equal patch sides; MONAI's {@code
 *       RandRotate90}.
 *   <li><b>Noise, factor, shift, gamma</b> of intensities; see the ranges of {@link Options}.
 * </ol>
 *
 * <p>With {@link Fit#RESIZE} the patch is the whole volume: in place of the crop each axis is
 * brought to the patch's side, PyTorch's {@code interpolate} (trilinear, corners not aligned, no
 * antialiasing).
 *
 * <p>All moves are one: each voxel of the patch is read once from the stored volume, trilinearly,
 * and from the mask at the nearest voxel. Without rotation and zoom, values are taken unchanged.
 * Outside of the volume intensities are 0, which is the mean after normalisation, and labels 0,
 * background; a volume smaller than the patch is padded on both sides.
 *
 * @see <a href="https://doi.org/10.1038/s41592-020-01008-z">Isensee et al., nnU-Net, 2021,
 *     supplementary note 4</a>
 */
public final class VolumeTransform implements SampleTransform {

  private static final long serialVersionUID = 1;

  private static final int BACKGROUND = 0;

  /** How a volume fills the patch. */
  public enum Fit {
    /** A part of it, padded where the volume is smaller. */
    CROP,
    /** All of it, resized. */
    RESIZE
  }

  /**
   * A value drawn evenly from low to high, with some probability; else nothing is done.
   *
   * @param probability 0..1
   */
  public record Range(double probability, double low, double high) implements Serializable {

    public Range {
      require(isProbability(probability), "probability", probability, "must be in 0..1");
      require(low <= high, "low", low, "must be at most high, " + high);
    }

    private double draw(SplitMix random, double nothing) {
      return random.unit() < probability ? between(random) : nothing;
    }

    private double between(SplitMix random) {
      return low + (high - low) * random.unit();
    }
  }

  /**
   * What is done to a volume; all but the patch size in training only.
   *
   * @param patchSize voxels along D, H and W
   * @param foregroundShare of patches that are centred on a voxel of a class, 0..1; nnU-Net 0.33.
   *     Volumes without a mask are cropped anywhere
   * @param flipProbability of each axis, 0..1; nnU-Net 0.5
   * @param quarterTurnProbability 0..1
   * @param rotation degrees; nnU-Net 0.2, -30, 30
   * @param zoom factor; nnU-Net 0.2, 0.7, 1.4
   * @param noise standard deviation; nnU-Net 0.1, 0, 0.1
   * @param factor of intensities; nnU-Net 0.15, 0.75, 1.25
   * @param shift of intensities
   * @param gamma exponent; nnU-Net 0.3, 0.7, 1.5
   * @param fit in training and evaluation
   */
  public record Options(
      List<Integer> patchSize,
      double foregroundShare,
      double flipProbability,
      double quarterTurnProbability,
      Range rotation,
      Range zoom,
      Range noise,
      Range factor,
      Range shift,
      Range gamma,
      Fit fit)
      implements Serializable {

    public Options {
      require(
          patchSize.size() == 3
              && patchSize.stream().allMatch(side -> side >= 1)
              && patchSize.stream().mapToDouble(side -> side).reduce(1, (a, b) -> a * b)
                  <= Nifti.MAX_VOXELS,
          "patch-size",
          patchSize,
          "three numbers >= 1, at most " + Nifti.MAX_VOXELS + " voxels");
      require(
          isProbability(foregroundShare), "foreground-share", foregroundShare, "must be in 0..1");
      require(
          isProbability(flipProbability), "flip-probability", flipProbability, "must be in 0..1");
      require(
          isProbability(quarterTurnProbability),
          "quarter-turn-probability",
          quarterTurnProbability,
          "must be in 0..1");
      require(
          quarterTurnProbability == 0 || !squares(patchSize).isEmpty(),
          "quarter-turn-probability",
          quarterTurnProbability,
          "must be 0: no two sides of patch-size " + patchSize + " are equal");
      require(zoom.low() > 0, "zoom", zoom, "must be > 0");
      require(noise.low() >= 0, "noise", noise, "must be >= 0");
      require(gamma.low() > 0, "gamma", gamma, "must be > 0");
      patchSize = List.copyOf(patchSize);
    }

    /** Planes, as pairs of axes, in which a quarter turn keeps the patch's shape. */
    private static List<int[]> squares(List<Integer> patchSize) {
      List<int[]> planes = new ArrayList<>();
      for (int[] plane : new int[][] {{0, 1}, {0, 2}, {1, 2}}) {
        if (patchSize.get(plane[0]).equals(patchSize.get(plane[1]))) {
          planes.add(plane);
        }
      }
      return planes;
    }
  }

  private static boolean isProbability(double value) {
    return value >= 0 && value <= 1;
  }

  /** Both (D, H, W); labels are empty where there is no mask. */
  private record Patch(float[] voxels, int[] labels) {}

  private record Stored(Volume volume, Optional<Volume> mask) {
    int[] sizes() {
      return new int[] {volume.depth(), volume.height(), volume.width()};
    }
  }

  private final Options options;
  private final int[] patch;

  public VolumeTransform(Options options) {
    this.options = options;
    this.patch = options.patchSize().stream().mapToInt(side -> side).toArray();
  }

  /** Floats of one patch, and labels: D * H * W. */
  public int size() {
    return patch[0] * patch[1] * patch[2];
  }

  @Override
  public long[] imageShape() {
    return new long[] {1, patch[0], patch[1], patch[2]};
  }

  @Override
  public long[] labelShape() {
    return new long[] {patch[0], patch[1], patch[2]};
  }

  /**
   * Writes a patch (1, D, H, W) for training, a pure function of (seed, epoch, sample id, repeat).
   *
   * @throws DataException if the volume or its mask cannot be read, or their sizes differ
   */
  public void train(Sample sample, long seed, int epoch, int repeat, float[] image, int offset) {
    copy(drawn(sample, seed, epoch, repeat).voxels(), image, offset);
  }

  /**
   * Writes a patch and its labels (D, H, W) for training.
   *
   * @throws DataException as the other, and if there is no mask
   */
  @Override
  public void train(
      Sample sample,
      long seed,
      int epoch,
      int repeat,
      float[] images,
      int imageAt,
      long[] labels,
      int labelAt) {
    write(sample, drawn(sample, seed, epoch, repeat), images, imageAt, labels, labelAt);
  }

  /**
   * Writes the patch (1, D, H, W) at the volume's centre, for evaluation.
   *
   * @throws DataException as {@link #train}
   */
  public void evaluate(Sample sample, float[] image, int offset) {
    copy(centre(sample).voxels(), image, offset);
  }

  /**
   * Writes the patch at the volume's centre and its labels (D, H, W), for evaluation.
   *
   * @throws DataException as {@link #train}
   */
  public void evaluate(Sample sample, float[] images, int imageAt, long[] labels, int labelAt) {
    write(sample, centre(sample), images, imageAt, labels, labelAt);
  }

  private void copy(float[] voxels, float[] image, int offset) {
    System.arraycopy(voxels, 0, image, offset, size());
  }

  private void write(
      Sample sample, Patch patch, float[] images, int imageAt, long[] labels, int labelAt) {
    if (patch.labels().length == 0) {
      throw new DataException("Cannot use sample " + sample.id() + ": it has no mask");
    }
    copy(patch.voxels(), images, imageAt);
    for (int i = 0; i < size(); i++) {
      labels[labelAt + i] = patch.labels()[i];
    }
  }

  private Patch centre(Sample sample) {
    Stored stored = decode(sample);
    double[][] straight = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
    if (options.fit() == Fit.RESIZE) {
      return look(stored, middle(stored), scale(stored));
    }
    int[] sizes = stored.sizes();
    double[] middle = new double[3];
    for (int axis = 0; axis < 3; axis++) {
      int free = sizes[axis] - patch[axis];
      middle[axis] = middle(free < 0 ? padded(free) : free / 2, axis);
    }
    return look(stored, middle, straight);
  }

  /** The volume's centre. */
  private static double[] middle(Stored stored) {
    return Arrays.stream(stored.sizes()).mapToDouble(size -> (size - 1) / 2.0).toArray();
  }

  /** Voxels of the volume to one of the patch, along each axis. */
  private double[][] scale(Stored stored) {
    int[] sizes = stored.sizes();
    double[][] scale = new double[3][3];
    for (int axis = 0; axis < 3; axis++) {
      scale[axis][axis] = (double) sizes[axis] / patch[axis];
    }
    return scale;
  }

  private Patch drawn(Sample sample, long seed, int epoch, int repeat) {
    Stored stored = decode(sample);
    SplitMix random = SampleTransform.stream(sample, seed, epoch, repeat);
    boolean whole = options.fit() == Fit.RESIZE;
    double[] middle = whole ? middle(stored) : place(stored, random);
    double[][] view = affine(random);
    view = times(view, flips(random));
    view = times(view, quarterTurns(random));
    view = whole ? times(scale(stored), view) : view;
    Patch drawn = look(stored, middle, view);

    double noise = options.noise().draw(random, 0);
    if (noise > 0) {
      Intensity.addNoise(drawn.voxels(), noise, random);
    }
    double factor = options.factor().draw(random, 1);
    double shift = options.shift().draw(random, 0);
    if (factor != 1 || shift != 0) {
      Intensity.scaleAndShift(drawn.voxels(), factor, shift);
    }
    double gamma = options.gamma().draw(random, 1);
    if (gamma != 1) {
      Intensity.gamma(drawn.voxels(), gamma);
    }
    return drawn;
  }

  private static Stored decode(Sample sample) {
    Volume volume = decode(sample, "volume", sample.image());
    if (sample.mask().length == 0) {
      return new Stored(volume, Optional.empty());
    }
    Volume mask = decode(sample, "mask", sample.mask());
    if (mask.depth() != volume.depth()
        || mask.height() != volume.height()
        || mask.width() != volume.width()) {
      throw new DataException(
          String.format(
              "Cannot use sample %s: its volume has %d x %d x %d voxels, its mask %d x %d x %d",
              sample.id(),
              volume.depth(),
              volume.height(),
              volume.width(),
              mask.depth(),
              mask.height(),
              mask.width()));
    }
    return new Stored(volume, Optional.of(mask));
  }

  private static Volume decode(Sample sample, String what, byte[] encoded) {
    try {
      return Nifti.read(encoded, Nifti.ONLY_CHANNEL);
    } catch (DataException e) {
      throw new DataException(
          String.format("Cannot decode the %s of sample %s: %s", what, sample.id(), e.getMessage()),
          e);
    }
  }

  // Where the patch lies, and which way

  /** Coordinates of the patch's centre, along D, H and W. */
  private double[] place(Stored stored, SplitMix random) {
    int[] sizes = stored.sizes();
    double[] middle = new double[3];
    boolean onForeground = random.unit() < options.foregroundShare();
    Optional<int[]> target =
        onForeground ? stored.mask().flatMap(mask -> foreground(mask, random)) : Optional.empty();
    for (int axis = 0; axis < 3; axis++) {
      int free = sizes[axis] - patch[axis];
      if (free < 0) {
        middle[axis] = middle(padded(free), axis);
        continue;
      }
      int start =
          target.isPresent()
              ? Math.min(Math.max(target.get()[axis] - patch[axis] / 2, 0), free)
              : random.below(free + 1);
      middle[axis] = middle(start, axis);
    }
    return middle;
  }

  /** First coordinate of a patch that is larger than the volume. */
  private static int padded(int free) {
    return -(-free / 2);
  }

  private double middle(int start, int axis) {
    return start + (patch[axis] - 1) / 2.0;
  }

  private static Optional<int[]> foreground(Volume mask, SplitMix random) {
    int[] counts = new int[256];
    for (float label : mask.voxels()) {
      counts[(int) label]++;
    }
    counts[BACKGROUND] = 0;
    counts[Sample.IGNORE] = 0;
    List<Integer> present = new ArrayList<>();
    for (int label = 0; label < counts.length; label++) {
      if (counts[label] > 0) {
        present.add(label);
      }
    }
    if (present.isEmpty()) {
      return Optional.empty();
    }
    int label = present.get(random.below(present.size()));
    int left = random.below(counts[label]);
    int at = 0;
    while (mask.voxels()[at] != label || left-- > 0) {
      at++;
    }
    int slice = mask.height() * mask.width();
    return Optional.of(new int[] {at / slice, at % slice / mask.width(), at % mask.width()});
  }

  private double[][] affine(SplitMix random) {
    double[][] view = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
    if (random.unit() < options.rotation().probability()) {
      for (int[] plane : new int[][] {{1, 2}, {0, 2}, {0, 1}}) {
        double angle = Math.toRadians(options.rotation().between(random));
        view = times(view, turn(plane, Math.cos(angle), Math.sin(angle)));
      }
    }
    double zoom = options.zoom().draw(random, 1);
    for (double[] row : view) {
      for (int axis = 0; axis < 3; axis++) {
        row[axis] /= zoom;
      }
    }
    return view;
  }

  private double[][] flips(SplitMix random) {
    double[][] view = new double[3][3];
    for (int axis = 0; axis < 3; axis++) {
      view[axis][axis] = random.unit() < options.flipProbability() ? -1 : 1;
    }
    return view;
  }

  private double[][] quarterTurns(SplitMix random) {
    if (random.unit() >= options.quarterTurnProbability()) {
      return new double[][] {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
    }
    List<int[]> planes = Options.squares(options.patchSize());
    int[] plane = planes.get(random.below(planes.size()));
    return switch (random.below(3)) {
      case 0 -> turn(plane, 0, 1);
      case 1 -> turn(plane, -1, 0);
      default -> turn(plane, 0, -1);
    };
  }

  private static double[][] turn(int[] plane, double cos, double sin) {
    double[][] view = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
    view[plane[0]][plane[0]] = cos;
    view[plane[0]][plane[1]] = -sin;
    view[plane[1]][plane[0]] = sin;
    view[plane[1]][plane[1]] = cos;
    return view;
  }

  private static double[][] times(double[][] a, double[][] b) {
    double[][] product = new double[3][3];
    for (int i = 0; i < 3; i++) {
      for (int j = 0; j < 3; j++) {
        product[i][j] = a[i][0] * b[0][j] + a[i][1] * b[1][j] + a[i][2] * b[2][j];
      }
    }
    return product;
  }

  /** Reads voxel p of the patch at middle + view * (p - its centre). */
  private Patch look(Stored stored, double[] middle, double[][] view) {
    float[] voxels = new float[size()];
    int[] labels = new int[stored.mask().isPresent() ? size() : 0];
    int[] sizes = stored.sizes();
    int at = 0;
    for (int d = 0; d < patch[0]; d++) {
      double fromD = d - (patch[0] - 1) / 2.0;
      for (int h = 0; h < patch[1]; h++) {
        double fromH = h - (patch[1] - 1) / 2.0;
        double z = middle[0] + view[0][0] * fromD + view[0][1] * fromH;
        double y = middle[1] + view[1][0] * fromD + view[1][1] * fromH;
        double x = middle[2] + view[2][0] * fromD + view[2][1] * fromH;
        for (int w = 0; w < patch[2]; w++) {
          double fromW = w - (patch[2] - 1) / 2.0;
          double placeZ = inside(z + view[0][2] * fromW, sizes[0]);
          double placeY = inside(y + view[1][2] * fromW, sizes[1]);
          double placeX = inside(x + view[2][2] * fromW, sizes[2]);
          voxels[at] = linear(stored.volume(), placeZ, placeY, placeX);
          if (stored.mask().isPresent()) {
            labels[at] = nearest(stored.mask().get(), placeZ, placeY, placeX);
          }
          at++;
        }
      }
    }
    return new Patch(voxels, labels);
  }

  /**
   * A resized volume shows no padding between the middle of its outermost voxels and their edge.
   */
  private double inside(double place, int size) {
    boolean edge = options.fit() == Fit.RESIZE && place >= -0.5 && place <= size - 0.5;
    return edge ? Math.min(Math.max(place, 0), size - 1) : place;
  }

  private static float linear(Volume volume, double z, double y, double x) {
    int lowZ = (int) Math.floor(z);
    int lowY = (int) Math.floor(y);
    int lowX = (int) Math.floor(x);
    double partZ = z - lowZ;
    double partY = y - lowY;
    double partX = x - lowX;
    if (partZ == 0 && partY == 0 && partX == 0) {
      return at(volume, lowZ, lowY, lowX);
    }
    return (float)
        between(
            plane(volume, lowZ, lowY, lowX, partY, partX),
            plane(volume, lowZ + 1, lowY, lowX, partY, partX),
            partZ);
  }

  /** Between four voxels of a slice. */
  private static double plane(
      Volume volume, int z, int lowY, int lowX, double partY, double partX) {
    return between(
        between(at(volume, z, lowY, lowX), at(volume, z, lowY, lowX + 1), partX),
        between(at(volume, z, lowY + 1, lowX), at(volume, z, lowY + 1, lowX + 1), partX),
        partY);
  }

  private static double between(double near, double far, double part) {
    return near + part * (far - near);
  }

  /** 0 outside, background of a mask. */
  private static float at(Volume volume, int z, int y, int x) {
    boolean inside =
        z >= 0
            && z < volume.depth()
            && y >= 0
            && y < volume.height()
            && x >= 0
            && x < volume.width();
    return inside ? volume.voxels()[(z * volume.height() + y) * volume.width() + x] : 0;
  }

  private static int nearest(Volume mask, double z, double y, double x) {
    int nearZ = (int) Math.floor(z + 0.5);
    int nearY = (int) Math.floor(y + 0.5);
    int nearX = (int) Math.floor(x + 0.5);
    return (int) at(mask, nearZ, nearY, nearX);
  }
}
