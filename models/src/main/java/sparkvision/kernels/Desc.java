package sparkvision.kernels;

import org.bytedeco.dnnl.dnnl_memory_desc;
import org.bytedeco.dnnl.global.dnnl;

/**
 * A layout as oneDNN describes it: sizes, element type and either strides or a blocking of its own.
 */
public final class Desc {

  final dnnl_memory_desc handle;

  Desc(dnnl_memory_desc handle) {
    this.handle = handle;
  }

  /** How much memory it takes, padding included. */
  public long bytes() {
    return handle == null ? 0 : dnnl.dnnl_memory_desc_get_size(handle);
  }

  /** Whether both lay out memory alike. */
  public boolean same(Desc other) {
    return dnnl.dnnl_memory_desc_equal(handle, other.handle) != 0;
  }
}
