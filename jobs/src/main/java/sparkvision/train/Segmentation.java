package sparkvision.train;

import java.util.List;
import sparkvision.data.Images;
import sparkvision.data.Sample;
import sparkvision.data.transform.SegmentationTransform;
import sparkvision.data.transform.SegmentationTransform.Example;
import sparkvision.graph.Graph;
import sparkvision.graph.Tensor;
import sparkvision.metrics.LogitMap;
import sparkvision.metrics.SegmentationMetrics;
import sparkvision.report.Overlay;

/**
 * Pictures and a class for every pixel, or objects that are painted into such a map: a dense loss
 * on random crops; mIoU over whole pictures, or over windows of the crop's size.
 *
 * <p>A picture that is smaller than a window is padded with the mean colour, where mmsegmentation
 * would run the network on the small picture.
 */
record Segmentation(TrainConfig.Crops crops, DenseLoss loss, List<Double> mean, List<Double> std)
    implements Objective {

  private static final int CHANNELS = 3;

  @Override
  public int[] inputSize() {
    return new int[] {crops.cropHeight(), crops.cropWidth()};
  }

  @Override
  public long[] labelShape() {
    return new long[] {crops.cropHeight(), crops.cropWidth()};
  }

  @Override
  public SegmentationTransform transform(int channels) {
    TrainConfig.check(
        channels == CHANNELS, "model.in-channels", channels, CHANNELS + " for pictures with masks");
    return crops.transform(mean, std);
  }

  @Override
  public List<Tensor> logits(Graph graph, List<Tensor> outputs, String model) {
    return DenseLoss.logits(graph, outputs, labelShape(), model, "pixel");
  }

  @Override
  public Tensor loss(Graph graph, List<Tensor> logits, Tensor labels, double auxiliaryWeight) {
    return loss.of(graph, logits, labels, auxiliaryWeight);
  }

  @Override
  public int evaluationBatch(int batchSize) {
    return 1; // pictures have as many windows as they have
  }

  @Override
  public String score() {
    return "mIoU";
  }

  @Override
  public Measurement measure(Inference inference, int classes) {
    return new Pictures(this, inference, classes);
  }

  private Segmentation sized(int height, int width) {
    return new Segmentation(crops.sized(height, width), loss, mean, std);
  }

  private static final class Pictures implements Measurement {
    private final Segmentation objective;
    private final SegmentationTransform transform;
    private final int cropHeight;
    private final int cropWidth;
    private final Inference inference;
    private final SegmentationMetrics metrics;
    private List<Scores.OfPixels.Shown> worst = List.of();

    Pictures(Segmentation objective, Inference inference, int classes) {
      this.objective = objective;
      this.transform = objective.transform(inference.network().channels());
      this.cropHeight = objective.crops.cropHeight();
      this.cropWidth = objective.crops.cropWidth();
      this.inference = inference;
      this.metrics = new SegmentationMetrics(classes, Sample.IGNORE);
    }

    @Override
    public void add(Sample sample) {
      Example example = transform.evaluate(sample);
      LogitMap logits =
          switch (objective.crops.evaluation()) {
            case WHOLE -> whole(sample, example);
            case SLIDE ->
                objective
                    .crops
                    .windows()
                    .predict(this::window, example.image(), example.height(), example.width());
          };
      int[] predicted = logits.predicted(example.originalHeight(), example.originalWidth());
      metrics.add(sample.id(), example.labels(), predicted);
      show(sample, example, predicted);
    }

    private LogitMap whole(Sample sample, Example example) {
      int height = example.height();
      int width = example.width();
      try {
        float[] logits = inference.resized(objective.sized(height, width)).logits(example.image());
        return new LogitMap(logits.length / (height * width), height, width, logits);
      } catch (IllegalArgumentException e) {
        throw new IllegalArgumentException(
            String.format(
                "Cannot evaluate sample %s of %d x %d pixels: %s (set"
                    + " segmentation.evaluation=slide)",
                sample.id(), width, height, e.getMessage()),
            e);
      }
    }

    private LogitMap window(float[] window, int height, int width) {
      float[] padded = new float[inference.network().imageLength()];
      copy(window, height, width, padded, cropHeight, cropWidth);
      float[] logits = inference.logits(padded);
      int classes = logits.length / (cropHeight * cropWidth);
      float[] cut = new float[classes * height * width];
      copy(logits, cropHeight, cropWidth, cut, height, width);
      return new LogitMap(classes, height, width, cut);
    }

    /** The upper left corner that two stacks of planes have in common. */
    private static void copy(
        float[] from, int fromHeight, int fromWidth, float[] to, int toHeight, int toWidth) {
      int planes = from.length / (fromHeight * fromWidth);
      int height = Math.min(fromHeight, toHeight);
      int width = Math.min(fromWidth, toWidth);
      for (int row = 0; row < planes * height; row++) {
        int plane = row / height;
        int y = row % height;
        System.arraycopy(
            from,
            (plane * fromHeight + y) * fromWidth,
            to,
            (plane * toHeight + y) * toWidth,
            width);
      }
    }

    private void show(Sample sample, Example example, int[] predicted) {
      int labelled = 0;
      int right = 0;
      for (int i = 0; i < predicted.length; i++) {
        labelled += example.labels()[i] == Sample.IGNORE ? 0 : 1;
        right += example.labels()[i] == predicted[i] ? 1 : 0;
      }
      if (labelled == 0) {
        return;
      }
      Overlay.Example shown =
          new Overlay.Example(
              sample.id(), sample.image(), png(example, example.labels()), png(example, predicted));
      worst =
          Scores.OfPixels.lowest(
              worst, List.of(new Scores.OfPixels.Shown((double) right / labelled, shown)));
    }

    private static byte[] png(Example example, int[] labels) {
      byte[] pixels = new byte[labels.length];
      for (int i = 0; i < pixels.length; i++) {
        pixels[i] = (byte) labels[i];
      }
      return Images.encodePng(
          new Images.Picture(example.originalWidth(), example.originalHeight(), 1, pixels));
    }

    @Override
    public Scores scores() {
      return new Scores.OfPixels(metrics, worst);
    }
  }
}
