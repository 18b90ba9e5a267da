package sparkvision.data;

/**
 * One labelled picture of a shard set.
 *
 * @param id path of the input relative to the image folder; unique in the set
 * @param label index into {@link ShardManifest#classes()}
 * @param width pixels
 * @param height pixels
 * @param image the encoded bytes as they came (JPEG or PNG)
 */
public record Sample(String id, int label, int width, int height, byte[] image) {}
