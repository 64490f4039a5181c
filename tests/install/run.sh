#!/usr/bin/env bash
# Installs the build into a folder, moves it, and uses it as a stranger would: the moved program lists its plugins, and a project outside
# the tree builds a format plugin against it with find_package(arkit), which the moved program loads and uses.
#   run.sh BUILD_DIR WORK TORCH_ROOT CXX
set -euo pipefail
build=$1 work=$2 torch=$3 cxx=$4
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
say() { echo "--- $*"; }
expect() { grep -q -- "$1" "$2" || { echo "expected '$1' in:"; cat "$2"; exit 1; }; }

rm -rf "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT

say "install and move"
cmake --install "$build" --prefix "$work/first" >"$work/install.log"
mv "$work/first" "$work/moved"
arkit=$work/moved/bin/arkit
"$arkit" --version
"$arkit" list plugins >"$work/plugins.txt"
expect "$work/moved/lib/arkit/plugins" "$work/plugins.txt"
expect gradient_accumulate_steps "$work/moved/share/man/man1/arkit-quantize.1"
for script in bash-completion/completions/arkit zsh/site-functions/_arkit fish/vendor_completions.d/arkit.fish; do
  expect gradient_accumulate_steps "$work/moved/share/$script"
done

say "build the example against the installation"
cp -r "$work/moved/share/arkit/examples/out_of_tree_format" "$work/project"
cmake -S "$work/project" -B "$work/project/build" -G Ninja -DCMAKE_PREFIX_PATH="$work/moved" -DARKIT_TORCH_DIR="$torch" \
  -DCMAKE_CXX_COMPILER="$cxx" >"$work/configure.log" 2>&1 || { cat "$work/configure.log"; exit 1; }
cmake --build "$work/project/build" >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }

say "load and use it"
"$arkit" --plugin "$work/project/build" list formats >"$work/formats.txt"
expect plain_codes "$work/formats.txt"
if "$arkit" list formats | grep -q plain_codes; then
  echo "plain_codes must not be known without --plugin"
  exit 1
fi
python3 "$root/tools/make_synthetic_llama.py" "$work/model" --blocks 1 --hidden 128 --intermediate 256 --vocab 256
"$arkit" quantize "$work/model" --scheme W4A16 --group_size 32 --recipe rtn --format plain_codes --output_dir "$work/out" \
  --plugin "$work/project/build"
expect plain_codes "$work/out/config.json"
expect zero_point "$work/out/model.safetensors"

say "a plugin built against changed headers is refused, both sides named"
cp -r "$work/moved" "$work/changed"
sed -i 's/  virtual ~Exporter();/  virtual ~Exporter();\n  virtual void a_function_of_another_day() {}/' "$work/changed/include/arkit/exporter.h"
cmake -S "$work/project" -B "$work/project/build_changed" -G Ninja -DCMAKE_PREFIX_PATH="$work/changed" -DARKIT_TORCH_DIR="$torch" \
  -DCMAKE_CXX_COMPILER="$cxx" >"$work/configure.log" 2>&1 || { cat "$work/configure.log"; exit 1; }
cmake --build "$work/project/build_changed" >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
status=0
"$arkit" --plugin "$work/project/build_changed" list formats >"$work/refused.txt" 2>&1 || status=$?
[ "$status" = 7 ] || { echo "expected exit code 7, got $status:"; cat "$work/refused.txt"; exit 1; }
expect "built for .*-headers[0-9a-f]\{12\}" "$work/refused.txt"
expect "this arkit .*-headers[0-9a-f]\{12\}" "$work/refused.txt"
