package sparkvision.jobs;

import static sparkvision.data.Setting.require;

import com.fasterxml.jackson.core.JsonEncoding;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.apache.commons.io.FileUtils;
import org.apache.hadoop.conf.Configuration;
import picocli.CommandLine.Command;
import sparkvision.data.coco.Box;
import sparkvision.data.coco.Rle;
import sparkvision.metrics.CocoEvaluation;
import sparkvision.metrics.CocoFiles;

/** Random objects and detections -> how long {@code evaluate-coco} takes. */
@Command(
    name = "coco",
    mixinStandardHelpOptions = true,
    description = "Times evaluate-coco on random objects and detections; prints a line of JSON.")
final class BenchCoco extends ConfJob<BenchCoco.Settings> {

  private static final int WIDTH = 640;
  private static final int HEIGHT = 480;
  private static final int CATEGORIES = 80;
  private static final int CORNERS = 20;

  /** Detections that are near an object; the others are anywhere. */
  private static final double NEAR = 0.2;

  /** {@code conf/bench-coco.conf}. */
  record Settings(int images, int objects, int detections, long seed) {

    Settings {
      require(images >= 1, "images", images, "must be at least 1");
      require(objects >= 1, "objects", objects, "must be at least 1");
      require(detections >= 0, "detections", detections, "must be at least 0");
    }
  }

  /** A blob: an ellipse with a random radius at every corner. */
  private record Shape(int category, double[] corners, Box box) {

    static Shape draw(Random random) {
      double scale = 8 * Math.exp(3 * random.nextDouble()); // 8 to 160 pixels
      return around(
          random,
          random.nextInt(CATEGORIES),
          random.nextDouble() * WIDTH,
          random.nextDouble() * HEIGHT,
          scale * (0.5 + random.nextDouble()),
          scale * (0.5 + random.nextDouble()));
    }

    /** The same again, moved and scaled a little. */
    Shape near(Random random) {
      double x = box.x() + box.width() * (0.5 + 0.1 * random.nextGaussian());
      double y = box.y() + box.height() * (0.5 + 0.1 * random.nextGaussian());
      double scale = 0.5 * (0.8 + 0.4 * random.nextDouble());
      return around(random, category, x, y, box.width() * scale, box.height() * scale);
    }

    private static Shape around(
        Random random, int category, double x, double y, double radiusX, double radiusY) {
      double[] corners = new double[2 * CORNERS];
      double left = WIDTH;
      double top = HEIGHT;
      double right = 0;
      double bottom = 0;
      for (int i = 0; i < CORNERS; i++) {
        double radius = 0.8 + 0.2 * random.nextDouble();
        double angle = 2 * Math.PI * i / CORNERS;
        double cornerX = hundredths(x + radius * radiusX * Math.cos(angle), WIDTH);
        double cornerY = hundredths(y + radius * radiusY * Math.sin(angle), HEIGHT);
        corners[2 * i] = cornerX;
        corners[2 * i + 1] = cornerY;
        left = Math.min(left, cornerX);
        right = Math.max(right, cornerX);
        top = Math.min(top, cornerY);
        bottom = Math.max(bottom, cornerY);
      }
      return new Shape(category, corners, new Box(left, top, right - left, bottom - top));
    }

    private static double hundredths(double coordinate, int side) {
      return Math.round(100 * Math.max(0, Math.min(side, coordinate))) / 100.0;
    }

    Rle mask() {
      return Rle.ofPolygon(corners, HEIGHT, WIDTH);
    }
  }

  @Override
  String name() {
    return "bench coco";
  }

  @Override
  Class<Settings> schema() {
    return Settings.class;
  }

  @Override
  void run(Settings settings) throws IOException {
    Path directory = Files.createTempDirectory("bench-coco");
    try {
      File truth = directory.resolve("truth.json").toFile();
      File boxes = directory.resolve("boxes.json").toFile();
      File masks = directory.resolve("masks.json").toFile();
      write(settings, truth, boxes, masks);
      ObjectNode line = JsonMapper.builder().build().createObjectNode();
      line.put("images", settings.images());
      line.put("objects", settings.objects());
      line.put("detections", (long) settings.images() * settings.detections());
      time(line, "bbox", truth, boxes, CocoEvaluation.Type.BBOX);
      time(line, "segm", truth, masks, CocoEvaluation.Type.SEGM);
      System.out.println(line);
    } finally {
      FileUtils.deleteDirectory(directory.toFile());
    }
  }

  private static void time(
      ObjectNode line, String name, File truth, File results, CocoEvaluation.Type type)
      throws IOException {
    long start = System.nanoTime();
    double ap =
        CocoFiles.evaluate(new Configuration(), truth.getPath(), results.getPath(), type)
            .evaluation()
            .summary()
            .ap();
    line.put(name + "_seconds", Math.round((System.nanoTime() - start) / 1e6) / 1e3);
    line.put(name + "_result_bytes", results.length());
    line.put(name + "_ap", ap);
  }

  private static void write(Settings settings, File truth, File boxes, File masks)
      throws IOException {
    Random random = new Random(settings.seed());
    List<List<Shape>> images = new ArrayList<>();
    for (int i = 0; i < settings.images(); i++) {
      images.add(new ArrayList<>());
    }
    for (int i = 0; i < settings.objects(); i++) {
      images.get(random.nextInt(images.size())).add(Shape.draw(random));
    }
    writeTruth(images, truth);
    JsonMapper mapper = JsonMapper.builder().build();
    try (JsonGenerator toBoxes = mapper.createGenerator(boxes, JsonEncoding.UTF8);
        JsonGenerator toMasks = mapper.createGenerator(masks, JsonEncoding.UTF8)) {
      toBoxes.writeStartArray();
      toMasks.writeStartArray();
      for (int image = 0; image < images.size(); image++) {
        List<Shape> objects = images.get(image);
        for (int i = 0; i < settings.detections(); i++) {
          boolean near = !objects.isEmpty() && random.nextDouble() < NEAR;
          Shape found =
              near ? objects.get(random.nextInt(objects.size())).near(random) : Shape.draw(random);
          double score = Math.round(1000 * random.nextDouble()) / 1000.0;
          writeResult(toBoxes, image, found, score);
          writeBox(toBoxes, found.box());
          toBoxes.writeEndObject();
          writeResult(toMasks, image, found, score);
          toMasks.writeObjectFieldStart("segmentation");
          toMasks.writeFieldName("size");
          toMasks.writeArray(new int[] {HEIGHT, WIDTH}, 0, 2);
          toMasks.writeStringField("counts", found.mask().toString());
          toMasks.writeEndObject();
          toMasks.writeEndObject();
        }
      }
      toBoxes.writeEndArray();
      toMasks.writeEndArray();
    }
  }

  private static void writeTruth(List<List<Shape>> images, File file) throws IOException {
    try (JsonGenerator out =
        JsonMapper.builder().build().createGenerator(file, JsonEncoding.UTF8)) {
      out.writeStartObject();
      out.writeArrayFieldStart("images");
      for (int image = 0; image < images.size(); image++) {
        out.writeStartObject();
        out.writeNumberField("id", image);
        out.writeNumberField("height", HEIGHT);
        out.writeNumberField("width", WIDTH);
        out.writeEndObject();
      }
      out.writeEndArray();
      out.writeArrayFieldStart("annotations");
      int id = 1;
      for (int image = 0; image < images.size(); image++) {
        for (Shape object : images.get(image)) {
          out.writeStartObject();
          out.writeNumberField("id", id++);
          out.writeNumberField("image_id", image);
          out.writeNumberField("category_id", object.category());
          out.writeNumberField("area", object.mask().area());
          out.writeNumberField("iscrowd", 0);
          writeBox(out, object.box());
          out.writeArrayFieldStart("segmentation");
          out.writeArray(object.corners(), 0, object.corners().length);
          out.writeEndArray();
          out.writeEndObject();
        }
      }
      out.writeEndArray();
      out.writeArrayFieldStart("categories");
      for (int category = 0; category < CATEGORIES; category++) {
        out.writeStartObject();
        out.writeNumberField("id", category);
        out.writeEndObject();
      }
      out.writeEndArray();
      out.writeEndObject();
    }
  }

  private static void writeResult(JsonGenerator out, int image, Shape found, double score)
      throws IOException {
    out.writeStartObject();
    out.writeNumberField("image_id", image);
    out.writeNumberField("category_id", found.category());
    out.writeNumberField("score", score);
  }

  private static void writeBox(JsonGenerator out, Box box) throws IOException {
    out.writeFieldName("bbox");
    out.writeArray(new double[] {box.x(), box.y(), box.width(), box.height()}, 0, 4);
  }
}
