"""Opens arkit's mlx exports of a real model with mlx-lm on the CPU and compares its logits with arkit's.

check_mlx.py --arkit BINARY --model MODEL --work DIR [--layers N] [CASE ...]

Logits on fixed ids differ by at most 2e-2 (L2, relative). Run it with the interpreter that `tools/peers.sh mlx` prints.
"""
import shutil
import sys

import mlx.core as mx
import mlx_lm
import numpy

from exports import MAX_RELATIVE_ERROR, Arkit, check_all, first_ids, integers, parse_arguments, relative_error, report

CASES = {f"W{bits}A16{kind}-{form}": integers(bits, *(["--asym"] if kind else []), "--format", form)
         for form in ("mlx", "auto_round:mlx") for bits in (2, 3, 4, 5, 6, 8) for kind in ("", "-asym")}


def main():
    a = parse_arguments(CASES)
    mx.set_default_device(mx.cpu)
    arkit = Arkit(a.arkit, a.model, a.work, a.layers)

    def check(name):
        export = arkit.export(name, CASES[name])
        model, tokenizer = mlx_lm.load(str(export))
        model.set_dtype(mx.float32)
        ids = first_ids(tokenizer.encode)
        theirs = numpy.array(model(mx.array(ids)).astype(mx.float32))
        error = relative_error(arkit.logits(export, ids), theirs)
        shutil.rmtree(export)
        return report(name, error <= MAX_RELATIVE_ERROR, f"relative error of logits {error:.2e}")

    sys.exit(check_all(check, CASES, a.cases))


if __name__ == "__main__":
    main()
