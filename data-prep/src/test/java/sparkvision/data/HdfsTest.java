package sparkvision.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Set;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.hdfs.MiniDFSCluster;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class HdfsTest {

  @TempDir Path dir;

  @Test
  void shardsFromHdfsToHdfsAndReadsBack() throws IOException {
    Configuration hadoop = new Configuration();
    hadoop.set(MiniDFSCluster.HDFS_MINIDFS_BASEDIR, dir.resolve("hdfs").toString());
    try (MiniDFSCluster cluster = new MiniDFSCluster.Builder(hadoop).numDataNodes(1).build()) {
      String root = cluster.getURI().toString();
      FileSystem hdfs = cluster.getFileSystem();
      Path local = Pictures.folder(dir.resolve("in"), 5);
      hdfs.copyFromLocalFile(
          new org.apache.hadoop.fs.Path(local.toUri()),
          new org.apache.hadoop.fs.Path(root + "/raw"));

      Sharding.Options options = Shards.options(root + "/shards");
      assertThat(Shards.run(root + "/raw", options).alreadyDone()).isFalse();
      assertThat(Shards.run(root + "/raw", options).alreadyDone()).isTrue();

      ShardSet shards = ShardSet.open(hadoop, root + "/shards");
      shards.verify();
      Set<String> ids = new HashSet<>();
      for (int block = 0; block < shards.blocks(); block++) {
        shards.read(block).forEach(sample -> ids.add(sample.id()));
      }
      assertThat(ids).hasSize(15);

      // The same pictures from the local disk are the same pictures; the shards are the same bytes.
      ShardManifest fromDisk = Shards.of(local, dir.resolve("out")).manifest();
      assertThat(fromDisk.fingerprint()).isEqualTo(shards.manifest().fingerprint());
      assertThat(fromDisk.files()).isEqualTo(shards.manifest().files());
      assertThat(Shards.run(local, options).alreadyDone()).isTrue();

      try (FSDataOutputStream out = hdfs.create(new org.apache.hadoop.fs.Path("/other/file"))) {
        out.write(1);
      }
      assertThatThrownBy(() -> Shards.run(local, Shards.options(root + "/other")))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("it holds something else (file)");
    }
  }
}
