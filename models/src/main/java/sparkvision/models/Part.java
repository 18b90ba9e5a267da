package sparkvision.models;

import com.typesafe.config.Config;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;
import java.util.function.ToIntFunction;
import sparkvision.graph.Graph;
import sparkvision.graph.Tensor;

/** A block or a head by itself, so that fixtures can be made of it. */
final class Part implements Model {

  /** Declares the weights and computes the outputs. */
  @FunctionalInterface
  interface Builder {
    List<Tensor> apply(Graph g, List<Tensor> inputs);
  }

  private final String name;
  private final int inputs;
  private final List<String> inputNames;
  private final Builder builder;

  private Part(String name, int inputs, List<String> inputNames, Builder builder) {
    this.name = name;
    this.inputs = inputs;
    this.inputNames = inputNames;
    this.builder = builder;
  }

  /**
   * How parts of one kind are made.
   *
   * @param inputs how many tensors it reads
   * @param reader reads the keys that {@code allowed} names beside the name
   */
  static Function<Config, Model> of(int inputs, Function<Keys, Builder> reader, String... allowed) {
    return of(keys -> inputs, reader, allowed);
  }

  /** How parts are made that read as many tensors as their keys say. */
  static Function<Config, Model> of(
      ToIntFunction<Keys> inputs, Function<Keys, Builder> reader, String... allowed) {
    return of(inputs, List.of(), reader, allowed);
  }

  /** A part without keys whose inputs have names. */
  static Function<Config, Model> named(List<String> inputNames, Builder builder) {
    return of(keys -> inputNames.size(), inputNames, keys -> builder);
  }

  private static Function<Config, Model> of(
      ToIntFunction<Keys> inputs,
      List<String> inputNames,
      Function<Keys, Builder> reader,
      String... allowed) {
    String[] all = Arrays.copyOf(allowed, allowed.length + 1);
    all[allowed.length] = "name";
    return config -> {
      Keys keys = Keys.of(config, all);
      String name = keys.text("name", "a model's name");
      return new Part(name, inputs.applyAsInt(keys), inputNames, reader.apply(keys));
    };
  }

  /**
   * x, a feature map.
   *
   * @throws IllegalArgumentException if it has not so many channels
   */
  static Tensor map(Tensor x, long channels) {
    if (x.rank() != 4 || x.size(1) != channels) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot build a head: it reads maps of %d channels, the input is %s", channels, x));
    }
    return x;
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public List<String> inputNames() {
    return inputNames;
  }

  /** Refuses: a part reads feature maps or tokens. */
  @Override
  public List<long[]> inputShapes(int batch, int... imageSize) {
    throw new IllegalArgumentException(
        String.format(
            "Invalid image-size: %s (%s is part of a network and reads no images)",
            Arrays.toString(imageSize), name));
  }

  @Override
  public List<Tensor> apply(Graph g, List<Tensor> given) {
    if (given.size() != inputs) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot build %s: it reads %d tensors, %d are given", name, inputs, given.size()));
    }
    return builder.apply(g, given);
  }
}
