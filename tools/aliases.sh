#!/usr/bin/env bash
# aliases.sh DIR: arkit under the other names it knows (apps/arkit/called_as.cpp), as links beside it in DIR/bin.
set -euo pipefail
bin=$1/bin
[ -x "$bin/arkit" ] || { echo "aliases.sh: '$bin/arkit' is not there; ./setup install DIR first" >&2; exit 3; }
for name in arkit-best arkit-light auto-round auto-round-best auto-round-light auto-round-rtn auto-round-opt-rtn; do
  for link in "$name" "${name//-/_}"; do
    case $link in arkit_*) continue ;; esac # AutoRound's own have both forms
    if [ -e "$bin/$link" ] && [ "$(readlink "$bin/$link" || true)" != arkit ]; then
      echo "aliases.sh: '$bin/$link' is another program and stays; remove it, or install into a folder of its own" >&2
      exit 3
    fi
    ln -sfn arkit "$bin/$link"
  done
done
echo "aliases in $bin: arkit-best, arkit-light, auto-round, auto-round-best, auto-round-light, auto-round-rtn, auto-round-opt-rtn"
