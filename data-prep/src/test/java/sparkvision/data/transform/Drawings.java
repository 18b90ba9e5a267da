package sparkvision.data.transform;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.util.List;
import sparkvision.data.DetectedObject;
import sparkvision.data.Images;
import sparkvision.data.Images.Picture;
import sparkvision.data.Sample;
import sparkvision.data.SplitMix;

/** Pictures and masks that tests draw themselves. */
final class Drawings {

  static final List<Double> ZERO = List.of(0.0);
  static final List<Double> ONE = List.of(1.0);

  private Drawings() {}

  /** Pixels drawn from 0..below-1, no two neighbours alike but by chance. */
  static Picture noise(int width, int height, int channels, int below, long seed) {
    byte[] pixels = new byte[width * height * channels];
    SplitMix random = new SplitMix(seed);
    for (int i = 0; i < pixels.length; i++) {
      pixels[i] = (byte) random.below(below);
    }
    return new Picture(width, height, channels, pixels);
  }

  static Sample segmentation(String id, Picture picture, Picture mask) {
    return new Sample(
        id,
        -1,
        1,
        picture.height(),
        picture.width(),
        Images.encodePng(picture),
        Images.encodePng(mask),
        List.of());
  }

  static Sample detection(String id, Picture picture, List<DetectedObject> objects) {
    return new Sample(
        id,
        -1,
        1,
        picture.height(),
        picture.width(),
        Images.encodePng(picture),
        new byte[0],
        objects);
  }

  static <T> T sent(T value, Class<T> type) throws IOException, ClassNotFoundException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
      out.writeObject(value);
    }
    try (var in = new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray()))) {
      return type.cast(in.readObject());
    }
  }
}
