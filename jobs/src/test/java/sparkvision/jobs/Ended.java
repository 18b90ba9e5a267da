package sparkvision.jobs;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * How a command line ended, run in this JVM.
 *
 * @param out lines of standard output
 * @param error text of standard error
 */
record Ended(int code, List<String> out, String error) {

  static Ended run(String... arguments) {
    return runWith("", arguments);
  }

  /** With something on standard input. */
  static Ended runWith(String input, String... arguments) {
    PrintStream console = System.out;
    PrintStream errors = System.err;
    InputStream keyboard = System.in;
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    ByteArrayOutputStream error = new ByteArrayOutputStream();
    System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
    System.setErr(new PrintStream(error, true, StandardCharsets.UTF_8));
    System.setIn(new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8)));
    try {
      int code = Sparkvision.run(arguments);
      return new Ended(
          code,
          out.toString(StandardCharsets.UTF_8).lines().toList(),
          error.toString(StandardCharsets.UTF_8));
    } finally {
      System.setOut(console);
      System.setErr(errors);
      System.setIn(keyboard);
    }
  }
}
