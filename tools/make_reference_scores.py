#!/usr/bin/env python3
"""Writes tests/data/autoscheme/reference_scores.json: AutoRound 0.16.1's own scores of two tiny models.

Run with a Python that has auto-round 0.16.1:  python tools/make_reference_scores.py

The scorer is called as its AutoScheme does, weights only on the CPU in float32, with token ids that the C++ test makes
by the same formula (score_testing.h).
"""
import json
import pathlib

import torch
from auto_round.auto_scheme import delta_loss
from auto_round.auto_scheme.utils import apply_quant_scheme, remove_quant_scheme
from auto_round.schemes import preset_name_to_scheme
from transformers import AutoModelForCausalLM

ROOT = pathlib.Path(__file__).resolve().parent.parent
SAMPLES, SEQLEN = 16, 32
OPTIONS = ("W2A16", "W4A16", "W8A16", "MXFP4", "MXFP8", "INT8")
MODELS = ("llama", "qwen3")


def token_ids():
    flat = [(i * 7919 + i * i % 31) % 251 for i in range(SAMPLES * SEQLEN)]
    return torch.tensor(flat).view(SAMPLES, SEQLEN)


def scheme_of(name):
    scheme = dict(preset_name_to_scheme(name))
    if scheme["data_type"] == "int" and scheme["group_size"] > 0:
        scheme["group_size"] = 32
    return scheme


def scores(folder, option, batch_size):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    names = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and ".layers." in n]
    batches = [{"input_ids": ids} for ids in token_ids().split(batch_size)]
    delta_loss.get_dataloader = lambda *args, **kwargs: batches
    apply_quant_scheme(model, names, {}, scheme_of(option))
    found = delta_loss.get_score_for_scheme(
        model, None, names, {}, "", batch_size=batch_size, need_weight_grad=True, enable_torch_compile=False,
        low_gpu_mem_usage=True, major_device="cpu")
    remove_quant_scheme(model)
    return {name: found[name][1] for name in names}


def main():
    out = {"source": "auto-round 0.16.1", "samples": SAMPLES, "seqlen": SEQLEN, "group_size": 32, "cases": []}
    for model in MODELS:
        for option in OPTIONS:
            for batch_size in (1, 4) if option == "W4A16" else (1,):
                folder = ROOT / "tests/data/models" / model
                case = {"model": model, "option": option, "batch_size": batch_size,
                        "scores": scores(folder, option, batch_size)}
                out["cases"].append(case)
                print(model, option, batch_size, sum(case["scores"].values()))
    target = ROOT / "tests/data/autoscheme/reference_scores.json"
    target.write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
