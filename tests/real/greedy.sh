#!/usr/bin/env bash
# Greedy texts of real models in BF16 against those of transformers: greedy.sh ARKIT NAME WORK. Exit status 77 = skipped.
set -euo pipefail
arkit=$1 name=$2 work=$3
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

case $name in
  smollm2)
    if ! model=$("$root/tools/smollm2.sh" 2>/dev/null); then
      echo "SKIPPED: SmolLM2-135M-Instruct is not here and cannot be downloaded (tools/smollm2.sh; ARKIT_SMOLLM2 names a copy)"
      exit 77
    fi ;;
  qwen05)
    model=${ARKIT_QWEN05:-$root/.cache/models/qwen2.5-coder-0.5b.gguf}
    if [ ! -s "$model" ]; then
      echo "SKIPPED: Qwen2.5-Coder-0.5B is not here; ARKIT_QWEN05 names the GGUF file that shared/tools/qwen05.sh brings"
      exit 77
    fi ;;
  *) echo "unknown model '$name'" >&2; exit 2 ;;
esac
mkdir -p "$work"
exec python3 "$root/tests/real/greedy.py" "$arkit" "$model" "$root/tests/data/greedy/$name.json" "$work/arkit.json"
