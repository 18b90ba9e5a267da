package sparkvision.data;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.regex.Pattern;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FileStatus;

/**
 * ILSVRC2012, the thousand classes of ImageNet, as people have it on disk.
 *
 * <pre>
 * {train,val} in ROOT, ROOT/Data/CLS-LOC or ROOT/ILSVRC/Data/CLS-LOC:
 *   train/WNID/*.JPEG
 *   val/*.JPEG  or  val/WNID/*.JPEG
 * or the archives, which need not be unpacked:
 *   ROOT/ILSVRC2012_img_train.tar   a tar of WNID.tar, one for each class
 *   ROOT/ILSVRC2012_img_val.tar
 * </pre>
 *
 * <p>Of an archive only the headers are read when it is listed: 512 bytes a picture. An item then
 * is a range of the outer archive, so executors read pictures and nothing else. Where both a folder
 * and an archive are there, the folder counts.
 *
 * <p>A class's index is its place among the sorted wnids: of {@code LOC_synset_mapping.txt} or the
 * development kit if one is there, else of the training set, else of {@code val}'s folders, else of
 * the validation labels. Its name is the mapping's or the kit's, else the wnid; where two classes
 * have one name ("crane"), the wnid stands behind it. Labels of unsorted validation pictures come
 * from the first of {@code LOC_val_solution.csv}, {@code
 * imagenet_2012_validation_synset_labels.txt} and the development kit; {@code ImageNetMeta} tells
 * how.
 *
 * <p>A sample's id is {@code WNID/FILE} in the training set and the file's name in the validation
 * set, whatever the layout. Pictures of unknown classes or without a label are quarantined, and of
 * a damaged archive what cannot be reached.
 *
 * @param input ROOT
 * @param split {@code train} or {@code val}
 * @see <a href="https://www.image-net.org/challenges/LSVRC/2012/">Russakovsky et al., ImageNet
 *     Large Scale Visual Recognition Challenge, 2015; readme.txt of the development kit</a>
 */
public record ImageNet(String input, String split) implements Source {

  private static final String TRAIN = "train";
  private static final String VAL = "val";
  private static final List<String> PLACES = List.of("", "Data/CLS-LOC/", "ILSVRC/Data/CLS-LOC/");
  private static final Pattern WNID = Pattern.compile("n\\d{8}");
  private static final byte[] NO_ANNOTATION = {};

  /** Storage answers a small read late; waiting for many at once is what makes listing quick. */
  private static final int THREADS = 32;

  public ImageNet {
    Setting.requireSplit(split, TRAIN, VAL);
  }

  /** The classes by wnid, and the file or folder that they are from. */
  private record Classes(List<String> wnids, List<String> names, String from) {

    static Classes of(Collection<String> wnids, String from) {
      List<String> sorted = List.copyOf(new TreeSet<>(wnids));
      return new Classes(sorted, sorted, from);
    }

    static Classes of(SortedMap<String, String> nameByWnid, String from) {
      List<String> names = new ArrayList<>();
      nameByWnid.forEach(
          (wnid, name) -> {
            boolean twice = Collections.frequency(nameByWnid.values(), name) > 1;
            names.add(twice ? name + " (" + wnid + ")" : name);
          });
      return new Classes(List.copyOf(nameByWnid.keySet()), names, from);
    }
  }

  @Override
  public Listing list(Configuration hadoop) throws IOException {
    SourceFolder folder = SourceFolder.open(hadoop, input, "ImageNet");
    ImageNetMeta meta = ImageNetMeta.read(folder);
    Optional<String> pictures = pictures(folder, split);
    Optional<FileStatus> archive = folder.file(archive(split));
    if (pictures.isEmpty() && archive.isEmpty()) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot read ImageNet at %s: it holds neither %s, Data/CLS-LOC/%s,"
                  + " ILSVRC/Data/CLS-LOC/%s nor %s",
              folder.root(), split, split, split, archive(split)));
    }

    Classes classes = classes(folder, meta);
    Gathering found = new Gathering(classes, meta, new ListingBuilder());
    if (pictures.isPresent()) {
      gatherFolder(folder, pictures.get(), found);
    } else if (split.equals(TRAIN)) {
      gatherTrainArchive(folder, archive.get(), found);
    } else {
      gatherValArchive(folder, archive.get(), found);
    }
    return found.listing.build(Task.CLASSIFICATION, folder, classes.names);
  }

  @Override
  public Sample read(Configuration hadoop, String root, Item item) throws IOException {
    byte[] bytes = Storage.read(hadoop, root, item);
    try {
      return Sample.ofPicture(item, bytes);
    } catch (DataException e) {
      if (item.offset() == 0) {
        throw e;
      }
      throw new DataException(
          String.format("%s (at byte %d of %s)", e.getMessage(), item.offset(), item.path()), e);
    }
  }

  /** Where a split's folder is. */
  private static Optional<String> pictures(SourceFolder folder, String split) throws IOException {
    for (String place : PLACES) {
      if (folder.hasFolder(place + split)) {
        return Optional.of(place + split);
      }
    }
    return Optional.empty();
  }

  private static String archive(String split) {
    return "ILSVRC2012_img_" + split + ".tar";
  }

  // Classes

  private Classes classes(SourceFolder folder, ImageNetMeta meta) throws IOException {
    if (!meta.names().isEmpty()) {
      return Classes.of(meta.names(), meta.namesFrom());
    }
    for (String from : List.of(TRAIN, VAL)) {
      Optional<String> pictures = pictures(folder, from);
      if (pictures.isPresent()) {
        List<String> wnids =
            folder.list(pictures.get()).stream()
                .filter(FileStatus::isDirectory)
                .map(entry -> entry.getPath().getName())
                .filter(name -> WNID.matcher(name).matches())
                .toList();
        if (!wnids.isEmpty()) {
          return Classes.of(wnids, pictures.get());
        }
      }
      Optional<FileStatus> archive = folder.file(archive(from));
      if (from.equals(TRAIN) && pictures.isEmpty() && archive.isPresent()) {
        List<String> wnids =
            classArchives(index(folder, archive.get())).stream()
                .map(member -> SourceFolder.stem(member.baseName()))
                .filter(name -> WNID.matcher(name).matches())
                .toList();
        return Classes.of(wnids, archive(from));
      }
    }
    if (!meta.validation().isEmpty()) {
      return Classes.of(meta.validation().values(), meta.validationFrom());
    }
    throw new IllegalArgumentException(
        String.format(
            "Cannot read ImageNet at %s: it holds nothing that tells the classes; put %s, or the"
                + " development kit %s.tar.gz, into it",
            folder.root(), ImageNetMeta.NAMES, ImageNetMeta.DEVKIT));
  }

  // Pictures

  /** What is known and what is found so far. */
  private record Gathering(Classes classes, ImageNetMeta meta, ListingBuilder listing) {

    /** Takes a picture if its class is known. */
    void add(
        String id, String wnid, String shown, String path, long offset, long length, long time) {
      int label = Collections.binarySearch(classes.wnids, wnid);
      if (label < 0) {
        listing.quarantine(shown, String.format("unknown class %s: not in %s", wnid, classes.from));
        return;
      }
      listing.add(new Item(id, path, offset, length, time, label, NO_ANNOTATION));
    }

    /** Takes a validation picture if its label is known. */
    void addUnsorted(String name, String shown, String path, long offset, long length, long time) {
      String wnid = meta.validation().get(SourceFolder.stem(name));
      if (wnid == null) {
        listing.quarantine(shown, "no label: not in " + meta.validationFrom());
        return;
      }
      add(name, wnid, shown, path, offset, length, time);
    }
  }

  private void gatherFolder(SourceFolder folder, String place, Gathering found) throws IOException {
    for (FileStatus entry : folder.list(place)) {
      String name = entry.getPath().getName();
      String path = place + "/" + name;
      if (!entry.isDirectory()) {
        if (split.equals(VAL) && SourceFolder.isPicture(name)) {
          requireLabels(folder, found.meta);
          found.addUnsorted(name, path, path, 0, entry.getLen(), entry.getModificationTime());
        } else {
          found.listing.ignore();
        }
        continue;
      }
      for (FileStatus file : folder.list(path)) {
        String picture = file.getPath().getName();
        if (file.isDirectory() || !SourceFolder.isPicture(picture)) {
          found.listing.ignore();
          continue;
        }
        String id = split.equals(VAL) ? picture : name + "/" + picture;
        String full = path + "/" + picture;
        found.add(id, name, full, full, 0, file.getLen(), file.getModificationTime());
      }
    }
  }

  private static void gatherTrainArchive(SourceFolder folder, FileStatus archive, Gathering found)
      throws IOException {
    String path = archive.getPath().getName();
    TarIndex outer = index(folder, archive);
    outer.problem().ifPresent(problem -> found.listing.quarantine(path, problem));
    List<TarIndex.Member> tars = classArchives(outer);
    outer.members().stream()
        .filter(member -> !tars.contains(member))
        .forEach(member -> found.listing.ignore());
    List<TarIndex> inner = inParallel(tars, tar -> index(folder, path, tar.offset(), tar.length()));
    for (int i = 0; i < tars.size(); i++) {
      String tar = tars.get(i).baseName();
      String shown = path + "/" + tar;
      inner.get(i).problem().ifPresent(problem -> found.listing.quarantine(shown, problem));
      for (TarIndex.Member member : inner.get(i).members()) {
        if (!SourceFolder.isPicture(member.name())) {
          found.listing.ignore();
          continue;
        }
        String wnid = SourceFolder.stem(tar);
        found.add(
            wnid + "/" + member.baseName(),
            wnid,
            shown + "/" + member.baseName(),
            path,
            member.offset(),
            member.length(),
            archive.getModificationTime());
      }
    }
  }

  private static void gatherValArchive(SourceFolder folder, FileStatus archive, Gathering found)
      throws IOException {
    requireLabels(folder, found.meta);
    String path = archive.getPath().getName();
    TarIndex index = index(folder, archive);
    index.problem().ifPresent(problem -> found.listing.quarantine(path, problem));
    for (TarIndex.Member member : index.members()) {
      String name = member.baseName();
      if (!SourceFolder.isPicture(name)) {
        found.listing.ignore();
        continue;
      }
      found.addUnsorted(
          name,
          path + "/" + name,
          path,
          member.offset(),
          member.length(),
          archive.getModificationTime());
    }
  }

  private static void requireLabels(SourceFolder folder, ImageNetMeta meta) {
    if (meta.validation().isEmpty()) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot read ImageNet's validation set at %s: it has no labels; put %s, %s or %s.tar.gz"
                  + " into it",
              folder.root(), ImageNetMeta.SOLUTION, ImageNetMeta.WNIDS, ImageNetMeta.DEVKIT));
    }
  }

  // Archives

  /** The archives inside the training archive, with what is left of one that is cut. */
  private static List<TarIndex.Member> classArchives(TarIndex outer) {
    List<TarIndex.Member> tars = new ArrayList<>(outer.members());
    outer.cut().ifPresent(tars::add);
    tars.removeIf(member -> !member.name().endsWith(".tar"));
    return tars;
  }

  private static TarIndex index(SourceFolder folder, FileStatus archive) throws IOException {
    return index(folder, archive.getPath().getName(), 0, archive.getLen());
  }

  private static TarIndex index(SourceFolder folder, String path, long from, long length)
      throws IOException {
    try (FSDataInputStream in = folder.open(path)) {
      return TarIndex.read(in::readFully, from, from + length);
    } catch (IOException e) {
      throw new IOException("Cannot read " + folder.root() + "/" + path + ": " + e, e);
    }
  }

  private interface Indexing {
    TarIndex apply(TarIndex.Member member) throws IOException;
  }

  private static List<TarIndex> inParallel(List<TarIndex.Member> tars, Indexing indexing)
      throws IOException {
    ExecutorService pool = Executors.newFixedThreadPool(THREADS);
    try {
      List<Callable<TarIndex>> calls = new ArrayList<>();
      tars.forEach(tar -> calls.add(() -> indexing.apply(tar)));
      List<TarIndex> done = new ArrayList<>();
      for (Future<TarIndex> call : pool.invokeAll(calls)) {
        done.add(call.get());
      }
      return done;
    } catch (ExecutionException e) {
      if (e.getCause() instanceof IOException io) {
        throw io;
      }
      throw new IllegalStateException("Cannot list ImageNet's archives: " + e.getCause(), e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException("Cannot list ImageNet's archives: interrupted", e);
    } finally {
      pool.shutdownNow();
    }
  }
}
