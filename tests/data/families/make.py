#!/usr/bin/env python3
"""Tiny random checkpoints of families that arkit knows by a file alone, and what transformers computes with them.

    make.py DIR    # writes DIR/olmo2, DIR/granite, DIR/phi3; transformers 5.23.0, torch 2.13.0, one thread, eager attention
"""
import os
import sys

import torch
from safetensors.torch import save_file
from transformers import (GraniteConfig, GraniteForCausalLM, Olmo2Config, Olmo2ForCausalLM, Phi3Config, Phi3ForCausalLM)

SIZES = dict(vocab_size=64, hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=0)
MODELS = {
    "olmo2": (Olmo2ForCausalLM, Olmo2Config(**SIZES, rope_parameters={"rope_type": "default", "rope_theta": 500000.0})),
    "granite": (GraniteForCausalLM, GraniteConfig(**SIZES, embedding_multiplier=12.0, attention_multiplier=0.0625, residual_multiplier=0.22,
                                                  logits_scaling=8.0, attention_bias=True, mlp_bias=True, tie_word_embeddings=True)),
    "phi3": (Phi3ForCausalLM, Phi3Config(**SIZES, sliding_window=7,
                                         rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5})),
}


def outputs(model, case, **inputs):
    blocks, handles = {}, []
    layers = model.model.layers
    handles.append(layers[0].register_forward_pre_hook(
        lambda m, a, k: blocks.__setitem__("block_in", (a[0] if a else k["hidden_states"]).clone()), with_kwargs=True))
    for i, layer in enumerate(layers):
        handles.append(layer.register_forward_hook(
            lambda m, a, out, i=i: blocks.__setitem__(f"block_out.{i}", (out[0] if isinstance(out, tuple) else out).clone())))
    with torch.no_grad():
        logits = model(**inputs, use_cache=False).logits
    for handle in handles:
        handle.remove()
    found = {f"{case}.logits": logits.float()}
    if case == "a":
        found |= {f"a.{name}": value for name, value in blocks.items()}
    return found


def make(folder, cls, config):
    torch.manual_seed(7)
    config._attn_implementation = "eager"
    model = cls(config).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 1 and "norm" in name:
                p.copy_(1 + 0.3 * torch.randn_like(p))
            elif p.dim() == 1:
                p.copy_(0.2 * torch.randn_like(p))
            else:
                p.copy_(torch.randn_like(p) * (1.0 if "embed" in name else p.shape[-1] ** -0.5 * 1.5))
    model.save_pretrained(folder)
    ids = torch.randint(3, 64, (2, 16))
    ones = torch.ones_like(ids)
    padded, mask = ids.clone(), ones.clone()
    padded[0, :5], mask[0, :5] = 0, 0
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    expected = {"a.input_ids": ids, "a.attention_mask": ones, "b.input_ids": padded, "b.attention_mask": mask, "c.position_ids": positions}
    expected |= outputs(model, "a", input_ids=ids, attention_mask=ones)
    expected |= outputs(model, "b", input_ids=padded, attention_mask=mask, position_ids=torch.arange(16).expand(2, 16))
    expected |= outputs(model, "c", input_ids=padded, attention_mask=mask, position_ids=positions)
    save_file({k: v.contiguous() for k, v in expected.items()}, os.path.join(folder, "expected.safetensors"))
    os.remove(os.path.join(folder, "generation_config.json"))


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, (cls, config) in MODELS.items():
        make(os.path.join(sys.argv[1], name), cls, config)
