package sparkvision.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;

final class TaskBytesTest {

  @Test
  void carriesARecordAndRefusesAnother() {
    ShardManifest.Block block = new ShardManifest.Block(3, 4, 5, "0badcafe");
    byte[] bytes = TaskBytes.pack(block);
    assertThat(TaskBytes.unpack(bytes, ShardManifest.Block.class)).isEqualTo(block);
    assertThatThrownBy(() -> TaskBytes.unpack(bytes, ShardManifest.ShardFile.class))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageStartingWith("Cannot unpack a ShardFile: ");
    assertThatThrownBy(() -> TaskBytes.unpack(new byte[3], ShardManifest.Block.class))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageStartingWith("Cannot unpack a Block: ");
  }
}
