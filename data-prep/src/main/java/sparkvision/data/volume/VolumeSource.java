package sparkvision.data.volume;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.univocity.parsers.common.TextParsingException;
import com.univocity.parsers.csv.CsvParser;
import com.univocity.parsers.csv.CsvParserSettings;
import java.io.ByteArrayInputStream;
import java.io.CharConversionException;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import sparkvision.data.DataException;
import sparkvision.data.Images;
import sparkvision.data.Item;
import sparkvision.data.Listing;
import sparkvision.data.ListingBuilder;
import sparkvision.data.Sample;
import sparkvision.data.Source;
import sparkvision.data.SourceFolder;
import sparkvision.data.Storage;
import sparkvision.data.Task;

/**
 * Volumes and their classes or masks, in one of three layouts:
 *
 * <ul>
 *   <li><b>Medical Segmentation Decathlon:</b> a folder with {@code dataset.json}. Its {@code
 *       training} list names pairs of image and label map, its {@code labels} the classes by value.
 *       Volumes of the {@code test} list have no label maps; each gets one of 255 alone, ignore.
 *   <li><b>CSV:</b> a folder with one file ending in {@code .csv}, or that file: a header and rows,
 *       {@code path,label} for classification (classes in sorted order) or {@code image,mask} for
 *       segmentation (class names in {@code classes.txt} beside it, one a line, by value). Paths
 *       are relative to the folder.
 *   <li><b>Class folders:</b> a folder for each class, volumes at any depth inside it.
 * </ul>
 *
 * <p>A volume is a file ending in {@code .nii} or {@code .nii.gz} (see {@link Nifti}), or, except
 * for masks, a folder of pictures with numbers in their names: a clip, grey, D = frames in the
 * order of the last number in the name, at spacing 1. A sample's id is the volume's path.
 *
 * <p>Samples come in RAS (see {@link Volume}), one channel, encoded by {@link Nifti#write}. A
 * volume is quarantined if it has a voxel that is not finite; a pair, if the sizes differ, the mask
 * lies half a voxel or more beside the image, or it has a value that is neither a class nor 255,
 * ignore.
 *
 * @param input the folder or the CSV file
 * @param split the Decathlon's list, {@code training} or {@code test}; empty for the former, and
 *     for the other layouts
 * @param spacing millimetres along D, H and W that volumes are resampled to, see {@link
 *     Resampling}; empty leaves them as they are
 * @param normalise whether each volume's intensities are clipped to their percentiles 0.5 and 99.5
 *     and brought to mean 0 and standard deviation 1, before resampling
 * @param channel of 4-D volumes that is taken, from 0 on; {@link Nifti#ONLY_CHANNEL} quarantines
 *     volumes that have several
 * @see <a href="https://arxiv.org/abs/2106.05735">Antonelli et al., The Medical Segmentation
 *     Decathlon, 2021</a>
 */
public record VolumeSource(
    String input, String split, List<Double> spacing, boolean normalise, int channel)
    implements Source {

  private static final String DECATHLON = "dataset.json";
  private static final String CLASSES = "classes.txt";
  private static final String TEST = "test";

  /** Labels that were scaled are off by rounding. */
  private static final double LABEL_TOLERANCE = 1e-3;

  private static final Pattern LAST_NUMBER = Pattern.compile("(\\d{1,18})\\D*$");

  public VolumeSource {
    if (!List.of("", "training", TEST).contains(split)) {
      throw new IllegalArgumentException(
          "Invalid split: " + split + " (must be training or test for volumes)");
    }
    boolean positive = spacing.stream().allMatch(step -> step > 0 && Double.isFinite(step));
    if (!positive || (!spacing.isEmpty() && spacing.size() != 3)) {
      throw new IllegalArgumentException(
          "Invalid spacing: " + spacing + " (millimetres along D, H and W, or nothing)");
    }
    if (channel < Nifti.ONLY_CHANNEL) {
      throw new IllegalArgumentException(
          "Invalid channel: " + channel + " (0 or more; -1 refuses volumes with several)");
    }
    spacing = List.copyOf(spacing);
  }

  // Listing

  /**
   * {@inheritDoc}
   *
   * @throws DataException if {@code dataset.json} or the CSV cannot be read, or there are no
   *     classes
   */
  @Override
  public Listing list(Configuration hadoop) throws IOException {
    Path path = new Path(input);
    FileSystem files = Storage.of(path, hadoop);
    Path root = files.makeQualified(path);
    FileStatus status;
    try {
      status = files.getFileStatus(root);
    } catch (FileNotFoundException e) {
      throw new IllegalArgumentException("Cannot read volumes " + root + ": no such path", e);
    }
    if (status.isFile()) {
      refuseSplit();
      if (!isCsv(status)) {
        throw new IllegalArgumentException(
            "Cannot read volumes " + root + ": it is a file, but not a .csv");
      }
      return csv(new Folder(files, root.getParent()), root.getName());
    }

    Folder folder = new Folder(files, root);
    if (folder.find(DECATHLON).isPresent()) {
      return decathlon(folder, split.equals(TEST));
    }
    refuseSplit();
    List<String> tables =
        folder.entries("").values().stream()
            .filter(VolumeSource::isCsv)
            .map(entry -> entry.getPath().getName())
            .toList();
    if (tables.size() > 1) {
      throw new IllegalArgumentException(
          "Cannot read volumes " + root + ": it holds several CSV files " + tables + "; name one");
    }
    return tables.isEmpty() ? classFolders(folder) : csv(folder, tables.get(0));
  }

  private void refuseSplit() {
    if (!split.isEmpty()) {
      throw new IllegalArgumentException(
          String.format(
              "Invalid split: %s (%s has none: only a folder with %s has)",
              split, input, DECATHLON));
    }
  }

  private static boolean isCsv(FileStatus entry) {
    return entry.isFile() && lower(entry).endsWith(".csv");
  }

  private static String lower(FileStatus entry) {
    return entry.getPath().getName().toLowerCase(Locale.ROOT);
  }

  private static boolean isNifti(FileStatus entry) {
    String name = lower(entry);
    return entry.isFile() && (name.endsWith(".nii") || name.endsWith(".nii.gz"));
  }

  private static boolean isPicture(FileStatus entry) {
    return entry.isFile() && SourceFolder.isPicture(entry.getPath().getName());
  }

  /** The root, and what is in its folders, each listed once. */
  private static final class Folder {
    final SourceFolder source;
    final String root;
    private final Map<String, Map<String, FileStatus>> known = new HashMap<>();

    Folder(FileSystem files, Path root) {
      this.source = new SourceFolder(files, root.toString());
      this.root = source.root();
    }

    /** By name, sorted; of a folder that is not there, nothing. */
    Map<String, FileStatus> entries(String folder) throws IOException {
      Map<String, FileStatus> entries = known.get(folder);
      if (entries == null) {
        entries = new TreeMap<>();
        if (source.hasFolder(folder)) {
          for (FileStatus entry : source.list(folder)) {
            entries.put(entry.getPath().getName(), entry);
          }
        }
        known.put(folder, entries);
      }
      return entries;
    }

    Optional<FileStatus> find(String path) throws IOException {
      int slash = path.lastIndexOf('/');
      String parent = slash < 0 ? "" : path.substring(0, slash);
      return Optional.ofNullable(entries(parent).get(path.substring(slash + 1)));
    }
  }

  /** An item's annotation: the path of its mask, and how many classes there are. */
  private record Mask(String path, int classes) {

    byte[] toBytes() {
      return (classes + " " + path).getBytes(StandardCharsets.UTF_8);
    }

    static Mask of(byte[] bytes) {
      String[] parts = new String(bytes, StandardCharsets.UTF_8).split(" ", 2);
      return new Mask(parts[1], Integer.parseInt(parts[0]));
    }
  }

  /** Collects items, and why others are none. */
  private static final class Found {
    final Folder folder;
    final ListingBuilder listing = new ListingBuilder();

    Found(Folder folder) {
      this.folder = folder;
    }

    /** A volume with a class, or with none. */
    void add(String statedPath, int label) throws IOException {
      try {
        String path = relative(statedPath);
        add(path, label, 0, new byte[0]);
      } catch (DataException e) {
        listing.quarantine(statedPath, e.getMessage());
      }
    }

    /** A volume and its mask, whose values are below {@code classes}. */
    void add(String statedPath, String statedMask, int classes) throws IOException {
      try {
        String mask = relative(statedMask);
        add(
            relative(statedPath),
            -1,
            required(mask).getModificationTime(),
            new Mask(mask, classes).toBytes());
      } catch (DataException e) {
        listing.quarantine(statedPath, e.getMessage());
      }
    }

    private void add(String path, int label, long newest, byte[] annotation) throws IOException {
      FileStatus file = required(path);
      long length = file.getLen();
      long modified = Math.max(newest, file.getModificationTime());
      if (file.isDirectory()) {
        length = 0;
        for (FileStatus frame : folder.entries(path).values()) {
          length += isPicture(frame) ? frame.getLen() : 0;
          modified = Math.max(modified, frame.getModificationTime());
        }
      }
      listing.add(new Item(path, path, 0, length, modified, label, annotation));
    }

    private FileStatus required(String path) throws IOException {
      return folder.find(path).orElseThrow(() -> new DataException("no such file: " + path));
    }

    private static String relative(String stated) {
      List<String> names = new ArrayList<>(Arrays.asList(stated.split("/")));
      names.removeIf(name -> name.equals("."));
      if (stated.startsWith("/") || names.contains("..") || names.contains("") || names.isEmpty()) {
        throw new DataException("not a path inside the folder: " + stated);
      }
      return String.join("/", names);
    }

    Listing listing(Task task, List<String> classes) {
      return listing.build(task, folder.source, classes);
    }
  }

  private static Listing decathlon(Folder folder, boolean test) throws IOException {
    String file = folder.root + "/" + DECATHLON;
    JsonNode json;
    try {
      json = new ObjectMapper().readTree(folder.source.read(DECATHLON));
    } catch (JsonProcessingException e) {
      throw new DataException("Cannot read " + file + ": " + e.getOriginalMessage(), e);
    } catch (CharConversionException e) {
      throw new DataException("Cannot read " + file + ": " + e.getMessage(), e);
    }
    List<String> classes = new ArrayList<>();
    while (json.path("labels").path("" + classes.size()).isTextual()) {
      classes.add(json.path("labels").path("" + classes.size()).textValue());
    }
    if (classes.isEmpty() || classes.size() != json.path("labels").size()) {
      throw new DataException(
          "Cannot read " + file + ": labels must name the classes 0, 1, 2 and so on");
    }
    refuseMany(classes, file);
    String list = test ? TEST : "training";
    if (!json.path(list).isArray()) {
      throw new DataException("Cannot read " + file + ": it has no " + list + " list");
    }
    Found found = new Found(folder);
    int number = 0;
    for (JsonNode pair : json.path(list)) {
      JsonNode image = pair.path("image");
      JsonNode label = pair.path("label");
      if (test && (pair.isTextual() || image.isTextual())) {
        found.add((pair.isTextual() ? pair : image).textValue(), -1);
      } else if (!test && image.isTextual() && label.isTextual()) {
        found.add(image.textValue(), label.textValue(), classes.size());
      } else {
        found.listing.quarantine(
            DECATHLON + "#" + list + "[" + number + "]",
            test ? "names no image" : "names no image and label");
      }
      number++;
    }
    return found.listing(Task.VOLUME_SEGMENTATION, classes);
  }

  private static void refuseMany(List<String> classes, String file) {
    if (classes.size() > Sample.IGNORE) {
      throw new DataException(
          String.format(
              "Cannot read %s: %d classes, at most %d", file, classes.size(), Sample.IGNORE));
    }
  }

  private static Listing csv(Folder folder, String name) throws IOException {
    String file = folder.root + "/" + name;
    CsvParserSettings settings = new CsvParserSettings(); // RFC 4180, unquoted blanks trimmed
    settings.setLineSeparatorDetectionEnabled(true);
    settings.getFormat().setComment('\0');
    List<String[]> rows;
    try {
      rows =
          new CsvParser(settings)
              .parseAll(new ByteArrayInputStream(folder.source.read(name)), StandardCharsets.UTF_8);
    } catch (TextParsingException e) {
      throw new DataException("Cannot read " + file + ": not CSV", e);
    }
    String header = rows.isEmpty() ? "" : String.join(",", Arrays.asList(rows.get(0)));
    boolean masks = header.equals("image,mask");
    if (!masks && !header.equals("path,label")) {
      throw new DataException(
          "Cannot read "
              + file
              + ": its header is "
              + header
              + " (path,label for classification or image,mask for segmentation)");
    }
    List<String[]> good = new ArrayList<>();
    Found found = new Found(folder);
    TreeSet<String> labels = new TreeSet<>();
    for (int i = 1; i < rows.size(); i++) {
      String[] row = rows.get(i);
      if (row.length == 2 && row[0] != null && row[1] != null) {
        good.add(row);
        labels.add(row[1]);
      } else {
        found.listing.quarantine(name + "#" + (i + 1), "row " + (i + 1) + " has not two values");
      }
    }
    List<String> classes = masks ? classNames(folder, name) : List.copyOf(labels);
    for (String[] row : good) {
      if (masks) {
        found.add(row[0], row[1], classes.size());
      } else {
        found.add(row[0], classes.indexOf(row[1]));
      }
    }
    return found.listing(masks ? Task.VOLUME_SEGMENTATION : Task.VOLUME_CLASSIFICATION, classes);
  }

  private static List<String> classNames(Folder folder, String table) throws IOException {
    if (folder.find(CLASSES).isEmpty()) {
      throw new DataException(
          String.format(
              "Cannot read %s/%s: there is no %s beside it with the masks' classes, one a line",
              folder.root, table, CLASSES));
    }
    List<String> classes =
        folder.source.lines(CLASSES).stream().filter(line -> !line.isEmpty()).toList();
    refuseMany(classes, folder.root + "/" + CLASSES);
    return classes;
  }

  private static Listing classFolders(Folder folder) throws IOException {
    Found found = new Found(folder);
    List<String> classes = new ArrayList<>();
    for (FileStatus entry : folder.entries("").values()) {
      if (!entry.isDirectory()) {
        found.listing.ignore();
        continue;
      }
      String name = entry.getPath().getName();
      int before = found.listing.size();
      collect(found, name, classes.size());
      if (found.listing.size() == before) {
        throw new DataException(
            String.format(
                "Cannot read volumes %s: class %s has none (files ending in .nii or .nii.gz, or"
                    + " folders of frames)",
                folder.root, name));
      }
      classes.add(name);
    }
    if (classes.isEmpty()) {
      throw new DataException(
          "Cannot read volumes "
              + folder.root
              + ": it holds neither dataset.json, nor a CSV file, nor class folders");
    }
    return found.listing(Task.VOLUME_CLASSIFICATION, classes);
  }

  /** Adds the volumes of a folder and counts the files that are none. */
  private static void collect(Found found, String folder, int label) throws IOException {
    for (FileStatus entry : found.folder.entries(folder).values()) {
      String path = folder + "/" + entry.getPath().getName();
      if (entry.isDirectory()) {
        boolean clip =
            found.folder.entries(path).values().stream().anyMatch(VolumeSource::isPicture);
        if (clip) {
          found.add(path, label);
        } else {
          collect(found, path, label);
        }
      } else if (isNifti(entry)) {
        found.add(path, label);
      } else {
        found.listing.ignore();
      }
    }
  }

  // Reading

  @Override
  public Sample read(Configuration hadoop, String root, Item item) throws IOException {
    Path path = new Path(root + "/" + item.path());
    FileSystem files = Storage.of(path, hadoop);
    FileStatus file = files.getFileStatus(path);
    Volume image =
        file.isDirectory()
            ? clip(files, path)
            : Nifti.read(Storage.read(files, file), channel).toRas();
    refuseInfinite(image);
    Optional<Volume> mask = Optional.empty();
    if (item.annotation().length > 0) {
      Mask stated = Mask.of(item.annotation());
      mask =
          Optional.of(mask(files, new Path(root + "/" + stated.path()), stated.classes(), image));
    } else if (split.equals(TEST)) {
      mask = Optional.of(unknown(image));
    }
    if (normalise) {
      Intensity.normalise(image.voxels());
    }
    if (!spacing.isEmpty()) {
      double[] steps = spacing.stream().mapToDouble(step -> step).toArray();
      image = Resampling.linear(image, steps);
      mask = mask.map(labels -> Resampling.nearest(labels, steps));
    }
    return new Sample(
        item.id(),
        item.label(),
        image.depth(),
        image.height(),
        image.width(),
        Nifti.write(image),
        mask.map(Nifti::write).orElse(new byte[0]),
        List.of());
  }

  /** A mask of a volume of which nothing is known. */
  private static Volume unknown(Volume image) {
    float[] labels = new float[image.voxels().length];
    Arrays.fill(labels, Sample.IGNORE);
    return new Volume(image.depth(), image.height(), image.width(), labels, image.affine());
  }

  private static void refuseInfinite(Volume image) {
    for (int i = 0; i < image.voxels().length; i++) {
      if (!Float.isFinite(image.voxels()[i])) {
        throw new DataException("voxel " + place(image, i) + " is " + image.voxels()[i]);
      }
    }
  }

  /** As (d, h, w). */
  private static String place(Volume volume, int index) {
    int slice = volume.height() * volume.width();
    return String.format(
        "(%d, %d, %d)", index / slice, index % slice / volume.width(), index % volume.width());
  }

  private static Volume mask(FileSystem files, Path path, int classes, Volume image)
      throws IOException {
    Volume mask;
    try {
      mask = Nifti.read(Storage.read(files, files.getFileStatus(path)), Nifti.ONLY_CHANNEL).toRas();
    } catch (DataException e) {
      throw new DataException("mask " + path.getName() + ": " + e.getMessage(), e);
    }
    if (mask.depth() != image.depth()
        || mask.height() != image.height()
        || mask.width() != image.width()) {
      throw new DataException(
          String.format(
              "mask %s has %d x %d x %d voxels (D, H, W in RAS), the image %d x %d x %d",
              path.getName(),
              mask.depth(),
              mask.height(),
              mask.width(),
              image.depth(),
              image.height(),
              image.width()));
    }
    double apart = apart(mask, image);
    double smallest = Arrays.stream(image.spacing()).min().getAsDouble();
    if (apart >= smallest / 2) {
      throw new DataException(
          String.format(
              Locale.ROOT,
              "mask %s lies up to %.2f mm beside the image, whose voxels are %.2f mm",
              path.getName(),
              apart,
              smallest));
    }
    return new Volume(
        image.depth(), image.height(), image.width(), labels(mask, path, classes), image.affine());
  }

  /** The largest distance between the same corner voxels, millimetres. */
  private static double apart(Volume mask, Volume image) {
    double largest = 0;
    for (int corner = 0; corner < 8; corner++) {
      int x = (corner & 1) * (image.width() - 1);
      int y = (corner >> 1 & 1) * (image.height() - 1);
      int z = (corner >> 2) * (image.depth() - 1);
      double[] here = mask.affine().apply(x, y, z);
      double[] there = image.affine().apply(x, y, z);
      double square = 0;
      for (int axis = 0; axis < 3; axis++) {
        square += (here[axis] - there[axis]) * (here[axis] - there[axis]);
      }
      largest = Math.max(largest, Math.sqrt(square));
    }
    return largest;
  }

  /** Checked, and whole numbers. */
  private static float[] labels(Volume mask, Path path, int classes) {
    float[] labels = mask.voxels();
    for (int i = 0; i < labels.length; i++) {
      float label = Math.round(labels[i]);
      boolean known = (label >= 0 && label < classes) || label == Sample.IGNORE;
      if (!known || !(Math.abs(labels[i] - label) <= LABEL_TOLERANCE)) {
        throw new DataException(
            String.format(
                "mask %s: voxel %s is %s, none of the %d classes from 0 on",
                path.getName(), place(mask, i), labels[i], classes));
      }
      labels[i] = label;
    }
    return labels;
  }

  private record Frame(long number, FileStatus file) {}

  private static Volume clip(FileSystem files, Path folder) throws IOException {
    List<Frame> frames = new ArrayList<>();
    for (FileStatus entry : Storage.list(files, folder)) {
      if (isPicture(entry)) {
        frames.add(new Frame(number(entry), entry));
      }
    }
    frames.sort(Comparator.comparingLong(Frame::number));
    float[] voxels = {};
    int height = 0;
    int width = 0;
    for (int i = 0; i < frames.size(); i++) {
      String name = frames.get(i).file().getPath().getName();
      if (i > 0 && frames.get(i).number() == frames.get(i - 1).number()) {
        throw new DataException("frame " + name + " has the same number as another");
      }
      Images.Picture picture = grey(name, Storage.read(files, frames.get(i).file()));
      if (i == 0) {
        height = picture.height();
        width = picture.width();
        if ((long) frames.size() * height * width > Nifti.MAX_VOXELS) {
          throw new DataException(
              String.format(
                  "too large a clip: %d frames of %d x %d, at most %d pixels",
                  frames.size(), height, width, Nifti.MAX_VOXELS));
        }
        voxels = new float[frames.size() * height * width];
      }
      if (picture.height() != height || picture.width() != width) {
        throw new DataException(
            String.format(
                "frame %s has %d x %d pixels, the first %d x %d",
                name, picture.height(), picture.width(), height, width));
      }
      for (int pixel = 0; pixel < height * width; pixel++) {
        voxels[i * height * width + pixel] = picture.pixels()[pixel] & 0xFF;
      }
    }
    if (frames.isEmpty()) {
      throw new DataException("a folder without frames (.jpg, .jpeg or .png)");
    }
    return new Volume(frames.size(), height, width, voxels, Affine.ofSpacing(1, 1, 1));
  }

  private static long number(FileStatus frame) {
    String name = frame.getPath().getName();
    Matcher matcher = LAST_NUMBER.matcher(SourceFolder.stem(name));
    if (!matcher.find()) {
      throw new DataException("frame " + name + " has no number in its name");
    }
    return Long.parseLong(matcher.group(1));
  }

  private static Images.Picture grey(String name, byte[] bytes) {
    try {
      Images.Picture picture = Images.inspect(bytes);
      return picture.channels() == 1 ? picture : Images.decode(bytes, 1);
    } catch (DataException e) {
      throw new DataException("frame " + name + ": " + e.getMessage(), e);
    }
  }
}
