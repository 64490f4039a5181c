#!/usr/bin/env bash
# run.sh ARKIT WORK [CASE...]: check_interop.py with the interpreter and the model that `./setup interop` brings; exits 77 (skipped)
# when one of them is not there.
set -euo pipefail
arkit=$1 work=$2
shift 2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
python=${ARKIT_PEERS_DIR:-$root/.deps/peers}/auto-round/bin/python
model=${ARKIT_SMOLLM2:-$root/.cache/models/SmolLM2-135M-Instruct.Q4_1.gguf}
for needed in "$python" "$model"; do
  if [ ! -e "$needed" ]; then
    echo "SKIPPED: needs $needed (./setup interop brings it)"
    exit 77
  fi
done
exec "$python" "$here/check_interop.py" --arkit "$arkit" --model "$model" --work "$work" "$@"
