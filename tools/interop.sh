#!/usr/bin/env bash
# `./setup interop [auto-round|mlx|lm-eval|llama [CASE...]]`: opens arkit's exports of a real model with transformers, AutoRound and
# compressed-tensors, with mlx-lm and with llama.cpp, and measures with lm-eval; all when none is named.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/steps.sh

bring() { tools/smollm2.sh && tools/peers.sh "$peer"; }
case ${1:-} in
  '') peers=(auto-round mlx lm-eval llama) ;;
  *)
    peers=("$1")
    shift
    ;;
esac
for peer in "${peers[@]}"; do
  step "SmolLM2-135M-Instruct, $peer" "interop-$peer" bring
  note "exports opened by $peer"
  tests/interop/run.sh "$peer" "$(command -v arkit)" build/interop/$peer "$@" 2>"$LOGS/interop.log" || fail "interop failed; details in $LOGS/interop.log"
done
