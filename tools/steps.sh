# Sourced by setup and the scripts in tools/: steps with a name, a time and a log.
#   step NAME LOG COMMAND...   runs COMMAND into build/logs/LOG.log; on failure prints the log's tail and exits
#   note TEXT...               one line that stands out
#   fail TEXT...               says why and exits 1

LOGS=${ARKIT_LOGS:-$PWD/build/logs}

note() { echo "==> $*"; }

fail() {
  echo "setup: $*" >&2
  exit 1
}

# While a command runs and someone watches, the last line of its log is shown in place.
watch_log() {
  local line
  while sleep 1; do
    line=$(tail -n 1 "$1" 2>/dev/null | tr -d '\r' | cut -c "1-$((${COLUMNS:-80} - 6))")
    printf '\r\033[K    %s' "$line"
  done
}

step() {
  local name=$1 log="$LOGS/$2.log" start=$SECONDS status=0 watcher=
  shift 2
  mkdir -p "$LOGS"
  note "$name"
  if [ -t 1 ]; then
    watch_log "$log" &
    watcher=$!
  fi
  # A subshell with errexit of its own: `|| status=$?` alone would switch errexit off inside shell functions.
  set +e
  (
    set -e
    "$@"
  ) >"$log" 2>&1 </dev/null
  status=$?
  set -e
  if [ -n "$watcher" ]; then
    kill "$watcher" 2>/dev/null
    wait "$watcher" 2>/dev/null || true
    printf '\r\033[K'
  fi
  if [ "$status" != 0 ]; then
    echo "--- last lines of $log" >&2
    tail -n "${ARKIT_LOG_LINES:-40}" "$log" >&2
    fail "'$name' failed after $((SECONDS - start)) s with status $status; the whole log is $log"
  fi
  echo "    done in $((SECONDS - start)) s"
}
