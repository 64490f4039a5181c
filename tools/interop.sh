#!/usr/bin/env bash
# `./setup interop [CASE...]`: opens arkit's exports of a real model with transformers and AutoRound.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/steps.sh

bring() { tools/smollm2.sh && tools/peers.sh auto-round; }
step "SmolLM2-135M-Instruct, AutoRound and transformers" interop-peers bring
note "exports opened by transformers"
tests/interop/run.sh "$(command -v arkit)" build/interop "$@" 2>"$LOGS/interop.log" || fail "interop failed; details in $LOGS/interop.log"
