package sparkvision.kernels;

import java.io.IOException;
import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import java.lang.management.ManagementFactory;
import java.lang.reflect.Method;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import javax.management.JMException;
import javax.management.ObjectName;

/**
 * Finds the form of a family of loops that suits this JVM.
 *
 * <p>The just-in-time compiler keeps vectors in registers only as long as it may inline every step
 * of the vector API, and it inlines 8,000 bytes of code into a method. Loops that are themselves
 * inlined into their callers exceed that, by chance of what was compiled first; then each vector
 * becomes an object and the loop ten times as slow. So each loop is told to be compiled on its own:
 * the family's methods, and those that are {@link Alone}.
 */
final class Vectors {

  /** A loop that another one calls. */
  @Retention(RetentionPolicy.RUNTIME)
  @Target(ElementType.METHOD)
  @interface Alone {}

  private static final Set<String> ALONE = new TreeSet<>();

  private Vectors() {}

  /** The loops that use the vector API if this JVM was started with it, else the plain ones. */
  static <L> L best(Class<L> family, Supplier<L> plain) {
    if (ModuleLayer.boot().findModule("jdk.incubator.vector").isEmpty()) {
      return plain.get();
    }
    try { // by name: the class cannot even be loaded where the module is missing
      Class<? extends L> loops =
          Class.forName(family.getPackageName() + ".Vector" + family.getSimpleName())
              .asSubclass(family);
      compileAlone(family, loops);
      return loops.getDeclaredConstructor().newInstance();
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException("Cannot load the vector loops: " + e, e);
    }
  }

  private static synchronized void compileAlone(Class<?> family, Class<?> loops) {
    Stream<Method> others =
        Arrays.stream(loops.getDeclaredMethods())
            .filter(method -> method.isAnnotationPresent(Alone.class));
    Stream.concat(Arrays.stream(family.getMethods()), others)
        .map(method -> method.getName())
        .forEach(name -> ALONE.add(loops.getName().replace('.', '/') + "." + name));
    String patterns = ALONE.stream().map(p -> "\"-" + p + "\"").collect(Collectors.joining(", "));
    try {
      Path directives = Files.createTempFile("directives", ".json");
      try {
        Files.writeString(directives, "[{match: \"*.*\", c2: {inline: [" + patterns + "]}}]");
        ManagementFactory.getPlatformMBeanServer()
            .invoke(
                new ObjectName("com.sun.management:type=DiagnosticCommand"),
                "compilerDirectivesAdd",
                new Object[] {new String[] {directives.toString()}},
                new String[] {String[].class.getName()});
      } finally {
        Files.delete(directives);
      }
    } catch (JMException | IOException e) {
      // Not this compiler: slower perhaps, with the same results.
    }
  }
}
