package sparkvision.data.coco;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

final class BoxTest {

  private static final Box SQUARE = new Box(0, 0, 4, 4);

  @Test
  void overlapsInShares() {
    Box half = new Box(2, 0, 4, 4);
    assertThat(SQUARE.iou(half)).isEqualTo(8.0 / 24);
    assertThat(half.iou(SQUARE)).isEqualTo(8.0 / 24);
    assertThat(SQUARE.iou(SQUARE)).isEqualTo(1);
    Box crowd = new Box(1, 1, 100, 50);
    assertThat(SQUARE.shareInside(crowd)).isEqualTo(9.0 / 16);
    assertThat(crowd.shareInside(SQUARE)).isEqualTo(9.0 / 5000);
  }

  @Test
  void touchingIsNoOverlap() {
    assertThat(SQUARE.iou(new Box(4, 0, 4, 4))).isZero();
    assertThat(SQUARE.shareInside(new Box(0, 4, 4, 4))).isZero();
    assertThat(SQUARE.iou(new Box(9, 9, 1, 1))).isZero();
    assertThat(SQUARE.iou(new Box(1, 1, 0, 0))).isZero();
    assertThat(new Box(1, 1, 0, 0).shareInside(SQUARE)).isZero();
  }
}
