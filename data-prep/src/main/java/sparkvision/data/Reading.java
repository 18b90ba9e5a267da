package sparkvision.data;

import java.io.IOException;
import java.io.Serializable;
import org.apache.hadoop.conf.Configuration;

/**
 * What a task must know to read samples.
 *
 * @param root of the listing
 * @param classes their number
 */
record Reading(Source source, Task task, String root, int classes, StoredForm form)
    implements Serializable {

  /**
   * Reads a sample and sees to it that it is what its task promises.
   *
   * @throws DataException if it is bad; the message is the reason alone
   * @throws IOException if storage fails
   */
  Sample read(Configuration hadoop, Item item) throws IOException {
    Sample sample = source.read(hadoop, root, item);
    if (!sample.id().equals(item.id())) {
      throw new IllegalStateException(
          "Cannot read " + item.id() + ": the source gave " + sample.id());
    }
    if (sample.label() >= classes || sample.label() < (task.isClassification() ? 0 : -1)) {
      throw new DataException("label " + sample.label() + " is none of " + classes + " classes");
    }
    if (sample.width() < 1 || sample.height() < 1 || sample.depth() < 1) {
      throw new DataException(
          String.format(
              "empty: it is %d x %d x %d", sample.depth(), sample.height(), sample.width()));
    }
    if (task.hasMask() && sample.mask().length == 0) {
      throw new DataException("no mask");
    }
    for (DetectedObject object : sample.objects()) {
      if (object.category() < 0 || object.category() >= classes) {
        throw new DataException(
            "category " + object.category() + " is none of " + classes + " classes");
      }
    }
    return sample;
  }
}
