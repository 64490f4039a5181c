#!/usr/bin/env bash
# A vendor's drop: the folder of a backend, copied out of the tree, builds alone against an installed arkit with no LibTorch; the program
# says whose it is and with what it works.
#   vendor_drop.sh BUILD_DIR WORK CXX NVCC
set -euo pipefail
build=$1 work=$2 cxx=$3 nvcc=$4
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
expect() { grep -q -- "$1" "$2" || { echo "expected '$1' in:"; cat "$2"; exit 1; }; }

rm -rf "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT
cmake --install "$build" --prefix "$work/arkit" >"$work/install.log"
cp -r "$root/plugins/backends/marlin" "$work/drop"
cmake -S "$work/drop" -B "$work/drop/build" -DCMAKE_PREFIX_PATH="$work/arkit" -DCMAKE_CXX_COMPILER="$cxx" -DARKIT_NVCC="$nvcc" \
  >"$work/log.txt" 2>&1 && cmake --build "$work/drop/build" >>"$work/log.txt" 2>&1 || { cat "$work/log.txt"; exit 1; }
library=$work/drop/build/libarkit_backend_marlin.so
if readelf -d "$library" | grep -E "NEEDED.*(cuda|torch|arkit)"; then
  echo "the drop is linked to what it must find at run time"
  exit 1
fi
"$work/arkit/bin/arkit" plugin inspect "$library" >"$work/inspect.txt"
expect "^vendor  *arkit" "$work/inspect.txt"
expect "backend door 1\." "$work/inspect.txt"
expect "^usable  *yes" "$work/inspect.txt"
rm "$work/arkit/lib/arkit/plugins/libarkit_backend_marlin.so"
"$work/arkit/bin/arkit" --plugin "$library" list backends >"$work/backends.txt"
expect "^marlin" "$work/backends.txt"
# Without nvcc it is left out in one line, and nothing fails.
cmake -S "$work/drop" -B "$work/drop/without" -DCMAKE_PREFIX_PATH="$work/arkit" -DCMAKE_CXX_COMPILER="$cxx" -DARKIT_NVCC= >"$work/without.txt" 2>&1
expect "marlin needs nvcc" "$work/without.txt"
