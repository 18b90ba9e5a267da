package sparkvision.data;

import java.io.IOException;
import java.io.Serializable;
import org.apache.hadoop.conf.Configuration;

/** One raw data set as it lies on disk: listed on the driver, read on the executors. */
public interface Source extends Serializable {

  /**
   * Finds the samples without reading them.
   *
   * @throws IllegalArgumentException if the root is missing or laid out otherwise
   * @throws DataException if what describes the data set as a whole cannot be read
   */
  Listing list(Configuration hadoop) throws IOException;

  /**
   * Reads one sample and checks it. A pure function of the files' bytes.
   *
   * @param root of the listing
   * @throws DataException if the sample is bad: it is quarantined with the message as its reason
   * @throws IOException if storage fails
   */
  Sample read(Configuration hadoop, String root, Item item) throws IOException;
}
