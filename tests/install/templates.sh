#!/usr/bin/env bash
# What `arkit plugin new` writes builds and passes its test against an installed arkit: one project of each kind, all five in one build.
#   templates.sh BUILD_DIR WORK TORCH_ROOT CXX
set -euo pipefail
build=$1 work=$2 torch=$3 cxx=$4
kinds=(scheme exporter backend model transform)
say() { echo "--- $*"; }

rm -rf "$work"
mkdir -p "$work/projects"
trap 'rm -rf "$work"' EXIT

say "install"
cmake --install "$build" --prefix "$work/arkit" >"$work/install.log"
arkit=$work/arkit/bin/arkit

say "write the projects"
{
  echo "cmake_minimum_required(VERSION 3.25)"
  echo "project(templates LANGUAGES CXX)"
  echo "enable_testing()"
} >"$work/projects/CMakeLists.txt"
for kind in "${kinds[@]}"; do
  "$arkit" plugin new "$kind" "new_$kind" "$work/projects/new_$kind" >/dev/null
  echo "add_subdirectory(new_$kind)" >>"$work/projects/CMakeLists.txt"
done

say "build"
cmake -S "$work/projects" -B "$work/build" -G Ninja -DCMAKE_PREFIX_PATH="$work/arkit" -DARKIT_TORCH_DIR="$torch" -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_CXX_COMPILER="$cxx" >"$work/configure.log" 2>&1 || { cat "$work/configure.log"; exit 1; }
cmake --build "$work/build" -j 2 >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
if grep -n "warning:" "$work/build.log"; then
  echo "a fresh project must compile without warnings"
  exit 1
fi

say "test"
ctest --test-dir "$work/build" --output-on-failure --no-tests=error >"$work/test.log" 2>&1 || { cat "$work/test.log"; exit 1; }
for kind in "${kinds[@]}"; do
  grep -q "new_$kind .*Passed" "$work/test.log" || { echo "the test of new_$kind did not run:"; cat "$work/test.log"; exit 1; }
  "$arkit" --plugin "$work/build/new_$kind" list plugins >"$work/plugins.txt"
  grep -q "new_$kind" "$work/plugins.txt" || { echo "new_$kind is not listed:"; cat "$work/plugins.txt"; exit 1; }
done
