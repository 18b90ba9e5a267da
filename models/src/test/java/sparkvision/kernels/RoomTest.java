package sparkvision.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.TreeSet;
import org.junit.jupiter.api.Test;

class RoomTest {

  @Test
  void everyPlaceBeginsALineAndNoneThePageOfAnother() {
    Room room = new Room();
    TreeSet<Integer> inPage = new TreeSet<>();
    for (int count : new int[] {1024, 4096, 2048, 1024}) {
      int at = room.add(count);
      assertThat((16 + 4 * at) % 64).as("bytes into a line, behind a header of 16").isZero();
      inPage.add(at % 1024);
      assertThat(room.size()).isGreaterThanOrEqualTo(at + count);
    }
    assertThat(inPage).hasSize(4);
    assertThat(Room.allocate(room.size()).length).isGreaterThanOrEqualTo(room.size());
  }
}
