#!/bin/sh
# openai.sh ARKIT SOURCE_MODEL: the official client against `arkit serve`. Status 77 = skipped.
python=${ARKIT_OPENAI_PYTHON:-python3}
if ! "$python" -c 'import openai' 2>/dev/null; then
  echo "skipped: '$python' has no openai; python3 -m venv V && V/bin/pip install openai, and ARKIT_OPENAI_PYTHON=V/bin/python"
  exit 77
fi
exec "$python" "$(dirname "$0")/openai_test.py" "$1" "$2"
