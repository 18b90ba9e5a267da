package sparkvision.models;

import java.util.List;

/** A network that labels every pixel: an encoder under the key {@code backbone}, and a head. */
abstract class EncoderNet implements Model {

  /** What the names of the encoder's parameters begin with. */
  static final String BACKBONE = "backbone.";

  final TokenEncoder backbone;
  private final String name;

  EncoderNet(Keys keys) {
    this.name = keys.text("name", "a model's name");
    this.backbone = TokenEncoder.of(keys, "backbone");
  }

  @Override
  public final String name() {
    return name;
  }

  @Override
  public final boolean isHead(String parameter) {
    return !parameter.startsWith(BACKBONE);
  }

  @Override
  public final List<long[]> inputShapes(int batch, int... imageSize) {
    return backbone.inputShapes(batch, imageSize);
  }

  @Override
  public final List<PositionTable> positionTables() {
    return backbone.positionTables().stream().map(table -> table.below(BACKBONE)).toList();
  }
}
