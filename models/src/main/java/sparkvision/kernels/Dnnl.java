package sparkvision.kernels;

import static org.bytedeco.dnnl.global.dnnl.*;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.dnnl.dnnl_engine;
import org.bytedeco.dnnl.dnnl_memory;
import org.bytedeco.dnnl.dnnl_memory_desc;
import org.bytedeco.dnnl.dnnl_post_ops;
import org.bytedeco.dnnl.dnnl_primitive;
import org.bytedeco.dnnl.dnnl_primitive_attr;
import org.bytedeco.dnnl.dnnl_primitive_desc;
import org.bytedeco.dnnl.dnnl_stream;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerPointer;

/**
 * oneDNN on the CPU, and all that one plan creates in it; closing frees that.
 *
 * <p>The methods describe operations; the sizes, layouts and the meaning of numbers are oneDNN's.
 *
 * @see <a href="https://uxlfoundation.github.io/oneDNN/">oneDNN's developer guide</a>
 */
public final class Dnnl implements AutoCloseable {

  private final dnnl_engine engine;
  private final dnnl_stream stream;
  private final List<dnnl_memory_desc> descs = new ArrayList<>();
  private final List<dnnl_memory> memories = new ArrayList<>();
  private final List<Primitive> primitives = new ArrayList<>();

  public Dnnl() {
    try (PointerPointer<Pointer> out = new PointerPointer<>(1)) {
      check(dnnl_engine_create(out, dnnl_cpu, 0), "create an engine");
      engine = new dnnl_engine(out.get(0));
      check(dnnl_stream_create(out, engine, dnnl_stream_default_flags), "create a stream");
      stream = new dnnl_stream(out.get(0));
    }
  }

  /** Whether this CPU multiplies bfloat16 matrices in hardware or in oneDNN's emulation. */
  public static boolean supportsBfloat16() {
    int isa = dnnl_get_effective_cpu_isa();
    return (isa & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core;
  }

  static void check(int status, String what) {
    if (status == dnnl_unimplemented) {
      throw new UnsupportedOperationException("oneDNN cannot " + what + ": no implementation");
    }
    if (status != dnnl_success) {
      throw new IllegalStateException("oneDNN cannot " + what + ": status " + status);
    }
  }

  // Layouts.

  /** Elements {@code strides} apart. */
  public Desc strided(Type type, long[] dims, long[] strides) {
    return desc(
        out -> dnnl_memory_desc_create_with_strides(out, dims.length, dims, number(type), strides));
  }

  /** A layout for oneDNN to choose. */
  public Desc any(Type type, long[] dims) {
    return desc(
        out ->
            dnnl_memory_desc_create_with_tag(
                out, dims.length, dims, number(type), dnnl_format_tag_any));
  }

  private Desc desc(Creation creation) {
    dnnl_memory_desc handle = new dnnl_memory_desc(create(creation, "describe memory"));
    descs.add(handle);
    return new Desc(handle);
  }

  private static int number(Type type) {
    return type == Type.FLOAT32 ? dnnl_f32 : dnnl_bf16;
  }

  // Convolution. A dilation of 0 is oneDNN's for none.

  /** Sizes of a window along each spatial axis. */
  public record Window(long[] stride, long[] dilation, long[] before, long[] after) {}

  public Primitive convolution(
      boolean training, Desc x, Desc weight, Desc bias, Desc y, Window w, PostOps post) {
    int kind = training ? dnnl_forward_training : dnnl_forward_inference;
    return primitive(
        (out, attributes) ->
            dnnl_convolution_forward_primitive_desc_create(
                out,
                engine,
                kind,
                dnnl_convolution_direct,
                x.handle,
                weight.handle,
                handle(bias),
                y.handle,
                w.stride,
                w.dilation,
                w.before,
                w.after,
                attributes),
        post,
        "describe a convolution");
  }

  public Primitive convolutionBackwardData(
      Desc dx, Desc weight, Desc dy, Window w, Primitive forward) {
    return primitive(
        (out, attributes) ->
            dnnl_convolution_backward_data_primitive_desc_create(
                out,
                engine,
                dnnl_convolution_direct,
                dx.handle,
                weight.handle,
                dy.handle,
                w.stride,
                w.dilation,
                w.before,
                w.after,
                forward.desc(),
                attributes),
        PostOps.none(),
        "describe a convolution's data gradient");
  }

  public Primitive convolutionBackwardWeights(
      Desc x, Desc dWeight, Desc dBias, Desc dy, Window w, Primitive forward) {
    return primitive(
        (out, attributes) ->
            dnnl_convolution_backward_weights_primitive_desc_create(
                out,
                engine,
                dnnl_convolution_direct,
                x.handle,
                dWeight.handle,
                handle(dBias),
                dy.handle,
                w.stride,
                w.dilation,
                w.before,
                w.after,
                forward.desc(),
                attributes),
        PostOps.none(),
        "describe a convolution's weight gradient");
  }

  public Primitive deconvolution(
      boolean training, Desc x, Desc weight, Desc bias, Desc y, Window w) {
    int kind = training ? dnnl_forward_training : dnnl_forward_inference;
    return primitive(
        (out, attributes) ->
            dnnl_deconvolution_forward_primitive_desc_create(
                out,
                engine,
                kind,
                dnnl_deconvolution_direct,
                x.handle,
                weight.handle,
                handle(bias),
                y.handle,
                w.stride,
                w.dilation,
                w.before,
                w.after,
                attributes),
        PostOps.none(),
        "describe a transposed convolution");
  }

  public Primitive deconvolutionBackwardData(
      Desc dx, Desc weight, Desc dy, Window w, Primitive forward) {
    return primitive(
        (out, attributes) ->
            dnnl_deconvolution_backward_data_primitive_desc_create(
                out,
                engine,
                dnnl_deconvolution_direct,
                dx.handle,
                weight.handle,
                dy.handle,
                w.stride,
                w.dilation,
                w.before,
                w.after,
                forward.desc(),
                attributes),
        PostOps.none(),
        "describe a transposed convolution's data gradient");
  }

  public Primitive deconvolutionBackwardWeights(
      Desc x, Desc dWeight, Desc dBias, Desc dy, Window w, Primitive forward) {
    return primitive(
        (out, attributes) ->
            dnnl_deconvolution_backward_weights_primitive_desc_create(
                out,
                engine,
                dnnl_deconvolution_direct,
                x.handle,
                dWeight.handle,
                handle(dBias),
                dy.handle,
                w.stride,
                w.dilation,
                w.before,
                w.after,
                forward.desc(),
                attributes),
        PostOps.none(),
        "describe a transposed convolution's weight gradient");
  }

  // Pools.

  public Primitive pool(boolean training, int algorithm, Desc x, Desc y, long[] kernel, Window w) {
    int kind = training ? dnnl_forward_training : dnnl_forward_inference;
    return primitive(
        (out, attributes) ->
            dnnl_pooling_forward_primitive_desc_create(
                out,
                engine,
                kind,
                algorithm,
                x.handle,
                y.handle,
                w.stride,
                kernel,
                w.dilation,
                w.before,
                w.after,
                attributes),
        PostOps.none(),
        "describe a pool");
  }

  public Primitive poolBackward(
      int algorithm, Desc dx, Desc dy, long[] kernel, Window w, Primitive forward) {
    return primitive(
        (out, attributes) ->
            dnnl_pooling_backward_primitive_desc_create(
                out,
                engine,
                algorithm,
                dx.handle,
                dy.handle,
                w.stride,
                kernel,
                w.dilation,
                w.before,
                w.after,
                forward.desc(),
                attributes),
        PostOps.none(),
        "describe a pool's gradient");
  }

  // Matrices, element by element, along axes.

  /** y = a·b [+ bias], batch axes first; {@code post} may add to what y holds. */
  public Primitive matmul(Desc a, Desc b, Desc bias, Desc y, PostOps post) {
    return primitive(
        (out, attributes) ->
            dnnl_matmul_primitive_desc_create(
                out, engine, a.handle, b.handle, handle(bias), y.handle, attributes),
        post,
        "describe a matrix product");
  }

  /** dW (O, I) = dyᵀ·x and dBias (O) = the sums of dy's columns, x (R, I), dy (R, O). */
  public Primitive linearBackwardWeights(Desc x, Desc dWeight, Desc dBias, Desc dy) {
    Primitive hint =
        primitive(
            (out, attributes) ->
                dnnl_inner_product_forward_primitive_desc_create(
                    out,
                    engine,
                    dnnl_forward_training,
                    x.handle,
                    dWeight.handle,
                    dBias.handle,
                    dy.handle,
                    attributes),
            PostOps.none(),
            "describe a linear layer");
    return primitive(
        (out, attributes) ->
            dnnl_inner_product_backward_weights_primitive_desc_create(
                out,
                engine,
                x.handle,
                dWeight.handle,
                dBias.handle,
                dy.handle,
                hint.desc(),
                attributes),
        PostOps.none(),
        "describe a linear layer's weight gradient");
  }

  public Primitive eltwise(int algorithm, float alpha, float beta, Desc x, Desc y) {
    return primitive(
        (out, attributes) ->
            dnnl_eltwise_forward_primitive_desc_create(
                out,
                engine,
                dnnl_forward_training,
                algorithm,
                x.handle,
                y.handle,
                alpha,
                beta,
                attributes),
        PostOps.none(),
        "describe an activation");
  }

  public Primitive eltwiseBackward(
      int algorithm, float alpha, float beta, Desc data, Desc dy, Desc dx) {
    Primitive hint = eltwise(algorithm, alpha, beta, data, data);
    return primitive(
        (out, attributes) ->
            dnnl_eltwise_backward_primitive_desc_create(
                out,
                engine,
                algorithm,
                dx.handle,
                dy.handle,
                data.handle,
                alpha,
                beta,
                hint.desc(),
                attributes),
        PostOps.none(),
        "describe an activation's gradient");
  }

  /** y = a ∘ b; sizes of 1 are repeated. */
  public Primitive binary(int algorithm, Desc a, Desc b, Desc y) {
    return primitive(
        (out, attributes) ->
            dnnl_binary_primitive_desc_create(
                out, engine, algorithm, a.handle, b.handle, y.handle, attributes),
        PostOps.none(),
        "describe an operation of two tensors");
  }

  /** Reduces x over the axes whose size is 1 in y. */
  public Primitive reduction(int algorithm, Desc x, Desc y) {
    return primitive(
        (out, attributes) ->
            dnnl_reduction_primitive_desc_create(
                out, engine, algorithm, x.handle, y.handle, 0, 0, attributes),
        PostOps.none(),
        "describe a reduction");
  }

  public Primitive softmax(int algorithm, Desc x, Desc y, int axis) {
    return primitive(
        (out, attributes) ->
            dnnl_softmax_forward_primitive_desc_create(
                out,
                engine,
                dnnl_forward_training,
                algorithm,
                x.handle,
                y.handle,
                axis,
                attributes),
        PostOps.none(),
        "describe a softmax");
  }

  public Primitive softmaxBackward(int algorithm, Desc dx, Desc dy, Desc y, int axis) {
    Primitive hint = softmax(algorithm, y, y, axis);
    return primitive(
        (out, attributes) ->
            dnnl_softmax_backward_primitive_desc_create(
                out,
                engine,
                algorithm,
                dx.handle,
                dy.handle,
                y.handle,
                axis,
                hint.desc(),
                attributes),
        PostOps.none(),
        "describe a softmax's gradient");
  }

  /** What a norm of the last axis reads and writes; the statistics are of one number per row. */
  public record Norm(Desc x, Desc y, Desc statistics, float epsilon) {}

  /**
   * Normalises the last axis with scale and shift; mean and variance are outputs. If not {@code
   * centred}, it is the root-mean-square norm: no mean and no shift.
   */
  public Primitive layerNorm(Norm norm, boolean centred) {
    return primitive(
        (out, attributes) ->
            dnnl_layer_normalization_forward_primitive_desc_create(
                out,
                engine,
                dnnl_forward_training,
                norm.x.handle,
                norm.y.handle,
                norm.statistics.handle,
                norm.epsilon,
                flags(centred),
                attributes),
        PostOps.none(),
        "describe a layer norm");
  }

  public Primitive layerNormBackward(Desc dx, Desc dy, Norm norm, Primitive forward) {
    return primitive(
        (out, attributes) ->
            dnnl_layer_normalization_backward_primitive_desc_create(
                out,
                engine,
                dnnl_backward,
                dx.handle,
                dy.handle,
                norm.x.handle,
                norm.statistics.handle,
                norm.epsilon,
                flags(true),
                forward.desc(),
                attributes),
        PostOps.none(),
        "describe a layer norm's gradient");
  }

  private static int flags(boolean centred) {
    return centred ? dnnl_use_scale | dnnl_use_shift : dnnl_use_scale | dnnl_rms_norm;
  }

  /** Copies between layouts and element types. */
  public Primitive reorder(Desc x, Desc y) {
    return primitive(
        (out, attributes) ->
            dnnl_reorder_primitive_desc_create(out, x.handle, engine, y.handle, engine, attributes),
        PostOps.none(),
        "describe a copy");
  }

  // What follows an operation in the same pass.

  /** Operations on a result before it is written, in order. */
  public static final class PostOps {

    private interface Op {
      int append(dnnl_post_ops ops);
    }

    private final List<Op> ops = new ArrayList<>();

    public static PostOps none() {
      return new PostOps();
    }

    /** y becomes the result plus what y held. */
    public PostOps accumulate() {
      ops.add(post -> dnnl_post_ops_append_sum(post, 1, 0, dnnl_data_type_undef));
      return this;
    }

    public PostOps activation(int algorithm, float alpha, float beta) {
      ops.add(post -> dnnl_post_ops_append_eltwise(post, algorithm, alpha, beta));
      return this;
    }

    /** y ∘ b, repeated where b has size 1; b is the argument {@link #argument} of this place. */
    public PostOps binary(int algorithm, Desc b) {
      ops.add(post -> dnnl_post_ops_append_binary(post, algorithm, b.handle));
      return this;
    }

    /** The argument under which the second operand of the binary operation at a place is bound. */
    public static int argument(int place) {
      return DNNL_ARG_ATTR_MULTIPLE_POST_OP_BASE * (place + 1) | DNNL_ARG_SRC_1;
    }
  }

  private interface Creation {
    int create(PointerPointer<Pointer> out);
  }

  private interface Description {
    int create(PointerPointer<Pointer> out, dnnl_primitive_attr attributes);
  }

  private static Pointer create(Creation creation, String what) {
    try (PointerPointer<Pointer> out = new PointerPointer<>(1)) {
      check(creation.create(out), what);
      return out.get(0);
    }
  }

  private Primitive primitive(Description description, PostOps post, String what) {
    dnnl_primitive_attr attributes =
        new dnnl_primitive_attr(create(out -> dnnl_primitive_attr_create(out), what));
    try {
      // Scratch memory is planned like any other: left to itself, each primitive would keep its
      // own.
      check(dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user), what);
      if (!post.ops.isEmpty()) {
        dnnl_post_ops ops = new dnnl_post_ops(create(out -> dnnl_post_ops_create(out), what));
        for (PostOps.Op op : post.ops) {
          check(op.append(ops), what);
        }
        check(dnnl_primitive_attr_set_post_ops(attributes, ops), what);
        check(dnnl_post_ops_destroy(ops), what);
      }
      return register(
          new Primitive(
              this,
              new dnnl_primitive_desc(create(out -> description.create(out, attributes), what))));
    } finally {
      dnnl_primitive_attr_destroy(attributes);
    }
  }

  Primitive register(Primitive primitive) {
    primitives.add(primitive);
    return primitive;
  }

  private static dnnl_memory_desc handle(Desc desc) {
    return desc == null ? null : desc.handle;
  }

  dnnl_stream stream() {
    return stream;
  }

  dnnl_primitive create(dnnl_primitive_desc desc) {
    return new dnnl_primitive(
        create(out -> dnnl_primitive_create(out, desc), "create a primitive"));
  }

  dnnl_memory memory(Desc layout, long address) {
    try (Pointer place = new Primitive.Address(address)) {
      dnnl_memory memory =
          new dnnl_memory(
              create(
                  out -> dnnl_memory_create(out, layout.handle, engine, place), "create memory"));
      memories.add(memory);
      return memory;
    }
  }

  @Override
  public void close() {
    primitives.forEach(Primitive::close);
    memories.forEach(memory -> dnnl_memory_destroy(memory));
    descs.forEach(desc -> dnnl_memory_desc_destroy(desc));
    primitives.clear();
    memories.clear();
    descs.clear();
    dnnl_stream_destroy(stream);
    dnnl_engine_destroy(engine);
  }
}
