#!/usr/bin/env bash
# Skips inside passing binaries are found in a log like CTest's: skipped_tests.sh tools/skipped_tests.awk
set -euo pipefail
cat >/tmp/arkit_skipped.$$ <<'LOG'
7/9 Testing: inference
7/9 Test: inference
[ RUN      ] RealModel.WritesEnglish
/src/real_model_test.cpp:33: Skipped
needs ARKIT_SMOLLM2_DIR
and patience

[  SKIPPED ] RealModel.WritesEnglish (0 ms)
[ RUN      ] Engine.Runs
[       OK ] Engine.Runs (3 ms)
[ RUN      ] Engine.Silent
/src/engine_test.cpp:1: Skipped


[  SKIPPED ] Engine.Silent (0 ms)
[  PASSED  ] 1 test.
[  SKIPPED ] 2 tests, listed below:
[  SKIPPED ] RealModel.WritesEnglish
[  SKIPPED ] Engine.Silent
8/9 Testing: interop_mlx
SKIPPED: mlx-lm is not installed
LOG
trap 'rm -f /tmp/arkit_skipped.$$' EXIT
got=$(awk -f "$1" /tmp/arkit_skipped.$$)
want='==> skipped tests: 3
    inference, RealModel.WritesEnglish: needs ARKIT_SMOLLM2_DIR and patience
    inference, Engine.Silent: no reason given
    interop_mlx: mlx-lm is not installed'
[ "$got" = "$want" ] || { diff <(echo "$want") <(echo "$got"); exit 1; }
[ "$(awk -f "$1" /dev/null)" = "==> skipped tests: none" ]
