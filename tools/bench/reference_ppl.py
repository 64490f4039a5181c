"""Perplexity by transformers: reference_ppl.py MODEL IDS.safetensors [--windows 40] [--seqlen 512]; prints the number.

Windows follow each other without overlap, each scores its tokens 1 to seqlen - 1; perplexity = exp(sum of losses / count); float32.
"""
import argparse
import math

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

p = argparse.ArgumentParser()
p.add_argument("model")
p.add_argument("ids")
p.add_argument("--windows", type=int, default=40)
p.add_argument("--seqlen", type=int, default=512)
a = p.parse_args()

ids = load_file(a.ids)["input_ids"]
model = AutoModelForCausalLM.from_pretrained(a.model, dtype=torch.float32).eval()
loss = 0.0
with torch.no_grad():
    for window in range(a.windows):
        x = ids[window * a.seqlen:(window + 1) * a.seqlen]
        logits = model(x[None]).logits[0, :-1].float()
        loss += torch.nn.functional.cross_entropy(logits, x[1:], reduction="sum").item()
print(math.exp(loss / (a.windows * (a.seqlen - 1))))
