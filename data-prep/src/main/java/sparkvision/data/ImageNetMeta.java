package sparkvision.data;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.zip.GZIPInputStream;
import java.util.zip.ZipException;

/**
 * What ILSVRC2012 says of its classes and its validation pictures, from whichever of its files is
 * there. A <i>wnid</i> is the WordNet id of a class, such as {@code n01440764}.
 *
 * <pre>
 * LOC_synset_mapping.txt                       wnid NAMES, a line for each class        (Kaggle)
 * LOC_val_solution.csv                         ImageId,PredictionString; the latter begins with
 *                                              the wnid                                 (Kaggle)
 * imagenet_2012_validation_synset_labels.txt   line i: the wnid of ILSVRC2012_val_(i)   (TensorFlow)
 * development kit                              a folder ILSVRC2012_devkit_t12/data or devkit/data,
 *                                              or ILSVRC2012_devkit_t12.tar.gz:
 *   ILSVRC2012_validation_ground_truth.txt     line i: the ILSVRC2012_ID of ILSVRC2012_val_(i)
 *   meta.mat                                   MATLAB; a struct array: ILSVRC2012_ID, WNID, words;
 *                                              ids above 1000 are groups of classes
 *   ILSVRC2015_clsloc_validation_ground_truth.txt, map_clsloc.txt
 *                                              the same two in the kit of 2015; the latter has lines
 *                                              WNID ID NAME
 * </pre>
 *
 * @param names by wnid; empty if no file tells
 * @param namesFrom the file; empty if there is none
 * @param validation the wnid by picture, such as {@code ILSVRC2012_val_00000001}; empty if no file
 *     tells
 * @param validationFrom the file; empty if there is none
 */
record ImageNetMeta(
    SortedMap<String, String> names,
    String namesFrom,
    Map<String, String> validation,
    String validationFrom) {

  static final String NAMES = "LOC_synset_mapping.txt";
  static final String SOLUTION = "LOC_val_solution.csv";
  static final String WNIDS = "imagenet_2012_validation_synset_labels.txt";
  static final String DEVKIT = "ILSVRC2012_devkit_t12";

  private static final int LOW_LEVEL_SYNSETS = 1000;
  private static final int MAX_DEVKIT_BYTES = 1 << 28;
  private static final List<String> KIT_FOLDERS = List.of(DEVKIT + "/data/", "devkit/data/");
  private static final List<String> TRUTHS =
      List.of(
          "ILSVRC2012_validation_ground_truth.txt",
          "ILSVRC2015_clsloc_validation_ground_truth.txt");
  private static final String META = "meta.mat";
  private static final String MAP = "map_clsloc.txt";

  private static final Pattern MAPPING = Pattern.compile("(n\\d{8})\\s+(?::\\s+)?(\\S.*)");
  private static final Pattern MAP_LINE = Pattern.compile("(n\\d{8})\\s+(\\d{1,6})\\s+(\\S.*)");
  private static final Pattern SOLUTION_LINE = Pattern.compile("(\\w+),\\s*(n\\d{8})\\b.*");
  private static final Pattern WNID_LINE = Pattern.compile("(n\\d{8})");

  /**
   * Reads the files in a folder, or in a folder {@code ILSVRC} inside it.
   *
   * @throws DataException if one of them cannot be understood
   */
  static ImageNetMeta read(SourceFolder folder) throws IOException {
    Map<String, String> places = new HashMap<>();
    for (String name : List.of(NAMES, SOLUTION, WNIDS)) {
      for (String place : List.of("", "ILSVRC/")) {
        if (folder.file(place + name).isPresent()) {
          places.putIfAbsent(name, place + name);
        }
      }
    }
    Kit kit = kit(folder);

    SortedMap<String, String> names = kit.names();
    String namesFrom = kit.place;
    if (places.containsKey(NAMES)) {
      namesFrom = places.get(NAMES);
      names = new TreeMap<>();
      for (Matcher line : parse(folder.lines(namesFrom), MAPPING, 0, namesFrom)) {
        names.put(line.group(1), line.group(2));
      }
    }

    if (places.containsKey(SOLUTION)) {
      String from = places.get(SOLUTION);
      Map<String, String> validation = new HashMap<>();
      for (Matcher line : parse(folder.lines(from), SOLUTION_LINE, 1, from)) {
        validation.put(line.group(1), line.group(2));
      }
      return new ImageNetMeta(names, namesFrom, validation, from);
    }
    if (places.containsKey(WNIDS)) {
      String from = places.get(WNIDS);
      List<String> wnids =
          parse(folder.lines(from), WNID_LINE, 0, from).stream()
              .map(line -> line.group(1))
              .toList();
      return new ImageNetMeta(names, namesFrom, byNumber(wnids), from);
    }
    Map<String, String> validation = kit.validation();
    return new ImageNetMeta(names, namesFrom, validation, validation.isEmpty() ? "" : kit.place);
  }

  private static Map<String, String> byNumber(List<String> wnids) {
    Map<String, String> byName = new HashMap<>();
    for (int i = 0; i < wnids.size(); i++) {
      byName.put(String.format("ILSVRC2012_val_%08d", i + 1), wnids.get(i));
    }
    return byName;
  }

  private static List<Matcher> parse(List<String> lines, Pattern pattern, int skip, String place) {
    return lines.stream().skip(skip).map(line -> match(line, pattern, place)).toList();
  }

  private static Matcher match(String line, Pattern pattern, String place) {
    Matcher matcher = pattern.matcher(line);
    if (!matcher.matches()) {
      throw new DataException(
          String.format("Cannot read %s: a line is \"%s\", expected %s", place, line, pattern));
    }
    return matcher;
  }

  // The development kit

  /**
   * The files of a kit, by their names without folders.
   *
   * @param place of the kit, for messages; empty if there is none
   */
  private record Kit(String place, Map<String, byte[]> files) {

    /** A class of the kit. */
    record Synset(String wnid, String name) {}

    SortedMap<String, String> names() {
      SortedMap<String, String> names = new TreeMap<>();
      synsets().values().forEach(synset -> names.put(synset.wnid, synset.name));
      return names;
    }

    /** By ILSVRC2012_ID. */
    private Map<Integer, Synset> synsets() {
      Map<Integer, Synset> byId = new HashMap<>();
      if (files.containsKey(META)) {
        for (Map<String, String> struct : metaStructs()) {
          String id = struct.getOrDefault("ILSVRC2012_ID", "");
          String wnid = struct.getOrDefault("WNID", "");
          if (!id.matches("\\d{1,6}") || !WNID_LINE.matcher(wnid).matches()) {
            throw new DataException(
                String.format(
                    "Cannot read %s: a synset has ILSVRC2012_ID \"%s\" and WNID \"%s\"",
                    META, id, wnid));
          }
          if (Integer.parseInt(id) <= LOW_LEVEL_SYNSETS) {
            byId.put(Integer.parseInt(id), new Synset(wnid, struct.getOrDefault("words", wnid)));
          }
        }
      } else if (files.containsKey(MAP)) {
        List<String> lines = SourceFolder.lines(files.get(MAP));
        for (Matcher line : parse(lines, MAP_LINE, 0, MAP)) {
          byId.put(
              Integer.parseInt(line.group(2)),
              new Synset(line.group(1), line.group(3).replace('_', ' ')));
        }
      }
      return byId;
    }

    private List<Map<String, String>> metaStructs() {
      try {
        return MatStructs.read(files.get(META), "synsets");
      } catch (DataException e) {
        throw new DataException("Cannot read " + META + ": " + e.getMessage(), e);
      }
    }

    Map<String, String> validation() {
      Map<Integer, Synset> synsets = synsets();
      for (String truth : TRUTHS) {
        if (files.containsKey(truth) && !synsets.isEmpty()) {
          return byNumber(
              SourceFolder.lines(files.get(truth)).stream()
                  .map(id -> wnid(id, synsets, truth))
                  .toList());
        }
      }
      return Map.of();
    }

    private static String wnid(String id, Map<Integer, Synset> synsets, String truth) {
      Synset synset = id.matches("\\d{1,6}") ? synsets.get(Integer.parseInt(id)) : null;
      if (synset == null) {
        throw new DataException(
            String.format("Cannot read %s: a line is \"%s\", which is no class's id", truth, id));
      }
      return synset.wnid;
    }
  }

  private static Kit kit(SourceFolder folder) throws IOException {
    for (String place : KIT_FOLDERS) {
      Map<String, byte[]> files = new HashMap<>();
      for (String name : kitFiles()) {
        if (folder.file(place + name).isPresent()) {
          files.put(name, folder.read(place + name));
        }
      }
      if (!files.isEmpty()) {
        return new Kit(place, files);
      }
    }
    String archive = DEVKIT + ".tar.gz";
    if (folder.file(archive).isEmpty()) {
      return new Kit("", Map.of());
    }
    return new Kit(archive, unpack(folder.read(archive), archive));
  }

  private static List<String> kitFiles() {
    return List.of(META, MAP, TRUTHS.get(0), TRUTHS.get(1));
  }

  private static Map<String, byte[]> unpack(byte[] gzip, String archive) throws IOException {
    byte[] tar = gunzip(gzip, archive);
    TarIndex index =
        TarIndex.read(
            (position, target) -> System.arraycopy(tar, (int) position, target, 0, target.length),
            0,
            tar.length);
    if (index.problem().isPresent()) {
      throw new DataException("Cannot read " + archive + ": it " + index.problem().get());
    }
    Map<String, byte[]> files = new HashMap<>();
    for (TarIndex.Member member : index.members()) {
      if (kitFiles().contains(member.baseName())) {
        int from = (int) member.offset();
        files.put(member.baseName(), Arrays.copyOfRange(tar, from, from + (int) member.length()));
      }
    }
    return files;
  }

  private static byte[] gunzip(byte[] gzip, String archive) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (GZIPInputStream in = new GZIPInputStream(new ByteArrayInputStream(gzip))) {
      byte[] buffer = new byte[1 << 16];
      for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
        bytes.write(buffer, 0, n);
        if (bytes.size() > MAX_DEVKIT_BYTES) {
          throw new DataException(
              String.format(
                  "Cannot read %s: it inflates to more than %d bytes", archive, MAX_DEVKIT_BYTES));
        }
      }
    } catch (EOFException | ZipException e) {
      throw new DataException("Cannot read " + archive + ": " + e.getMessage(), e);
    }
    return bytes.toByteArray();
  }
}
