package sparkvision.graph;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.Map;
import java.util.function.BiFunction;
import java.util.function.Function;
import org.junit.jupiter.api.Test;

/** Shapes and refusals of the words; that they compute the right numbers is shown elsewhere. */
class WordsTest {

  private final Graph g = new Graph(Graph.Mode.TRAINING, 1);
  private final Tensor x = g.input("x", 2, 3, 4, 5);
  private final Tensor line = g.input("line", 2, 3, 9);
  private final Tensor labels = g.indices("labels", 7, 6);

  @Test
  void functionsOfOneTensorKeepItsShape() {
    List<BiFunction<Graph, Tensor, Tensor>> words =
        List.of(
            Graph::relu,
            Graph::gelu,
            Graph::silu,
            Graph::sigmoid,
            Graph::tanh,
            Graph::softplus,
            Graph::exp,
            Graph::log,
            Graph::sqrt,
            Graph::rsqrt,
            Graph::abs,
            Graph::square,
            Graph::negate,
            (g, x) -> g.leakyRelu(x, 0.1),
            (g, x) -> g.power(x, 2),
            (g, x) -> g.affine(x, 2, 3),
            (g, x) -> g.softmax(x, -1),
            (g, x) -> g.logSoftmax(x, 1),
            (g, x) -> g.flip(x, 0, 2),
            (g, x) -> g.dropout(x, 0.1),
            (g, x) -> g.dropPath(x, 0.1));
    for (var word : words) {
      assertThat(word.apply(g, x).shape()).containsExactly(2, 3, 4, 5);
    }
    assertThat(g.nodes()).hasSameSizeAs(words);
  }

  @Test
  void axesAreRecordedFromTheFront() {
    g.softmax(x, -1);
    g.mean(x, -1, 1);
    g.concat(-2, x, x);
    g.permute(x, -1, 0, 1, 2);
    g.flip(x, -1, -3);
    g.gather(x, labels, -2);
    List<Node> nodes = g.nodes();
    assertThat(nodes.get(0).integer("axis")).isEqualTo(3);
    assertThat(nodes.get(1).sizes("axes")).containsExactly(1, 3);
    assertThat(nodes.get(1).integer("keep")).isZero();
    assertThat(nodes.get(2).integer("axis")).isEqualTo(2);
    assertThat(nodes.get(3).sizes("axes")).containsExactly(3, 0, 1, 2);
    assertThat(nodes.get(4).sizes("axes")).containsExactly(1, 3);
    assertThat(nodes.get(5).integer("axis")).isEqualTo(2);
  }

  @Test
  void refusesAxesThatAreNotThere() {
    refuses(g -> g.softmax(x, 4), "Cannot softmax x[2, 3, 4, 5]: axis 4 must be in [-4, 4)");
    refuses(
        g -> g.logSoftmax(x, -5), "Cannot log softmax x[2, 3, 4, 5]: axis -5 must be in [-4, 4)");
    refuses(g -> g.sum(x, 4), "Cannot sum x[2, 3, 4, 5]: axis 4 must be in [-4, 4)");
    refuses(g -> g.max(x, 1, -3), "Cannot max x[2, 3, 4, 5]: axis 1 is named twice");
    refuses(g -> g.concat(4, x, x), "Cannot concat x[2, 3, 4, 5]: axis 4 must be in [-4, 4)");
    refuses(g -> g.slice(x, 5, 0, 1), "Cannot slice x[2, 3, 4, 5]: axis 5 must be in [-4, 4)");
    refuses(g -> g.pad(x, 5, 0, 1), "Cannot pad x[2, 3, 4, 5]: axis 5 must be in [-4, 4)");
    refuses(g -> g.flip(x, 5), "Cannot flip x[2, 3, 4, 5]: axis 5 must be in [-4, 4)");
    refuses(g -> g.flip(x), "Cannot flip x[2, 3, 4, 5]: no axis is named");
    refuses(g -> g.gather(x, labels, 4), "Cannot gather x[2, 3, 4, 5]: axis 4 must be in [-4, 4)");
  }

  @Test
  void arithmeticBroadcasts() {
    assertThat(g.add(x, g.input("c", 3, 1, 1)).shape()).containsExactly(2, 3, 4, 5);
    assertThat(g.subtract(g.input("r", 4), g.input("d", 3, 1)).shape()).containsExactly(3, 4);
    assertThat(g.multiply(g.input("s"), x).shape()).containsExactly(2, 3, 4, 5);
    assertThat(g.divide(g.input("a", 2, 1, 4, 1), g.input("b", 3, 1, 5)).shape())
        .containsExactly(2, 3, 4, 5);
    String tail = " x[2, 3, 4, 5] and e[3, 1]: shapes do not broadcast";
    Tensor e = g.input("e", 3, 1);
    refuses(g -> g.add(x, e), "Cannot add" + tail);
    refuses(g -> g.subtract(x, e), "Cannot subtract" + tail);
    refuses(g -> g.multiply(x, e), "Cannot multiply" + tail);
    refuses(g -> g.divide(x, e), "Cannot divide" + tail);
    refuses(
        g -> g.affine(x, Double.NaN, 0),
        "Cannot affine x[2, 3, 4, 5]: scale NaN and shift 0.0 must be finite");
  }

  @Test
  void reductionsDropOrKeepAxes() {
    assertThat(g.sum(x).shape()).isEmpty();
    assertThat(g.sumKeep(x).shape()).containsExactly(1, 1, 1, 1);
    assertThat(g.mean(x, 3, 1).shape()).containsExactly(2, 4);
    assertThat(g.meanKeep(x, 3, 1).shape()).containsExactly(2, 1, 4, 1);
    assertThat(g.max(x, 0, 1, 2, 3).shape()).isEmpty();
    assertThat(g.maxKeep(x, -4).shape()).containsExactly(1, 3, 4, 5);
    assertThat(g.globalAveragePool(x).shape()).containsExactly(2, 3);
    assertThat(g.globalMaxPool(x).shape()).containsExactly(2, 3);
    refuses(
        Graph::globalMaxPool,
        line,
        "Cannot apply global max pool: the input must have 2 or 3 spatial axes, is"
            + " line[2, 3, 9]");
  }

  @Test
  void poolsTakeSizesPerAxis() {
    Tensor y = g.maxPool(x, sizes(2, 3), sizes(1, 2), sizes(0, 1));
    assertThat(y.shape()).containsExactly(2, 3, 3, 3);
    assertThat(g.averagePool(x, sizes(3), sizes(1, 2), sizes(1)).shape())
        .containsExactly(2, 3, 4, 3);
    assertThat(g.averagePoolInside(x, sizes(3), sizes(1, 2), sizes(1)).shape())
        .containsExactly(2, 3, 4, 3);
    assertThat(g.nodes())
        .extracting(node -> node.attributes().get("count-padding"))
        .containsExactly(null, 1, 0);
    assertThat(g.adaptiveAveragePool(x, 7, 1).shape()).containsExactly(2, 3, 7, 1);
    assertThat(g.adaptiveMaxPool(x, 6).shape()).containsExactly(2, 3, 6, 6);
    refuses(
        g -> g.maxPool(x, 3, 2, 2),
        "Cannot apply max pool: padding [2, 2] must be at most half the kernel [3, 3]");
    refuses(
        g -> g.averagePoolInside(x, sizes(2, 2), sizes(1), sizes(1, 2)),
        "Cannot apply average pool: padding [1, 2] must be at most half the kernel [2, 2]");
    refuses(
        g -> g.maxPool(x, sizes(2, 2, 2), sizes(1), sizes(0)),
        "Cannot build max pool: kernel [2, 2, 2] must be one number, or 2 for its axes");
    refuses(
        g -> g.adaptiveMaxPool(x, 1, 0),
        "Cannot apply adaptive max pool to x[2, 3, 4, 5]: size [1, 0] must be >= 1");
    refuses(
        g -> g.adaptiveAveragePool(line, 2),
        "Cannot apply adaptive average pool: the input must have 2 or 3 spatial axes, is"
            + " line[2, 3, 9]");
  }

  @Test
  void resizesSpatialAxes() {
    assertThat(g.resize(x, Resize.CUBIC, 8, 3).shape()).containsExactly(2, 3, 8, 3);
    assertThat(g.resize(line, Resize.NEAREST, 4).shape()).containsExactly(2, 3, 4);
    assertThat(g.resize(x, Resize.LINEAR_ALIGNED, 4, 5)).isSameAs(x);
    Node cubic = g.nodes().get(0);
    assertThat(Resize.of(cubic)).isEqualTo(Resize.CUBIC);
    assertThat(cubic.text("mode")).isEqualTo("cubic");
    refuses(
        g -> g.resize(line, Resize.CUBIC, 4),
        "Cannot resize line[2, 3, 9]: the input must have 2 spatial axes to be cubic");
    refuses(
        g -> g.resize(g.input("matrix", 2, 3), Resize.LINEAR, 4),
        "Cannot resize matrix[2, 3]: the input must have 1 to 3 spatial axes");
    refuses(
        g -> g.resize(x, Resize.LINEAR, 4, 0),
        "Cannot apply resize to x[2, 3, 4, 5]: size [4, 0] must be >= 1");
    refuses(
        g -> g.resize(x, Resize.LINEAR, 4, 4, 4),
        "Cannot build resize: size [4, 4, 4] must be one number, or 2 for its axes");
  }

  @Test
  void productsContractTheInnerAxis() {
    Tensor a = g.input("a", 2, 3, 4, 5);
    assertThat(g.matmul(a, g.input("b", 2, 3, 5, 6)).shape()).containsExactly(2, 3, 4, 6);
    assertThat(g.matmulTransposeB(a, g.input("c", 2, 3, 6, 5)).shape()).containsExactly(2, 3, 4, 6);
    assertThat(g.matmulTransposeA(a, g.input("d", 2, 3, 4, 6)).shape()).containsExactly(2, 3, 5, 6);
    Node node = g.nodes().get(2);
    assertThat(node.integer("transpose-a")).isEqualTo(1);
    assertThat(node.integer("transpose-b")).isZero();
    refuses(
        g -> g.matmul(a, a), "Cannot matmul a[2, 3, 4, 5] and a[2, 3, 4, 5]: inner sizes differ");
    refuses(
        g -> g.matmulTransposeB(a, g.input("e", 2, 3, 5, 6)),
        "Cannot matmul a[2, 3, 4, 5] and e[2, 3, 5, 6] transposed: inner sizes differ");
    String unequal = ": ranks must be >= 2 and equal, and so must batch axes";
    refuses(
        g -> g.matmul(a, g.input("f", 5, 6)), "Cannot matmul a[2, 3, 4, 5] and f[5, 6]" + unequal);
    refuses(
        g -> g.matmul(a, g.input("h", 2, 1, 5, 6)),
        "Cannot matmul a[2, 3, 4, 5] and h[2, 1, 5, 6]" + unequal);
    Tensor vector = g.input("vector", 5);
    refuses(g -> g.matmul(vector, vector), "Cannot matmul vector[5] and vector[5]" + unequal);
  }

  @Test
  void attentionReadsValuesByKeys() {
    Tensor q = g.input("q", 2, 8, 10, 4);
    Tensor k = g.input("k", 2, 8, 7, 4);
    Tensor v = g.input("v", 2, 8, 7, 5);
    assertThat(g.attention(q, k, v, 0.5).shape()).containsExactly(2, 8, 10, 5);
    String shapes = ": they must be (..., N, d), (..., M, d) and (..., M, e)";
    refuses(
        g -> g.attention(q, v, v, 0.5),
        "Cannot attend with q[2, 8, 10, 4] to v[2, 8, 7, 5] and v[2, 8, 7, 5]" + shapes);
    refuses(
        g -> g.attention(q, k, q, 0.5),
        "Cannot attend with q[2, 8, 10, 4] to k[2, 8, 7, 4] and q[2, 8, 10, 4]" + shapes);
    refuses(
        g -> g.attention(g.input("q1", 1, 8, 10, 4), k, v, 0.5),
        "Cannot attend with q1[1, 8, 10, 4] to k[2, 8, 7, 4] and v[2, 8, 7, 5]" + shapes);
    refuses(
        g -> g.attention(q, k, v, Double.POSITIVE_INFINITY),
        "Cannot attend with q[2, 8, 10, 4]: scale Infinity must be finite");
  }

  @Test
  void crissCrossReadsMapsOfOneSize() {
    Tensor q = g.input("q", 2, 3, 5, 7);
    Tensor v = g.input("v", 2, 4, 5, 7);
    assertThat(g.crissCross(q, q, v).shape()).containsExactly(2, 4, 5, 7);
    String shapes = ": they must be (B, R, H, W), (B, R, H, W) and (B, C, H, W)";
    refuses(
        g -> g.crissCross(q, v, v),
        "Cannot criss-cross q[2, 3, 5, 7] with v[2, 4, 5, 7] and v[2, 4, 5, 7]" + shapes);
    refuses(
        g -> g.crissCross(q, q, g.input("u", 2, 4, 7, 5)),
        "Cannot criss-cross q[2, 3, 5, 7] with q[2, 3, 5, 7] and u[2, 4, 7, 5]" + shapes);
  }

  @Test
  void selectiveScanReadsSequencesOfOneSize() {
    Tensor u = g.input("u", 2, 6, 5);
    Tensor a = g.input("a", 6, 3);
    Tensor b = g.input("b", 2, 3, 5);
    Tensor d = g.input("d", 6);
    ScanInputs scan = new ScanInputs(u, u, a, b, b, d, d);
    assertThat(g.selectiveScan(scan, u, true).shape()).containsExactly(2, 6, 5);
    String shapes =
        ": they must be u and delta (B, E, L), a (E, N), b and c (B, N, L), d (E), z (B, E, L),"
            + " delta-bias (E)";
    refuses(
        g -> g.selectiveScan(new ScanInputs(u, u, a, b, u, d, d), u, false),
        "Cannot scan [u[2, 6, 5], u[2, 6, 5], a[6, 3], b[2, 3, 5], u[2, 6, 5], d[6], u[2, 6, 5],"
            + " d[6]]"
            + shapes);
    refuses(
        g -> g.selectiveScan(new ScanInputs(u, u, d, b, b, d, d), u, false),
        "Cannot scan [u[2, 6, 5], u[2, 6, 5], d[6], b[2, 3, 5], b[2, 3, 5], d[6], u[2, 6, 5],"
            + " d[6]]"
            + shapes);
  }

  @Test
  void concatAddsUpOneAxis() {
    assertThat(g.concat(x, g.input("c", 2, 1, 4, 5)).shape()).containsExactly(2, 4, 4, 5);
    assertThat(g.concat(-1, x, x, x).shape()).containsExactly(2, 3, 4, 15);
    assertThat(g.concat(0, g.input("a", 3), g.input("b", 2)).shape()).containsExactly(5);
    refuses(
        g -> g.concat(2, x, g.input("d", 2, 3, 4, 6)),
        "Cannot concat [x[2, 3, 4, 5], d[2, 3, 4, 6]]: sizes differ beside axis 2");
    refuses(g -> g.concat(0, g.input("s")), "Cannot concat [s[]]: ranks must be >= 1 and equal");
  }

  @Test
  void slicesTakeParts() {
    assertThat(g.slice(line, 2, 1, 9, 3).shape()).containsExactly(2, 3, 3);
    assertThat(g.slice(line, 2, 1, 8, 3).shape()).containsExactly(2, 3, 3);
    assertThat(g.slice(line, 2, 2, 8, 3).shape()).containsExactly(2, 3, 2);
    assertThat(g.narrow(line, -1, 4, 5).shape()).containsExactly(2, 3, 5);
    assertThat(g.select(line, 1, 2).shape()).containsExactly(2, 9);
    assertThat(g.split(line, 2, 2, 3, 4))
        .extracting(part -> part.size(2))
        .containsExactly(2L, 3L, 4L);
    Node last = g.nodes().get(g.nodes().size() - 1);
    assertThat(last.sizes("begin")).containsExactly(0, 0, 5);
    assertThat(last.sizes("end")).containsExactly(2, 3, 9);
    assertThat(last.sizes("step")).containsExactly(1, 1, 1);
    String rule = ": 0 <= begin < end <= size and step >= 1 must hold on every axis";
    refuses(
        g -> g.slice(line, 2, 1, 10),
        "Cannot slice line[2, 3, 9] from [0, 0, 1] to [2, 3, 10] by [1, 1, 1]" + rule);
    refuses(
        g -> g.slice(line, 2, -1, 9),
        "Cannot slice line[2, 3, 9] from [0, 0, -1] to [2, 3, 9] by [1, 1, 1]" + rule);
    refuses(
        g -> g.slice(line, 2, 3, 3),
        "Cannot slice line[2, 3, 9] from [0, 0, 3] to [2, 3, 3] by [1, 1, 1]" + rule);
    refuses(
        g -> g.slice(line, 2, 3, 5, 0),
        "Cannot slice line[2, 3, 9] from [0, 0, 3] to [2, 3, 5] by [1, 1, 0]" + rule);
    refuses(
        g -> g.slice(line, sizes(0), sizes(1), sizes(1)),
        "Cannot slice line[2, 3, 9] from [0] to [1] by [1]" + rule);
    assertThatThrownBy(() -> g.split(line, 2, 2, 3))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot split line[2, 3, 9]: sizes [2, 3] must be >= 1 and add up to axis 2");
    assertThatThrownBy(() -> g.split(line, 2, 10, -1))
        .hasMessage("Cannot split line[2, 3, 9]: sizes [10, -1] must be >= 1 and add up to axis 2");
  }

  @Test
  void padsAreBorders() {
    assertThat(g.pad(line, 2, 3, 1).shape()).containsExactly(2, 3, 13);
    assertThat(g.pad(line, sizes(1, 0, 0), sizes(0, 2, 0), 7).shape()).containsExactly(3, 5, 9);
    assertThat(g.nodes().get(1).number("value")).isEqualTo(7);
    refuses(
        g -> g.pad(line, 2, -1, 1),
        "Cannot pad line[2, 3, 9] with [0, 0, -1] before and [0, 0, 1] after: one number >= 0 per"
            + " axis is needed");
    refuses(
        g -> g.pad(line, sizes(1), sizes(1), 0),
        "Cannot pad line[2, 3, 9] with [1] before and [1] after: one number >= 0 per axis is"
            + " needed");
  }

  @Test
  void permutesAndReshapes() {
    assertThat(g.permute(x, 0, 2, 3, 1).shape()).containsExactly(2, 4, 5, 3);
    assertThat(g.transpose(x, 0, -1).shape()).containsExactly(5, 3, 4, 2);
    assertThat(g.reshape(x, 6, -1, 2).shape()).containsExactly(6, 10, 2);
    assertThat(g.reshape(g.input("one", 1, 1)).shape()).isEmpty();
    assertThat(g.permute(x, 0, 1, -2, -1)).isSameAs(x);
    assertThat(g.transpose(x, 1, -3)).isSameAs(x);
    assertThat(g.reshape(x, 2, 3, -1, 5)).isSameAs(x);
    assertThat(g.nodes()).hasSize(4);
    String once = ": every axis must be named once";
    refuses(g -> g.permute(x, 0, 1, 2), "Cannot permute x[2, 3, 4, 5] by [0, 1, 2]" + once);
    refuses(g -> g.permute(x, 0, 1, 2, -2), "Cannot permute x[2, 3, 4, 5] by [0, 1, 2, 2]" + once);
    refuses(
        g -> g.reshape(x, 7, 17),
        "Cannot reshape x[2, 3, 4, 5] to [7, 17]: its 120 elements do not fill it");
    refuses(
        g -> g.reshape(x, 7, -1),
        "Cannot reshape x[2, 3, 4, 5] to [7, -1]: its 120 elements do not fill it");
    refuses(
        g -> g.reshape(x, Long.MAX_VALUE, Long.MAX_VALUE, -1),
        "Cannot reshape x[2, 3, 4, 5] to [9223372036854775807, 9223372036854775807, -1]: its 120"
            + " elements do not fill it");
    refuses(
        g -> g.reshape(x, -1, -1, 2),
        "Cannot reshape x[2, 3, 4, 5] to [-1, -1, 2]: sizes must be >= 1, one may be -1");
    refuses(
        g -> g.reshape(x, 0, -1),
        "Cannot reshape x[2, 3, 4, 5] to [0, -1]: sizes must be >= 1, one may be -1");
  }

  @Test
  void gathersInTheShapeOfTheIndices() {
    assertThat(g.gather(line, labels, 1).shape()).containsExactly(2, 7, 6, 9);
    assertThat(g.gather(line, labels, 0).shape()).containsExactly(7, 6, 3, 9);
    assertThat(g.gather(line, labels, -1).shape()).containsExactly(2, 3, 7, 6);
    assertThat(g.gather(line, g.indices("one"), 1).shape()).containsExactly(2, 9);
    assertThat(g.embedding(g.parameter("table", Initializer.constant(0), 10, 4), labels).shape())
        .containsExactly(7, 6, 4);
    refuses(
        g -> g.gather(line, x, 1),
        "Cannot gather line[2, 3, 9]: the indices x[2, 3, 4, 5] must be int64");
    refuses(
        g -> g.gather(labels, labels, 1), "Cannot gather labels[7, 6]: it is int64, must be float");
  }

  @Test
  void oneHotPutsTheClassesOnAxisOne() {
    assertThat(g.oneHot(labels, 5, 255).shape()).containsExactly(7, 5, 6);
    assertThat(g.oneHot(g.indices("one", 4), 3, Losses.IGNORE_NOTHING).shape())
        .containsExactly(4, 3);
    refuses(
        g -> g.oneHot(line, 5, 255),
        "Cannot one hot line[2, 3, 9]: it must be int64 (B, ...), of at least one class");
    refuses(
        g -> g.oneHot(labels, 0, 255),
        "Cannot one hot labels[7, 6]: it must be int64 (B, ...), of at least one class");
  }

  @Test
  void dropoutsShareTheirFates() {
    g.dropout(line, 0.1);
    g.dropoutChannels(line, 0.1);
    g.dropPath(line, 0.1);
    assertThat(g.nodes())
        .extracting(node -> node.sizes("mask"))
        .containsExactly(sizes(2, 3, 9), sizes(2, 3, 1), sizes(2, 1, 1));
    refuses(
        g -> g.dropPath(g.input("vector", 5), 0.1),
        "Cannot drop paths of vector[5]: it must be (B, ...)");
  }

  @Test
  void refusesResultsThatNoArrayHolds() {
    Tensor q = g.input("q", 1 << 16, 4);
    refuses(
        g -> g.matmulTransposeB(q, q),
        "Cannot matmul q[65536, 4]: the result [65536, 65536] holds more than 2147483639 numbers");
  }

  @Test
  void layersNameWhatDoesNotFit() {
    Tensor tokens = g.input("tokens", 2, 7, 6);
    assertThat(g.layerNorm("a", 6, 1e-6).apply(tokens).shape()).containsExactly(2, 7, 6);
    assertThat(g.rmsNorm("b", 6, 1e-6).apply(tokens).shape()).containsExactly(2, 7, 6);
    assertThat(g.groupNorm("c", 3, 6, 1e-6).apply(g.transpose(tokens, 1, 2)).shape())
        .containsExactly(2, 6, 7);
    assertThat(g.linear("d", 6, 5).withoutBias().apply(tokens).shape()).containsExactly(2, 7, 5);
    assertThat(g.variables())
        .extracting(Variable::name)
        .containsExactly("a.weight", "a.bias", "b.weight", "c.weight", "c.bias", "d.weight");
    assertThat(g.nodes().get(3).integer("groups")).isEqualTo(3);
    refuses(
        g -> g.layerNorm("e", 7, 1e-6).apply(tokens),
        "Cannot apply e: it has 7 channels on the last axis, the input is tokens[2, 7, 6]");
    refuses(
        g -> g.groupNorm("f", 2, 6, 1e-6).apply(tokens),
        "Cannot apply f: it has 6 channels on the second axis, the input is tokens[2, 7, 6]");
    refuses(
        g -> g.groupNorm("h", 4, 6, 1e-6).apply(tokens),
        "Cannot build h: 4 groups must divide its 6 channels");
    refuses(
        g -> g.rmsNorm("i", 6, -1).apply(tokens), "Cannot build i: epsilon is -1.0, must be >= 0");
    refuses(
        g -> g.linear("j", 5, 4).apply(tokens),
        "Cannot apply j: its weight is j.weight[4, 5], the input tokens[2, 7, 6]");
    refuses(
        g -> g.linear("k", 5, 4).apply(g.input("vector", 5)),
        "Cannot apply k: its weight is k.weight[4, 5], the input vector[5]");
    refuses(
        g -> g.batchNorm("l", 7).withMomentum(1.5).apply(tokens),
        "Cannot build l: momentum is 1.5, must be in [0, 1]");
    refuses(
        g -> g.batchNorm("m", 7).withEpsilon(Double.NaN).apply(tokens),
        "Cannot build m: epsilon is NaN, must be >= 0");
  }

  @Test
  void batchNormsTakeTheirConstants() {
    g.batchNorm("a", 3).apply(line);
    g.batchNorm("b", 3).withMomentum(0.01).withEpsilon(1e-3).apply(line);
    assertThat(g.nodes())
        .extracting(Node::attributes)
        .containsExactly(
            Map.of("epsilon", 1e-5, "momentum", 0.1), Map.of("epsilon", 1e-3, "momentum", 0.01));
  }

  @Test
  void batchNormsTakeFirstWeightsAndNeedNotCount() {
    g.batchNorm("a", 3).startingFrom(Initializer.constant(0)).withoutCounter().apply(line);
    assertThat(g.variables())
        .extracting(v -> v.name() + v.initializer().values(1, v.name(), 1)[0])
        .containsExactly("a.weight0.0", "a.bias0.0", "a.running_mean0.0", "a.running_var1.0");
    assertThat(g.nodes().get(0).inputs()).hasSize(5);
  }

  @Test
  void aLayerThatWasAppliedCannotBeChanged() {
    Linear linear = g.linear("l", 9, 2);
    linear.apply(line);
    assertThatThrownBy(linear::withoutBias)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot change l.bias[2]: its layer was applied or changed before");
    Linear biased = g.linear("m", 9, 2);
    biased.withoutBias();
    assertThatThrownBy(() -> biased.apply(line))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot linear m.bias[2]: its layer was changed after it was taken");
  }

  private void refuses(Function<Graph, Tensor> word, String message) {
    assertThatThrownBy(() -> word.apply(g))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(message);
  }

  private void refuses(BiFunction<Graph, Tensor, Tensor> word, Tensor x, String message) {
    refuses(g -> word.apply(g, x), message);
  }

  private static long[] sizes(long... sizes) {
    return sizes;
  }
}
