#!/usr/bin/env bash
# The commands that `arkit plugin new` prints work as printed, for the program of a build tree that is not on the PATH.
#   build_tree.sh BUILD_DIR WORK TORCH_ROOT CXX
set -euo pipefail
build=$1 work=$2 torch=$3 cxx=$4

rm -rf "$work"
mkdir -p "$work/a folder"
trap 'rm -rf "$work"' EXIT
cd "$work/a folder"
"$build/bin/arkit" plugin new scheme my_nf4 >"$work/told.txt"
sed -n '/^build and test it:/,/^then start/p' "$work/told.txt" | grep '^  ' >"$work/commands.sh"
[ "$(wc -l <"$work/commands.sh")" = 4 ] || { echo "expected four commands:"; cat "$work/told.txt"; exit 1; }
env -u ARKIT_PLUGIN_PATH ARKIT_TORCH_DIR="$torch" CXX="$cxx" PATH=/usr/bin:/bin bash -euo pipefail "$work/commands.sh" >"$work/log.txt" 2>&1 ||
  { cat "$work/commands.sh" "$work/log.txt"; exit 1; }
grep -q "loaded *my_nf4\|my_nf4" <(tail -40 "$work/log.txt") || { echo "my_nf4 is not listed:"; cat "$work/log.txt"; exit 1; }
