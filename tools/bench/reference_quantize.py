"""Quantizes MODEL with AutoRound, to W4A16 in groups of 64 if nothing else is said, and prints one line of JSON: seconds from start to files, the median time of
a tuning iteration, peak memory.

reference_quantize.py MODEL OUT --mode rtn|opt_rtn|signround [--iters 50] [--nsamples 60] [--seqlen 512] [--batch_size 8]
                      [--dataset FILE] [--seed 42] [--num_hidden_layers N] [--compile] [--scheme W4A16] [--group_size 64]

--group_size 0 leaves the group size to the scheme.
"""
import time

START = time.perf_counter()

import argparse
import json
import os
import resource
import statistics

os.environ.setdefault("HF_HUB_OFFLINE", "1")


def parse_args():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("out")
    p.add_argument("--mode", choices=("rtn", "opt_rtn", "signround"), required=True)
    p.add_argument("--iters", type=int, default=50)
    p.add_argument("--nsamples", type=int, default=60)
    p.add_argument("--seqlen", type=int, default=512)
    p.add_argument("--batch_size", type=int, default=8)
    p.add_argument("--dataset")
    p.add_argument("--seed", type=int, default=42)
    p.add_argument("--num_hidden_layers", type=int)
    p.add_argument("--compile", action="store_true")
    p.add_argument("--scheme", default="W4A16")
    p.add_argument("--group_size", type=int, default=64)
    return p.parse_args()


def record_steps():
    """The times at which the optimizer finished a step."""
    from auto_round.algorithms.quantization.sign_round.sign_sgd import SignSGD

    times, original = [], SignSGD.step

    def step(self, *args, **kwargs):
        result = original(self, *args, **kwargs)
        times.append(time.perf_counter())
        return result

    SignSGD.step = step
    return times


def load(path, num_hidden_layers):
    """A path where the whole model is meant, as a user would say it; else a model cut to its first blocks, and its tokenizer."""
    if num_hidden_layers is None:
        return path, None
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    config = AutoConfig.from_pretrained(path)
    config.num_hidden_layers = num_hidden_layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:num_hidden_layers]
    model = AutoModelForCausalLM.from_pretrained(path, config=config, dtype="auto")
    return model, AutoTokenizer.from_pretrained(path)


def main():
    a = parse_args()
    from auto_round import AutoRound

    times = record_steps()
    model, tokenizer = load(a.model, a.num_hidden_layers)
    options = dict(scheme=a.scheme, device_map="cpu", seed=a.seed, enable_torch_compile=a.compile)
    if a.group_size:
        options.update(group_size=a.group_size)
    if a.dataset:
        options.update(nsamples=a.nsamples, seqlen=a.seqlen, batch_size=a.batch_size, dataset=a.dataset)
    if a.mode == "signround":
        options.update(iters=a.iters)
    else:
        options.update(iters=0, disable_opt_rtn=a.mode == "rtn")
    AutoRound(model, tokenizer=tokenizer, **options).quantize_and_save(a.out, format="auto_round")
    steps = [b - a for a, b in zip(times, times[1:])]
    print(json.dumps({
        "seconds": time.perf_counter() - START,
        "iteration_seconds": statistics.median(steps) if steps else None,
        "iterations": len(times),
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }))


if __name__ == "__main__":  # AutoRound starts processes that import this file again
    main()
