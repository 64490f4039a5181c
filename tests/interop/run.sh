#!/usr/bin/env bash
# run.sh auto-round|mlx|lm-eval|llama ARKIT WORK [CASE...]: check_interop.py, check_mlx.py, check_lm_eval.py or check_llama.py with the interpreter and the
# model that `./setup interop` brings; exits 77 (skipped) when one of them is not there.
set -euo pipefail
peer=$1 arkit=$2 work=$3
shift 3
case $peer in
  auto-round) script=check_interop.py ;;
  mlx) script=check_mlx.py ;;
  lm-eval) script=check_lm_eval.py ;;
  llama) script=check_llama.py ;;
  *)
    echo "run.sh: unknown program '$peer'; known: auto-round mlx lm-eval llama" >&2
    exit 2
    ;;
esac
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
python=${ARKIT_PEERS_DIR:-$root/.deps/peers}/$peer/bin/python
model=${ARKIT_SMOLLM2:-$root/.cache/models/SmolLM2-135M-Instruct.Q4_1.gguf}
for needed in "$python" "$model"; do
  if [ ! -e "$needed" ]; then
    echo "SKIPPED: needs $needed (./setup interop brings it)"
    exit 77
  fi
done
exec "$python" "$here/$script" --arkit "$arkit" --model "$model" --work "$work" "$@"
