#!/usr/bin/env bash
# Formats every C++ source under version control; with --check only names the files that differ (exit 1).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v clang-format >/dev/null || { echo "format: clang-format is not installed (./setup format installs it)" >&2; exit 1; }

check=
case ${1:-} in
  '') ;;
  --check) check=1 ;;
  *) echo "usage: tools/format.sh [--check]" >&2; exit 2 ;;
esac

# Templates carry placeholders that are no C++ yet.
mapfile -d '' files < <(git ls-files -z --cached --others --exclude-standard -- '*.h' '*.cpp' ':!sdk/template')
[ ${#files[@]} -gt 0 ] || exit 0
if [ -z "$check" ]; then
  clang-format -i "${files[@]}"
elif printf '%s\0' "${files[@]}" | xargs -0 -P "$(nproc)" -n 20 clang-format --dry-run --Werror 2>/dev/null; then
  echo "format: ${#files[@]} files are clean"
else
  echo "format: these files differ from .clang-format; run ./setup format" >&2
  for file in "${files[@]}"; do
    clang-format --dry-run --Werror "$file" 2>/dev/null || echo "  $file" >&2
  done
  exit 1
fi
