package sparkvision.data;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** Gathers what a source finds. */
public final class ListingBuilder {

  private final Set<String> ids = new HashSet<>();
  private final List<Item> items = new ArrayList<>();
  private final List<ShardManifest.Quarantined> quarantined = new ArrayList<>();
  private long ignored;

  /** Takes an item; the second of two with the same id is quarantined. */
  public void add(Item item) {
    if (!ids.add(item.id())) {
      quarantine(item.path(), "another sample has the same id: " + item.id());
      return;
    }
    items.add(item);
  }

  /**
   * Leaves something out.
   *
   * @param path relative to the root
   */
  public void quarantine(String path, String reason) {
    quarantined.add(new ShardManifest.Quarantined(path, reason));
  }

  /** Items so far. */
  public int size() {
    return items.size();
  }

  /** Counts a file that is no sample. */
  public void ignore() {
    ignored++;
  }

  public Listing build(Task task, SourceFolder folder, List<String> classes) {
    items.sort(Comparator.comparing(Item::id));
    return new Listing(task, folder.root(), classes, items, quarantined, ignored);
  }
}
