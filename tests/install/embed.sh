#!/usr/bin/env bash
# A program outside the tree embeds the installed arkit: it links libarkit_engine by find_package(arkit COMPONENTS engine), finds the
# plugins of the installation wherever that was moved to, and writes what the command line writes.
#   embed.sh BUILD_DIR WORK TORCH_ROOT CXX
set -euo pipefail
build=$1 work=$2 torch=$3 cxx=$4
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
say() { echo "--- $*"; }

rm -rf "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT

say "install and move"
cmake --install "$build" --prefix "$work/first" >"$work/install.log"
mv "$work/first" "$work/arkit"
[ ! -e "$work/arkit/include/tuning" ] && [ ! -e "$work/arkit/include/arkit/engine/tuning" ] || { echo "private headers are installed"; exit 1; }

say "the example is at most 30 lines"
example=$work/arkit/share/arkit/examples/embed
lines=$(wc -l <"$example/embed.cpp")
[ "$lines" -le 30 ] || { echo "embed.cpp has $lines lines"; exit 1; }

say "build it"
configure() { cmake -S "$1" -B "$1/build" -G Ninja -DCMAKE_PREFIX_PATH="$work/arkit" -DARKIT_TORCH_DIR="$torch" -DCMAKE_CXX_COMPILER="$cxx"; }
cp -r "$example" "$work/project"
configure "$work/project" >"$work/configure.log" 2>&1 || { cat "$work/configure.log"; exit 1; }
cmake --build "$work/project/build" >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }

say "run it"
python3 "$root/tools/make_synthetic_llama.py" "$work/model" --blocks 1 --hidden 128 --intermediate 256 --vocab 256
env -u ARKIT_PLUGIN_PATH -u LD_LIBRARY_PATH "$work/project/build/embed" "$work/model" "$work/out" >"$work/said.json"
grep -q '"quantized_layers": 7' "$work/said.json" || { echo "expected 7 layers:"; cat "$work/said.json"; exit 1; }
"$work/arkit/bin/arkit" quantize "$work/model" --scheme W4A16 --recipe rtn --format auto_round --output_dir "$work/program" >/dev/null
cmp "$work/out/model.safetensors" "$work/program/model.safetensors"
status=0
"$work/project/build/embed" "$work/nowhere" "$work/out2" 2>"$work/said.txt" || status=$?
[ "$status" = 3 ] || { echo "expected exit code 3 for a missing model, got $status:"; cat "$work/said.txt"; exit 1; }

say "who does not ask for the engine does not get it, and a component that does not exist is refused"
mkdir "$work/other"
cat >"$work/other/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.25)
project(other LANGUAGES CXX)
find_package(arkit CONFIG REQUIRED)
if(TARGET arkit::engine)
  message(FATAL_ERROR "arkit::engine came unasked")
endif()
find_package(arkit CONFIG QUIET COMPONENTS motor)
if(arkit_FOUND)
  message(FATAL_ERROR "the component 'motor' was found")
endif()
CMAKE
configure "$work/other" >"$work/configure.log" 2>&1 || { cat "$work/configure.log"; exit 1; }
