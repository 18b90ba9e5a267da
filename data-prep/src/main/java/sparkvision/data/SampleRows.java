package sparkvision.data;

import java.util.ArrayList;
import java.util.List;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.example.data.simple.SimpleGroup;
import org.apache.parquet.io.api.Binary;
import org.apache.parquet.schema.LogicalTypeAnnotation;
import org.apache.parquet.schema.MessageType;
import org.apache.parquet.schema.PrimitiveType.PrimitiveTypeName;
import org.apache.parquet.schema.Type;
import org.apache.parquet.schema.Types;

/** Samples as Parquet rows; which columns there are is the task's, see the package description. */
final class SampleRows {

  private static final byte[] NONE = {};

  private SampleRows() {}

  static MessageType schema(Task task) {
    List<Type> columns = new ArrayList<>();
    columns.add(text("id"));
    columns.add(column(PrimitiveTypeName.INT32, "label"));
    columns.add(column(PrimitiveTypeName.INT32, "width"));
    columns.add(column(PrimitiveTypeName.INT32, "height"));
    if (task.isVolume()) {
      columns.add(column(PrimitiveTypeName.INT32, "depth"));
    }
    columns.add(column(PrimitiveTypeName.BINARY, "image"));
    if (task.hasMask()) {
      columns.add(column(PrimitiveTypeName.BINARY, "mask"));
    }
    if (task == Task.DETECTION) {
      columns.add(
          Types.requiredList()
              .requiredGroupElement()
              .addField(column(PrimitiveTypeName.INT32, "category"))
              .addField(column(PrimitiveTypeName.DOUBLE, "x"))
              .addField(column(PrimitiveTypeName.DOUBLE, "y"))
              .addField(column(PrimitiveTypeName.DOUBLE, "width"))
              .addField(column(PrimitiveTypeName.DOUBLE, "height"))
              .addField(column(PrimitiveTypeName.DOUBLE, "area"))
              .addField(column(PrimitiveTypeName.BOOLEAN, "crowd"))
              .addField(text("rle"))
              .named("objects"));
    }
    return new MessageType("sample", columns);
  }

  private static Type column(PrimitiveTypeName type, String name) {
    return Types.required(type).named(name);
  }

  private static Type text(String name) {
    return Types.required(PrimitiveTypeName.BINARY)
        .as(LogicalTypeAnnotation.stringType())
        .named(name);
  }

  static Group row(Task task, MessageType schema, Sample sample) {
    SimpleGroup row = new SimpleGroup(schema);
    row.add("id", sample.id());
    row.add("label", sample.label());
    row.add("width", sample.width());
    row.add("height", sample.height());
    if (task.isVolume()) {
      row.add("depth", sample.depth());
    }
    row.add("image", Binary.fromConstantByteArray(sample.image()));
    if (task.hasMask()) {
      row.add("mask", Binary.fromConstantByteArray(sample.mask()));
    }
    if (task == Task.DETECTION) {
      Group objects = row.addGroup("objects");
      for (DetectedObject object : sample.objects()) {
        objects
            .addGroup("list")
            .addGroup("element")
            .append("category", object.category())
            .append("x", object.x())
            .append("y", object.y())
            .append("width", object.width())
            .append("height", object.height())
            .append("area", object.area())
            .append("crowd", object.crowd())
            .append("rle", object.rle());
      }
    }
    return row;
  }

  static Sample sample(Task task, Group row) {
    return new Sample(
        row.getString("id", 0),
        row.getInteger("label", 0),
        task.isVolume() ? row.getInteger("depth", 0) : 1,
        row.getInteger("height", 0),
        row.getInteger("width", 0),
        row.getBinary("image", 0).getBytes(),
        task.hasMask() ? row.getBinary("mask", 0).getBytes() : NONE,
        task == Task.DETECTION ? objects(row.getGroup("objects", 0)) : List.of());
  }

  private static List<DetectedObject> objects(Group list) {
    List<DetectedObject> objects = new ArrayList<>();
    for (int i = 0; i < list.getFieldRepetitionCount("list"); i++) {
      Group object = list.getGroup("list", i).getGroup("element", 0);
      objects.add(
          new DetectedObject(
              object.getInteger("category", 0),
              object.getDouble("x", 0),
              object.getDouble("y", 0),
              object.getDouble("width", 0),
              object.getDouble("height", 0),
              object.getDouble("area", 0),
              object.getBoolean("crowd", 0),
              object.getString("rle", 0)));
    }
    return List.copyOf(objects);
  }
}
