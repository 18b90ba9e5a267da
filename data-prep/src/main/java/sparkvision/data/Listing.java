package sparkvision.data;

import java.util.List;

/**
 * What a source holds, before any sample was read.
 *
 * @param task of the samples
 * @param root fully qualified; the items' paths are relative to it
 * @param classes names by label, or of pixels and objects
 * @param items sorted by id
 * @param quarantined what the listing itself had to leave out, with reasons
 * @param ignoredFiles files that are no samples
 */
public record Listing(
    Task task,
    String root,
    List<String> classes,
    List<Item> items,
    List<ShardManifest.Quarantined> quarantined,
    long ignoredFiles) {}
