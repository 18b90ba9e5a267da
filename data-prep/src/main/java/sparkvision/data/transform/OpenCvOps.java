package sparkvision.data.transform;

import java.util.function.BiConsumer;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.opencv.global.opencv_core;
import org.bytedeco.opencv.global.opencv_imgproc;
import org.bytedeco.opencv.opencv_core.Mat;
import org.bytedeco.opencv.opencv_core.Size;
import sparkvision.data.Images.Picture;

/** Operations on pixels as OpenCV does them, for pipelines that were made with it. Thread-safe. */
public final class OpenCvOps {

  static {
    Loader.load(opencv_imgproc.class);
    opencv_core.setNumThreads(0); // executors bring their own threads
  }

  private OpenCvOps() {}

  /** How a pixel of a resized picture is made; neither way looks further when shrinking. */
  public enum Interpolation {
    /** Pixel ⌊i·n/s⌋. */
    NEAREST(opencv_imgproc.INTER_NEAREST),
    /** Between the nearest 2 x 2 pixels: OpenCV's default, not antialiased. */
    BILINEAR(opencv_imgproc.INTER_LINEAR);

    private final int code;

    Interpolation(int code) {
      this.code = code;
    }
  }

  /** Resizes to so many pixels. */
  public static Picture resize(
      Picture picture, int width, int height, Interpolation interpolation) {
    if (picture.width() == width && picture.height() == height) {
      return picture;
    }
    try (Size size = new Size(width, height)) {
      return apply(
          picture,
          (source, target) ->
              opencv_imgproc.resize(source, target, size, 0, 0, interpolation.code));
    }
  }

  /** Red, green, blue to hue (0..179, two degrees each), saturation and value (0..255). */
  static Picture toHsv(Picture picture) {
    return apply(
        picture,
        (source, target) -> opencv_imgproc.cvtColor(source, target, opencv_imgproc.COLOR_RGB2HSV));
  }

  /** What {@link #toHsv} made, back to red, green, blue. */
  static Picture fromHsv(Picture picture) {
    return apply(
        picture,
        (source, target) -> opencv_imgproc.cvtColor(source, target, opencv_imgproc.COLOR_HSV2RGB));
  }

  private static Picture apply(Picture picture, BiConsumer<Mat, Mat> operation) {
    int type = picture.channels() == 1 ? opencv_core.CV_8UC1 : opencv_core.CV_8UC3;
    try (BytePointer data = new BytePointer(picture.pixels());
        Mat source = new Mat(picture.height(), picture.width(), type, data);
        Mat target = new Mat()) {
      operation.accept(source, target);
      byte[] pixels = new byte[Math.toIntExact(target.total() * target.channels())];
      target.data().get(pixels);
      return new Picture(target.cols(), target.rows(), target.channels(), pixels);
    }
  }
}
