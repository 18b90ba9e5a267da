package sparkvision.plan;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import sparkvision.kernels.Team;

/** What each member of a team has for itself while it works, made at the first run. */
final class Members<T> {

  private final Supplier<T> make;
  private final List<T> own = new ArrayList<>();

  Members(Supplier<T> make) {
    this.make = make;
  }

  /** One for each member. */
  List<T> of(Team team) {
    while (own.size() < team.threads()) {
      own.add(make.get());
    }
    return own;
  }
}
