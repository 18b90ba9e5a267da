package sparkvision.kernels;

import static org.bytedeco.dnnl.global.dnnl.*;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.dnnl.dnnl_exec_arg_t;
import org.bytedeco.dnnl.dnnl_memory;
import org.bytedeco.dnnl.dnnl_primitive;
import org.bytedeco.dnnl.dnnl_primitive_desc;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerPointer;

/** One oneDNN operation: described, then given its memory, then run any number of times. */
public final class Primitive {

  private final Dnnl context;
  private final dnnl_primitive_desc desc;
  private final Primitive original; // whose code this one runs too; itself mostly
  private final List<Integer> ids = new ArrayList<>();
  private final List<dnnl_memory> memories = new ArrayList<>();
  private final Address place = new Address(0);
  private dnnl_primitive primitive;
  private dnnl_exec_arg_t arguments;

  Primitive(Dnnl context, dnnl_primitive_desc desc) {
    this.context = context;
    this.desc = desc;
    this.original = this;
  }

  private Primitive(Primitive original) {
    this.context = original.context;
    this.desc = original.desc;
    this.original = original;
  }

  /** The same operation, for other memory. */
  public Primitive again() {
    return context.register(new Primitive(original));
  }

  dnnl_primitive_desc desc() {
    return desc;
  }

  /** The layout that the operation wants for an argument, a {@code dnnl_query_..._md}. */
  public Desc query(int what) {
    return new Desc(dnnl_primitive_desc_query_md(desc, what, 0));
  }

  /** The memory that it works in, to be bound as {@code DNNL_ARG_SCRATCHPAD}; may be empty. */
  public Desc scratch() {
    return query(dnnl_query_scratchpad_md);
  }

  /** Which of oneDNN's implementations it is, such as {@code brgconv:avx512_core}. */
  public String implementation() {
    try (PointerPointer<BytePointer> name = new PointerPointer<>(1)) {
      Dnnl.check(
          dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, name),
          "name an implementation");
      return name.get(BytePointer.class, 0).getString();
    }
  }

  /** Says where an argument ({@code DNNL_ARG_...}) lies; every one before the first run. */
  public void bind(int argument, Desc layout, long address) {
    ids.add(argument);
    memories.add(context.memory(layout, address));
  }

  /** Moves the argument bound as the {@code index}-th elsewhere. */
  public void move(int index, long address) {
    place.set(address);
    Dnnl.check(dnnl_memory_set_data_handle(memories.get(index), place), "move memory");
  }

  /** Generates the code. Uses as many threads as {@link Team} was entered with. */
  public void prepare() {
    if (original.primitive == null) {
      original.primitive = context.create(desc);
    }
    primitive = original.primitive;
    arguments = new dnnl_exec_arg_t(ids.size());
    for (int i = 0; i < ids.size(); i++) {
      arguments.getPointer(i).arg(ids.get(i)).memory(memories.get(i));
    }
  }

  /** Runs it, and returns when it is done. */
  public void run() {
    int status = dnnl_primitive_execute(primitive, context.stream(), ids.size(), arguments);
    Dnnl.check(status, "run a primitive");
  }

  void close() {
    if (arguments != null) {
      arguments.deallocate();
    }
    if (original == this) {
      if (primitive != null) {
        dnnl_primitive_destroy(primitive);
      }
      dnnl_primitive_desc_destroy(desc);
    }
  }

  /** An address that JavaCPP does not own. */
  static final class Address extends Pointer {
    Address(long address) {
      super((Pointer) null);
      this.address = address;
    }

    void set(long address) {
      this.address = address;
    }
  }
}
