package sparkvision.graph;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * {@code "b c (h p) w -> b (h w) (c p)"} as reshape, permute, reshape.
 *
 * <p>Every word between spaces is one axis of the tensor; each is a list of names: one, several in
 * parentheses, or none for 1.
 */
final class Rearrange {

  private static final Pattern SIDE =
      Pattern.compile(
          "\\s*(?:(?:1|[a-z]\\w*|\\(\\s*[a-z]\\w*(?:\\s+[a-z]\\w*)*\\s*\\))(?:\\s+|$))*");
  private static final Pattern AXIS = Pattern.compile("1|[a-z]\\w*|\\(([^)]*)\\)");

  private Rearrange() {}

  static Tensor apply(Words g, Tensor x, String pattern, Map<String, Long> known) {
    String[] sides = pattern.split("->", -1);
    if (sides.length != 2
        || !SIDE.matcher(sides[0]).matches()
        || !SIDE.matcher(sides[1]).matches()) {
      throw error(x, pattern, "a pattern reads like \"b c h w -> b (h w) c\"");
    }
    List<List<String>> from = axes(sides[0]);
    List<List<String>> to = axes(sides[1]);
    List<String> names = names(x, pattern, from);
    List<String> order = names(x, pattern, to);
    for (String name : order.size() > names.size() ? order : names) {
      if (!names.contains(name) || !order.contains(name)) {
        throw error(x, pattern, name + " stands on one side only");
      }
    }
    Map<String, Long> sizes = sizes(x, pattern, from, known);
    for (String name : known.keySet()) {
      if (!names.contains(name)) {
        throw error(x, pattern, "it has no " + name);
      }
    }
    Tensor apart = g.reshape(x, names.stream().mapToLong(sizes::get).toArray());
    Tensor moved = g.permute(apart, order.stream().mapToInt(names::indexOf).toArray());
    return g.reshape(moved, to.stream().mapToLong(axis -> product(axis, sizes)).toArray());
  }

  private static List<List<String>> axes(String side) {
    List<List<String>> axes = new ArrayList<>();
    Matcher matcher = AXIS.matcher(side);
    while (matcher.find()) {
      String axis = matcher.group(1) == null ? matcher.group() : matcher.group(1);
      axes.add(axis.equals("1") ? List.of() : List.of(axis.strip().split("\\s+")));
    }
    return axes;
  }

  private static List<String> names(Tensor x, String pattern, List<List<String>> axes) {
    List<String> names = axes.stream().flatMap(List::stream).toList();
    Set<String> seen = new HashSet<>();
    for (String name : names) {
      if (!seen.add(name)) {
        throw error(x, pattern, name + " stands twice on one side");
      }
    }
    return names;
  }

  /** The size of every name: given, or what the others leave of its axis. */
  private static Map<String, Long> sizes(
      Tensor x, String pattern, List<List<String>> axes, Map<String, Long> known) {
    if (axes.size() != x.rank()) {
      throw error(x, pattern, String.format("it has %d axes on the left", axes.size()));
    }
    Map<String, Long> sizes = new HashMap<>(known);
    for (int i = 0; i < axes.size(); i++) {
      List<String> open = axes.get(i).stream().filter(name -> !known.containsKey(name)).toList();
      if (open.size() > 1) {
        throw error(x, pattern, "the sizes of all but one of " + open + " must be given");
      }
      List<String> given = axes.get(i).stream().filter(known::containsKey).toList();
      long product = product(given, sizes);
      boolean positive = given.stream().allMatch(name -> known.get(name) > 0);
      if (!positive || x.size(i) % product != 0 || (open.isEmpty() && product != x.size(i))) {
        throw error(
            x, pattern, String.format("axis %d of size %d is not %s", i, x.size(i), axes.get(i)));
      }
      if (!open.isEmpty()) {
        sizes.put(open.get(0), x.size(i) / product);
      }
    }
    return sizes;
  }

  private static long product(List<String> names, Map<String, Long> sizes) {
    return names.stream().mapToLong(sizes::get).reduce(1, Math::multiplyExact);
  }

  private static IllegalArgumentException error(Tensor x, String pattern, String reason) {
    return Shapes.error("Cannot rearrange %s by \"%s\": %s", x, pattern, reason);
  }
}
