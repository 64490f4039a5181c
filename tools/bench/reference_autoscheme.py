"""Writes what AutoRound's AutoScheme decides as JSON: {"3.0": {layer: scheme}}, and the seconds it took. Quantizes nothing.

reference_autoscheme.py MODEL OUT.json --options A,B --avg_bits 3 4 5 --group_size 64 --dataset FILE [--nsamples 16] [--seqlen 256]
"""
import argparse
import json
import os
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from auto_round import AutoRound, AutoScheme
from auto_round.auto_scheme import gen_auto_scheme
from auto_round.schemes import preset_name_to_scheme


def option(name, group_size):
    """A scheme object: a group size given to AutoRound beside AutoScheme does not reach the options."""
    scheme = preset_name_to_scheme(name)
    if group_size:
        scheme.group_size = group_size
    return scheme


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("out")
    p.add_argument("--options", required=True)
    p.add_argument("--avg_bits", type=float, nargs="+", required=True)
    p.add_argument("--group_size", type=int, default=0)
    p.add_argument("--dataset", required=True)
    p.add_argument("--nsamples", type=int, default=16)
    p.add_argument("--seqlen", type=int, default=256)
    a = p.parse_args()
    found = {}
    for bits in a.avg_bits:  # its cache keeps the scores, so that only the first pays for them

        def stop(self, decide=gen_auto_scheme.GenScheme.get_layer_config):
            start = time.perf_counter()
            found[bits] = {name: {k: v for k, v in scheme.items() if isinstance(v, (int, str, bool))}
                           for name, scheme in decide(self).items()}
            found[f"seconds {bits}"] = time.perf_counter() - start
            raise StopIteration

        decide = gen_auto_scheme.GenScheme.get_layer_config
        gen_auto_scheme.GenScheme.get_layer_config = stop
        scheme = AutoScheme(avg_bits=bits, options=[option(name, a.group_size) for name in a.options.split(",")], nsamples=a.nsamples,
                            seqlen=a.seqlen)
        try:
            AutoRound(a.model, scheme=scheme, iters=0, disable_opt_rtn=True, dataset=a.dataset).quantize()
        except StopIteration:
            pass
        finally:
            gen_auto_scheme.GenScheme.get_layer_config = decide
    with open(a.out, "w", encoding="utf-8") as file:
        json.dump({str(key): value for key, value in found.items()}, file)


if __name__ == "__main__":
    main()
