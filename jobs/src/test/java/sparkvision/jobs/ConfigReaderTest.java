package sparkvision.jobs;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.typesafe.config.Config;
import com.typesafe.config.ConfigFactory;
import com.typesafe.config.ConfigObject;
import java.io.File;
import java.io.IOException;
import java.lang.reflect.RecordComponent;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import sparkvision.graph.Graph;
import sparkvision.graph.Variable;
import sparkvision.models.Model;
import sparkvision.models.Models;
import sparkvision.train.TrainConfig;

class ConfigReaderTest {

  private static final List<String> REQUIRED = List.of("input=in", "output=out");

  @TempDir private Path directory;

  @Test
  void settingsLieOverTheFileAndTheFileOverTheDefaults() throws Exception {
    File file = directory.resolve("run.conf").toFile();
    Files.writeString(
        file.toPath(), "input = in\noutput = out\nepochs = 7\noptimizer { momentum = 0.5 }");

    TrainConfig config =
        ConfigReader.read(
            TrainConfig.class, "train", file, List.of("epochs=9", "learning-rate.schedule=step"));

    assertThat(config.epochs()).isEqualTo(9);
    assertThat(config.optimizer().momentum()).isEqualTo(0.5);
    assertThat(config.learningRate().schedule().name()).isEqualTo("STEP");
    assertThat(config.seed()).as("the default of conf/train.conf").isEqualTo(1);
  }

  @Test
  void takesAPathWithTwoSlashesAsItIs() {
    TrainConfig config =
        read("input=hdfs://name:8020/shards", "output=s3a://bucket/run", "validation=null");

    assertThat(config.input()).isEqualTo("hdfs://name:8020/shards");
    assertThat(config.validation()).isEmpty();
  }

  @Test
  void takesTheReferenceEngineWithWhatItHas() {
    assertThat(read("input=in", "output=out", "engine=nd4j").engine()).isEqualTo("nd4j");
    assertThatThrownBy(() -> read("input=i", "output=o", "engine=nd4j", "precision=bfloat16"))
        .hasMessage("Invalid precision: bfloat16 (engine nd4j has only float32)");
  }

  @Test
  void aModelNameStandsForAModelWithItsOwnDefaults() {
    assertThat(read("input=in", "output=out", "model=densenet169").model().getString("name"))
        .isEqualTo("densenet169");
    Config overridden =
        read("input=i", "output=o", "model=densenet169", "model.dropout=0.2").model();
    assertThat(overridden.getString("name")).isEqualTo("densenet169");
    assertThat(overridden.getDouble("dropout")).isEqualTo(0.2);
    Config free = read("input=i", "output=o", "model={name=densenet, blocks=[2, 2]}").model();
    assertThat(free.getIntList("blocks")).containsExactly(2, 2);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "bath-size=3      | Invalid key: bath-size (train knows [input, output, ",
        "images.sise=3    | Invalid key: images.sise (train knows [images.size, ",
        "batch-size=few   | Invalid batch-size: few (must be a whole number)",
        "batch-size=0     | Invalid batch-size: 0 (must be at least 1)",
        "batch-size=[1]   | Invalid batch-size: [1] (must be a whole number)",
        "label-smoothing=1| Invalid label-smoothing: 1.0 (must be at least 0, below 1)",
        "exchange=pigeon  | Invalid exchange: pigeon (must be one of direct, driver)",
        "average-every=4  | Invalid key: average-every (it is sync.every now)",
        "sync.every=0     | Invalid sync.every: 0 (must be a number of steps, at least 1, or post-local or qsr)",
        "sync.nesterov=true     | Invalid sync.nesterov: true (must be false where sync.outer-momentum is 0)",
        "sync.average=gradients | Invalid sync.every: 8 (must be 1 with sync.average=gradients)",
        "sync.outer-momentum=1  | Invalid sync.outer-momentum: 1.0 (must be at least 0, below 1)",
        "optimizer=sgd    | Invalid optimizer: sgd (must be a group of keys)",
        "optimizer.nesterov=yes | Invalid optimizer.nesterov: yes (must be true or false)",
        "optimizer.momentum=0   | Invalid optimizer.nesterov: true (must be false where",
        "optimizer.name=adamax  | Invalid optimizer.name: adamax (must be one of sgd, adam, adamw, lamb",
        "optimizer.clip-norm=-1 | Invalid optimizer.clip-norm: -1.0 (must be at least 0)",
        "optimizer.ema-decay=1  | Invalid optimizer.ema-decay: 1.0 (must be at least 0, below 1)",
        "optimizer.trust-coefficient=0 | Invalid optimizer.trust-coefficient: 0.0 (must be above 0)",
        "accumulate-steps=0     | Invalid accumulate-steps: 0 (must be at least 1)",
        "learning-rate.base=0   | Invalid learning-rate.base: 0.0 (must be above 0)",
        "epochs           | Invalid argument: epochs (must be key=value)",
        "images=[         | Invalid images: [ (",
      })
  void aWrongSettingIsOneSentence(String setting, String sentence) {
    assertThatThrownBy(() -> read("input=in", "output=out", setting))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith(sentence);
  }

  @Test
  void aMissingKeyIsNamed() {
    assertThatThrownBy(() -> read("output=out"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot run train: key input is missing (give input=...)");
  }

  @Test
  void aMissingOrBrokenFileIsNamed() throws Exception {
    File missing = directory.resolve("missing.conf").toFile();
    assertThatThrownBy(() -> ConfigReader.read(TrainConfig.class, "train", missing, REQUIRED))
        .hasMessage("Cannot read conf file " + missing + ": there is no such file");

    File broken = directory.resolve("broken.conf").toFile();
    Files.writeString(broken.toPath(), "epochs = {");
    assertThatThrownBy(() -> ConfigReader.read(TrainConfig.class, "train", broken, REQUIRED))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("Cannot read conf file " + broken);
  }

  @Test
  void flattensARecordToItsKeys() {
    assertThat(ConfigReader.flatten(read("input=in", "output=out", "model=densenet121")))
        .containsEntry("input", "in")
        .containsEntry("model.name", "densenet121")
        .containsEntry("optimizer.name", "sgd")
        .containsEntry("learning-rate.schedule", "cosine")
        .doesNotContainKey("validation");
  }

  @ParameterizedTest
  @MethodSource("jobs")
  void aDefaultThatIsAGroupIsWrittenAsOne(ConfJob<?> job) {
    Config defaults = ConfigReader.defaults(job.conf());
    for (RecordComponent component : job.schema().getRecordComponents()) {
      if (component.getType() == Config.class && defaults.hasPath(component.getName())) {
        assertThat(defaults.getConfig(component.getName())).isNotNull();
      }
    }
  }

  @ParameterizedTest
  @MethodSource("jobs")
  void everyKeyIsDocumentedAndEveryDocumentedKeyExists(ConfJob<?> job) {
    List<ConfigReader.Key> keys = ConfigReader.keys(job.schema(), job.conf());
    assertThat(keys).isNotEmpty();
    assertThat(keys).allSatisfy(key -> assertThat(key.meaning()).as(key.path()).isNotBlank());

    Set<String> paths = new TreeSet<>();
    keys.forEach(key -> paths.add(key.path()));
    Set<String> inFile = new TreeSet<>();
    collect("", ConfigReader.defaults(job.conf()).root(), paths, inFile);
    assertThat(inFile).isEqualTo(paths);
    assertThat(job.keys()).contains(paths);
  }

  @ParameterizedTest
  @MethodSource("overlays")
  void everyOverlayFitsItsJob(Path overlay) {
    boolean shards = overlay.getFileName().toString().endsWith("-shards.conf");
    Class<? extends Record> schema = shards ? ShardDataset.Settings.class : TrainConfig.class;
    Record config =
        ConfigReader.read(schema, shards ? "shard" : "train", overlay.toFile(), REQUIRED);
    if (config instanceof TrainConfig train) {
      buildsItsNetwork(train, ConfigFactory.parseFile(overlay.toFile()));
    }
  }

  /** A recipe's network takes its inputs, and has the parameters that it singles out. */
  private static void buildsItsNetwork(TrainConfig train, Config overlay) {
    Config classes = ConfigFactory.parseString("classes = 5");
    Model model = Models.of(train.model().withFallback(classes));
    boolean volumes = model.inputShapes(1, train.images().size()).get(0).length == 5;
    int[] size =
        volumes
            ? train.volumes().patchSize().stream().mapToInt(side -> side).toArray()
            : overlay.hasPath("segmentation")
                ? new int[] {train.segmentation().cropHeight(), train.segmentation().cropWidth()}
                : new int[] {train.images().size()};
    Graph g = new Graph(Graph.Mode.TRAINING, 1);
    long[] shape = model.inputShapes(train.batchSize(), size).get(0);
    assertThat(model.apply(g, List.of(g.input("input", shape)))).isNotEmpty();
    List<String> names = g.variables().stream().map(Variable::name).toList();
    assertThat(train.optimizer().headRate() == 1 || names.stream().anyMatch(model::isHead))
        .as("a head")
        .isTrue();
    assertThat(train.optimizer().noDecay())
        .allSatisfy(part -> assertThat(names).anyMatch(name -> name.contains(part)));
  }

  static List<Path> overlays() throws IOException {
    try (Stream<Path> files = Files.list(Path.of("../conf/runs"))) {
      return files.sorted().toList();
    }
  }

  static List<ConfJob<?>> jobs() {
    return Stream.of(Sparkvision.confJobs(), Bench.jobs()).flatMap(List::stream).toList();
  }

  private static void collect(
      String prefix, ConfigObject group, Set<String> leaves, Set<String> found) {
    group.forEach(
        (name, value) -> {
          String path = prefix + name;
          if (!leaves.contains(path) && value instanceof ConfigObject nested) {
            collect(path + ".", nested, leaves, found);
          } else {
            found.add(path);
          }
        });
  }

  private static TrainConfig read(String... settings) {
    return ConfigReader.read(TrainConfig.class, "train", null, List.of(settings));
  }
}
