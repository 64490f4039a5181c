#!/usr/bin/env bash
# `./setup bench [ROW...]`: measures arkit beside AutoRound in the same minutes and appends the rows to docs/BENCHMARKS.md.
#   ARKIT_SHARED   folder whose data/ has the WikiText-2 files of the perplexity rows (default ../shared)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/steps.sh

bring() { tools/smollm2.sh >build/bench/model.path; }
peers() { tools/peers.sh auto-round >build/bench/python.path; }
llama() { tools/peers.sh llama >build/bench/llama.path; }
convert() {
  local folder=.cache/models/smollm2-135m
  [ -s $folder/model.safetensors ] || HF_HUB_OFFLINE=1 "$(cat build/bench/python.path)" tools/bench/gguf_to_hf.py "$(cat build/bench/model.path)" $folder
}

mkdir -p build/bench
step "SmolLM2-135M-Instruct" bench-model bring
step "AutoRound" bench-peers peers
step "the model as a Hugging Face folder" bench-convert convert
case " $* " in
  "  " | *" infer "*) step "llama.cpp" bench-llama llama ;;
  *) : >build/bench/llama.path ;;
esac
exec "${ARKIT_PYTHON:-python3}" tools/bench/bench.py --peer "$(cat build/bench/python.path)" --llama "$(cat build/bench/llama.path)" --gguf "$(cat build/bench/model.path)" \
  --model .cache/models/smollm2-135m --shared "${ARKIT_SHARED:-../shared}" --work build/bench "$@"
