package sparkvision;

import java.util.Arrays;

/** A job's end that is not success: an exit code, and one sentence that says what to change. */
public final class JobException extends RuntimeException {

  private static final long serialVersionUID = 1;

  /** The exit codes of every job; 0 is success. */
  public enum Exit {
    /** An unexpected error, or {@code verify-parity} found a failure. */
    FAILED(1),
    /** A wrong command line or configuration. */
    USAGE(2),
    /** Executor slots or storage are missing. */
    PREFLIGHT(3),
    /** The input data or a checkpoint is invalid. */
    DATA(4),
    /** The loss is not finite. */
    DIVERGED(5),
    /** Another driver trains in the same run directory. */
    LOCKED(7),
    /** The cluster failed; running the same command again is safe. */
    CLUSTER(8),
    /** Asked to stop by a signal, with a checkpoint saved. */
    STOPPED(143);

    private final int code;

    Exit(int code) {
      this.code = code;
    }

    public int code() {
      return code;
    }

    /** The constant with this code. */
    public static Exit of(int code) {
      return Arrays.stream(values()).filter(exit -> exit.code == code).findFirst().orElseThrow();
    }
  }

  private final Exit exit;

  public JobException(Exit exit, String message) {
    this(exit, message, null);
  }

  public JobException(Exit exit, String message, Throwable cause) {
    super(message, cause);
    this.exit = exit;
  }

  public Exit exit() {
    return exit;
  }
}
