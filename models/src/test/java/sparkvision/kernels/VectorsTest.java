package sparkvision.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.management.ManagementFactory;
import javax.management.ObjectName;
import org.junit.jupiter.api.Test;

class VectorsTest {

  @Test
  void tellsTheCompilerToCompileLoopsOnTheirOwn() throws Exception {
    assertThat(ScanLoops.best()).isInstanceOf(VectorScanLoops.class);
    assertThat(GridLoops.best()).isInstanceOf(VectorGridLoops.class);
    Object directives =
        ManagementFactory.getPlatformMBeanServer()
            .invoke(
                new ObjectName("com.sun.management:type=DiagnosticCommand"),
                "compilerDirectivesPrint",
                null,
                null);
    String newest = directives.toString().split("Directive:", 3)[1];
    assertThat(newest)
        .contains("*.*", "sparkvision/kernels/VectorScanLoops.scanBack")
        .contains("sparkvision/kernels/VectorGridLoops.combine");
  }
}
