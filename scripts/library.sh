# shellcheck shell=bash disable=SC2034,SC2154 # variables go to and come from the scripts that source this
# What the scripts beside this file share; they set `root` to the checkout and source it.
# Bash 3.2 is enough (macOS).

jar=$root/jobs/target/sparkvision.jar
assembled_home=$root/target/spark-home
main_class=sparkvision.jobs.Sparkvision

note() { printf '%s\n' "$*" >&2; }

# fail CODE SENTENCE
fail() {
  local code=$1
  shift
  note "$*"
  exit "$code"
}

require() {
  command -v "$1" > /dev/null || fail 3 "Cannot $2: $1 is not on the PATH ($3)"
}

# Where the Java is that runs everything.
java_command() {
  if [[ -n ${JAVA_HOME:-} ]]; then
    printf '%s\n' "$JAVA_HOME/bin/java"
  else
    printf 'java\n'
  fi
}

# Runs Maven in the checkout, for the platform of this machine (plain mvn packages for linux-x86_64). MAVEN_ARGS is
# Maven 3.9's own variable; older ones get it here.
maven() {
  local args=()
  # shellcheck disable=SC2206 # words on purpose
  args=(${MAVEN_ARGS:-})
  case $(uname -s)-$(uname -m) in
    Linux-aarch64) args+=(-Plinux-arm64) ;;
    Darwin-arm64) args+=(-Pmacosx-arm64) ;;
    Darwin-x86_64) args+=(-Pmacosx-x86_64) ;;
  esac
  (cd "$root" && mvn -B "${args[@]+"${args[@]}"}" "$@")
}

outdated() {
  [[ -f $jar && -f $assembled_home/complete ]] || return 0
  local newer
  newer=$(cd "$root" > /dev/null && find pom.xml NOTICE LICENSE ./*/pom.xml ./*/src/main conf -newer "$jar" -print 2> /dev/null | head -n 1) || true
  [[ -n $newer ]]
}

# Builds the jar and the Spark home when a source, pom or conf file is newer.
build() {
  outdated || return 0
  require mvn "build sparkvision" "install Maven 3.8 or newer"
  mkdir -p "$root/target"
  (
    # Two scripts at once: the second waits and finds the work done.
    if command -v flock > /dev/null; then flock 9; fi
    outdated || exit 0
    note "building ${jar#"$root"/} (log: target/build.log; the first build downloads about 500 MB)"
    local started=$SECONDS
    touch "$root/target/build.started"
    if ! maven -Dmaven.test.skip=true package > "$root/target/build.log" 2>&1; then
      # Maven's own advice behind the first errors helps nobody here.
      grep -m 20 -E '^\[(ERROR|FATAL)\] .' "$root/target/build.log" >&2 || tail -n 20 "$root/target/build.log" >&2
      fail 1 "Cannot build sparkvision: Maven failed (the whole log is in target/build.log)"
    fi
    # Sources edited while it was building are newer than its start.
    touch -r "$root/target/build.started" "$jar"
    note "built $(($(wc -c < "$jar") / 1000000)) MB in $((SECONDS - started)) s"
  ) 9> "$root/target/build.lock"
}

# The machine's memory in MB: what is installed, or what the container is allowed.
machine_memory() {
  local bytes limit
  if [[ -r /proc/meminfo ]]; then
    bytes=$(awk '/^MemTotal:/ { printf "%.0f", $2 * 1024 }' /proc/meminfo)
    for limit in /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes; do
      if [[ -r $limit ]]; then
        limit=$(cat "$limit")
        if [[ $limit =~ ^[0-9]+$ ]] && ((limit < bytes)); then bytes=$limit; fi
        break
      fi
    done
  else
    bytes=$(sysctl -n hw.memsize)
  fi
  printf '%d\n' $((bytes / 1048576))
}

machine_cores() {
  # nproc heeds affinity and, not wanted here, OMP_NUM_THREADS.
  if command -v nproc > /dev/null; then env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc; else getconf _NPROCESSORS_ONLN; fi
}

# clamp VALUE LOW HIGH
clamp() {
  local value=$1
  if ((value < $2)); then value=$2; fi
  if ((value > $3)); then value=$3; fi
  printf '%d\n' "$value"
}

# --- Memory of this machine, shared out ------------------------------------------------------------------------
# A process lives on its Java heap (records, batches, Spark), on tensors outside the heap (JavaCPP's maxbytes), and on
# what neither counts: code, stacks, Netty, tables of the native libraries. JavaCPP stops a process whose resident
# memory passes maxphysicalbytes, so that one has to hold all three. JavaCPP's defaults (tensors = heap, all = 4 x heap)
# fit no cluster: the container is killed long before.
uncounted=512

# Left for jobs in MB: not the system, nor HDFS and the Spark daemons of scripts/local-cluster (about 1.5 GB).
available_memory() {
  clamp $(($(machine_memory) - 2560)) 2560 1048576
}

# The driver of a job with executors on this machine.
driver_share() {
  clamp $(($(available_memory) / 4)) 1024 3072
}

# executor_share EXECUTORS: one executor of this machine.
executor_share() {
  clamp $((($(available_memory) - $(driver_share)) / $1)) 1536 8192
}

# heap_of SHARE: a third of it, the rest for tensors and the uncounted; never below what Spark accepts (450 MB).
heap_of() {
  clamp $(($1 / 3)) 512 8192
}
