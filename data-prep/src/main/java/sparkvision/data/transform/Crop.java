package sparkvision.data.transform;

import sparkvision.data.Images.Picture;

/** A part of a picture, in pixels; it may be mirrored when it is cut out. */
record Crop(int top, int left, int height, int width) {

  /** Cuts the part out of {@code picture}, mirrored left to right if {@code flip}. */
  Picture of(Picture picture, boolean flip) {
    int channels = picture.channels();
    byte[] pixels = new byte[height * width * channels];
    int at = 0;
    for (int y = 0; y < height; y++) {
      int row = ((top + y) * picture.width() + left) * channels;
      if (!flip) {
        System.arraycopy(picture.pixels(), row, pixels, at, width * channels);
        at += width * channels;
        continue;
      }
      for (int x = width - 1; x >= 0; x--) {
        for (int c = 0; c < channels; c++) {
          pixels[at++] = picture.pixels()[row + x * channels + c];
        }
      }
    }
    return new Picture(width, height, channels, pixels);
  }
}
