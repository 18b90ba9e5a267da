package sparkvision.graph;

/** A named piece of a model's state: what training learns, and what it merely tracks. */
public record Variable(Tensor tensor, Role role, Initializer initializer) {

  /** Who changes a variable. */
  public enum Role {
    /** The optimizer. */
    PARAMETER,
    /** Batch norm, while training: a running mean or variance. */
    STATISTIC,
    /** Batch norm, while training: an int64 scalar that counts batches. */
    COUNTER
  }

  /** The name in the original implementation's state dict. */
  public String name() {
    return tensor.name();
  }
}
