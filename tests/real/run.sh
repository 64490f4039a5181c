#!/usr/bin/env bash
# Perplexity of a real model before and after rounding: run.sh ARKIT WORK. Exit status 77 = skipped.
set -euo pipefail
arkit=$1 work=$2
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
readonly TEXT=$root/share/demo/text.txt WINDOWS=8

# Perplexity over the first 8 windows of 512 tokens of the demonstration's text, computed in float32: 33.457 for the model and 40.081
# rounded to 4 bits in groups of 64. The codes are the same on every machine; the bands are what another order of additions may change.
# A wrong scale, zero point or packing, or a layer that is left out, costs more or less than that.
readonly BF16_LOW=33.40 BF16_HIGH=33.51 W4_LOW=39.98 W4_HIGH=40.18

rm -rf "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT
if ! model=$("$root/tools/smollm2.sh" 2>"$work/fetch.log"); then
  tail -n 3 "$work/fetch.log"
  echo "SKIPPED: SmolLM2-135M-Instruct is not here and cannot be downloaded (tools/smollm2.sh; ARKIT_SMOLLM2 names a copy)"
  exit 77
fi

perplexity() { # perplexity MODEL: prints it
  "$arkit" eval ppl "$1" --text "$TEXT" --seqlen 512 --max_windows "$WINDOWS" --json 2>>"$work/log" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["perplexity"])'
}
within() { # within NAME VALUE LOW HIGH
  echo "$1: perplexity $2, expected $3 to $4"
  awk -v value="$2" -v low="$3" -v high="$4" 'BEGIN { exit !(value >= low && value <= high) }' || { echo "$1 is outside its band"; exit 1; }
}

within "BF16" "$(perplexity "$model")" "$BF16_LOW" "$BF16_HIGH"
"$arkit" quantize "$model" --scheme W4A16 --group_size 64 --recipe rtn --output_dir "$work/rtn" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
within "W4A16 rounded" "$(perplexity "$work/rtn")" "$W4_LOW" "$W4_HIGH"
