#!/bin/sh
# interop.sh ARKIT ROOT: huggingface_hub and arkit on one server and one cache. Needs an environment with huggingface_hub among the
# peers (that of AutoRound has it; ./setup interop makes it), or one of its own: peers/hub.
peers=${ARKIT_PEERS_DIR:-$2/.deps/peers}
for python in "$peers/hub/bin/python" "$peers/auto-round/bin/python"; do
  if "$python" -c 'import huggingface_hub' 2>/dev/null; then
    exec "$python" "$2/tests/hub/check_interop.py" "$1" "$2"
  fi
done
echo "SKIPPED: needs Python with huggingface_hub in $peers/hub or $peers/auto-round ('./setup interop' installs it)"
exit 77
