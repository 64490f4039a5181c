#!/usr/bin/env python3
"""Tiny random checkpoints of families that arkit knows by a file alone, and what transformers computes with them.

    make.py DIR [NAME ...]    # writes DIR/NAME, of all families if none is named; transformers 5.23.0, torch 2.13.0, one thread, eager attention
"""
import os
import sys

import torch
import transformers
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


# Smaller still: what is to be seen are the kinds of things, not sizes.
SMALL = SIZES | dict(hidden_size=32, intermediate_size=48)
ROPE = {"rope_type": "default", "rope_theta": 10000.0}


def small(prefix, **settings):
    config = getattr(transformers, prefix + ("TextConfig" if prefix == "Gemma3" else "Config"))
    return getattr(transformers, prefix + "ForCausalLM"), config(**(SMALL | settings))


def partial(share):
    return {"rope_parameters": ROPE | {"partial_rotary_factor": share}}


MODELS |= {
    "gemma": small("Gemma", head_dim=16),
    # Scores of a size that the caps bend.
    "gemma2": small("Gemma2", head_dim=16, query_pre_attn_scalar=20, sliding_window=6, attn_logit_softcapping=3.0,
                    final_logit_softcapping=2.0),
    "gemma3_text": small("Gemma3", head_dim=16, num_hidden_layers=3, query_pre_attn_scalar=20, sliding_window=6,
                         layer_types=["sliding_attention", "sliding_attention", "full_attention"],
                         rope_parameters={"sliding_attention": ROPE,
                                          "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0}}),
    "starcoder2": small("Starcoder2", sliding_window=6),
    "stablelm": small("StableLm", use_qkv_bias=True, **partial(0.25)),
    "stablelm_parallel": small("StableLm", use_parallel_residual=True, **partial(0.5)),
    "phi": small("Phi", **partial(0.5)),
    "gpt_neox": small("GPTNeoX", num_key_value_heads=4, **partial(0.25)),
    "gpt_neox_sequential": small("GPTNeoX", num_key_value_heads=4, use_parallel_residual=False, attention_bias=False, **partial(0.5)),
    "cohere": small("Cohere", logit_scale=0.0625),
    "cohere2": small("Cohere2", logit_scale=0.25, sliding_window=6, layer_types=["sliding_attention", "full_attention"]),
    "glm": small("Glm", head_dim=8, **partial(0.5)),
    "glm4": small("Glm4", head_dim=8, **partial(0.5)),
    "smollm3": small("SmolLM3", no_rope_layers=[1, 0]),
    "seed_oss": small("SeedOss", head_dim=16, attention_out_bias=True),
    "olmo3": small("Olmo3", sliding_window=6, layer_types=["sliding_attention", "full_attention"], rope_parameters={
        "sliding_attention": ROPE, "full_attention": {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 8.0, "attention_factor": 1.2,
                                                      "original_max_position_embeddings": 64}}),
    "helium": small("Helium", head_dim=8, num_key_value_heads=4),
    "ernie4_5": small("Ernie4_5", head_dim=16, use_bias=True),
    "falcon": small("Falcon", new_decoder_architecture=True, num_kv_heads=2, ffn_hidden_size=48),
    "falcon_7b": small("Falcon", multi_query=True, parallel_attn=True, ffn_hidden_size=48, bias=True),
}


def outputs(model, case, **inputs):
    blocks, handles = {}, []
    layers = next(m for n, m in model.named_modules() if n in ("model.layers", "gpt_neox.layers", "transformer.h"))
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
            if p.dim() == 1 and ("norm" in name or ".ln_" in name) and name.endswith("weight"):
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
    for name in sys.argv[2:] or MODELS:
        make(os.path.join(sys.argv[1], name), *MODELS[name])
