package sparkvision.train;

import java.util.List;
import java.util.stream.IntStream;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.rdd.RDD;
import scala.collection.Iterator;
import scala.reflect.ClassTag;
import scala.reflect.ClassTag$;
import scala.runtime.AbstractFunction1;
import sparkvision.data.TaskBytes;

/** A job whose tasks run all at once, each in a slot of its own; Spark's Java API has none. */
final class BarrierJob {

  private BarrierJob() {}

  /** The packed results of {@code tasks} tasks in their order; the partition's number is theirs. */
  static <R> List<R> run(
      JavaSparkContext spark,
      AbstractFunction1<Iterator<Integer>, Iterator<byte[]>> task,
      int tasks,
      Class<R> result) {
    ClassTag<byte[]> bytes = ClassTag$.MODULE$.apply(byte[].class);
    List<Integer> numbers = IntStream.range(0, tasks).boxed().toList();
    RDD<byte[]> packed =
        spark.parallelize(numbers, tasks).rdd().barrier().mapPartitions(task, false, bytes);
    return JavaRDD.fromRDD(packed, bytes).collect().stream()
        .map(answer -> TaskBytes.unpack(answer, result))
        .toList();
  }
}
