package sparkvision.checkpoint;

import java.io.IOException;

/** A checkpoint that is not what its manifest says; the message is the reason. */
public final class DamagedCheckpointException extends IOException {

  private static final long serialVersionUID = 1;

  DamagedCheckpointException(String reason) {
    super(reason);
  }
}
