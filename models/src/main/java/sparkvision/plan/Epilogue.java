package sparkvision.plan;

import static org.bytedeco.dnnl.global.dnnl.*;

import java.util.Arrays;
import sparkvision.graph.Node;
import sparkvision.graph.Tensor;
import sparkvision.kernels.Dnnl;

/**
 * What follows a convolution or a linear layer so directly that it is done before the result leaves
 * the registers: ReLU, and in inference batch norm before that.
 */
final class Epilogue {

  private final Node norm; // null without
  private final Node relu; // null without
  private final Tensor result;
  private Value[] coefficients; // scale and shift of the norm, (C) each
  private Value scale; // (1, C, 1, ...)
  private Value shift;

  private Epilogue(Node norm, Node relu, Tensor result) {
    this.norm = norm;
    this.relu = relu;
    this.result = result;
  }

  /** Takes over what can be done at once; those nodes are not lowered any more. */
  static Epilogue of(Node node, Lowering l) {
    Tensor end = node.output();
    Node norm = l.training ? null : l.soleConsumer(end, Node.Kind.BATCH_NORM);
    if (norm != null) {
      l.absorb(norm);
      end = norm.output();
    }
    Node relu = l.soleConsumer(end, Node.Kind.RELU);
    if (relu != null) {
      l.absorb(relu);
      end = relu.output();
    }
    return new Epilogue(norm, relu, end);
  }

  boolean isNone() {
    return norm == null && relu == null;
  }

  /** The tensor that comes out at the end. */
  Tensor result() {
    return result;
  }

  boolean hasRelu() {
    return relu != null;
  }

  /** Scale and shift of the norm, (C) each; null without one. */
  Value[] coefficients(Lowering l) {
    if (norm != null && coefficients == null) {
      coefficients = Norms.runningCoefficients(norm, l);
    }
    return coefficients;
  }

  Dnnl.PostOps post(Lowering l, int rank) {
    Dnnl.PostOps post = Dnnl.PostOps.none();
    if (norm != null) {
      coefficients(l);
      long[] shape = new long[rank];
      Arrays.fill(shape, 1);
      shape[1] = coefficients[0].elements();
      scale = coefficients[0].reshaped(shape);
      shift = coefficients[1].reshaped(shape);
      post.binary(dnnl_binary_mul, scale.desc(l.dnnl));
      post.binary(dnnl_binary_add, shift.desc(l.dnnl));
    }
    if (relu != null) {
      post.activation(dnnl_eltwise_relu, 0, 0);
    }
    return post;
  }

  void arguments(Program.Call call) {
    if (norm != null) {
      call.in(Dnnl.PostOps.argument(0), scale);
      call.in(Dnnl.PostOps.argument(1), shift);
    }
  }

  /** The gradient before the activation, from the one behind it and the result y. */
  Value backward(Lowering l, Value dy, Value y) {
    if (relu == null) {
      return dy;
    }
    return l.eltwiseBackward(
        dnnl_eltwise_relu_use_dst_for_bwd, 0, 0, y, DNNL_ARG_DST, dy, l.like(y));
  }
}
