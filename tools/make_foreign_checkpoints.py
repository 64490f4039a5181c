#!/usr/bin/env python3
"""Writes the tiny GPTQ and AWQ checkpoints of tests/data/foreign: what tools other than arkit and AutoRound leave.

Usage: tools/make_foreign_checkpoints.py tests/data/foreign        (needs numpy)

Random weights of a one-block Llama are rounded here, packed by the formulas of docs/spec/packing.md 1 to 4, and written beside
"expected.safetensors": codes, zero points, scales and the group of each input as they were before packing.
"""
import json
import pathlib
import struct
import sys

import numpy as np

HIDDEN, INTER, HEADS, VOCAB = 64, 96, 4, 32
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "attention_bias": False, "bos_token_id": 1, "dtype": "float16", "eos_token_id": 2,
    "head_dim": HIDDEN // HEADS, "hidden_act": "silu", "hidden_size": HIDDEN, "intermediate_size": INTER,
    "max_position_embeddings": 64, "mlp_bias": False, "model_type": "llama", "num_attention_heads": HEADS,
    "num_hidden_layers": 1, "num_key_value_heads": HEADS, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
    "tie_word_embeddings": False, "vocab_size": VOCAB}
LAYERS = {"self_attn.q_proj": (HIDDEN, HIDDEN), "self_attn.k_proj": (HIDDEN, HIDDEN), "self_attn.v_proj": (HIDDEN, HIDDEN),
          "self_attn.o_proj": (HIDDEN, HIDDEN), "mlp.gate_proj": (INTER, HIDDEN), "mlp.up_proj": (INTER, HIDDEN),
          "mlp.down_proj": (HIDDEN, INTER)}
AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]
DTYPES = {"float16": "F16", "float32": "F32", "int32": "I32", "uint8": "U8"}


def write_safetensors(path, tensors):
    header, body = {"__metadata__": {"format": "pt"}}, b""
    for name, array in tensors.items():
        data = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": DTYPES[array.dtype.name], "shape": list(array.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def bit_stream(codes, bits):
    """Codes along the last axis, a multiple of 32 of them, to little-endian 32-bit words."""
    numbers = codes.astype(np.uint64)
    words = np.zeros(codes.shape[:-1] + (codes.shape[-1] * bits // 32,), np.uint64)
    for i in range(codes.shape[-1]):
        word, offset = i * bits // 32, i * bits % 32
        words[..., word] |= (numbers[..., i] << np.uint64(offset)) & np.uint64(0xFFFFFFFF)
        if offset + bits > 32:
            words[..., word + 1] |= numbers[..., i] >> np.uint64(32 - offset)
    return words.astype(np.uint32).view(np.int32)


def interleaved(codes):
    return codes.reshape(codes.shape[:-1] + (-1, 8))[..., AWQ_ORDER].reshape(codes.shape)


def rounded(rng, out, size, bits, group, sym, act_order):
    """Codes [out, in], zero points [out, groups], scales F16 [out, groups], the group of each input."""
    groups = -(-size // group)
    index = np.arange(size) // group
    if act_order:
        index = index[np.argsort(np.argsort(rng.random(size)))]  # the group of the place an input gets in the order
    weight = rng.normal(0, 0.05, (out, size))
    top = 2**bits - 1
    scale, zero = np.zeros((out, groups), np.float16), np.zeros((out, groups), np.uint8)
    codes = np.zeros((out, size), np.uint8)
    for g in range(groups):
        part = weight[:, index == g]
        low, high = np.minimum(part.min(1), -1e-3), np.maximum(part.max(1), 1e-3)
        if sym:
            scale[:, g] = (np.maximum(-low, high) * 2 / top).astype(np.float16)
            zero[:, g] = 2**(bits - 1)
        else:
            scale[:, g] = ((high - low) / top).astype(np.float16)
            zero[:, g] = np.clip(np.rint(-low / scale[:, g].astype(np.float64)), 1, top)
        levels = np.rint(part / scale[:, g:g + 1].astype(np.float64)) + zero[:, g:g + 1]
        codes[:, index == g] = np.clip(levels, 0, top).astype(np.uint8)
    return codes, zero, scale, index.astype(np.int32)


def gptq_tensors(codes, zero, scale, index, bits, stored_index, v2=False):
    minus = 0 if v2 else 1
    return {"qweight": np.ascontiguousarray(bit_stream(codes, bits).T), "qzeros": bit_stream((zero - minus).T, bits),
            "scales": np.ascontiguousarray(scale.T), "g_idx": np.zeros_like(index) if stored_index == "zeros" else index}


def awq_tensors(codes, zero, scale, bits):
    return {"qweight": bit_stream(interleaved(np.ascontiguousarray(codes.T)), bits),
            "qzeros": bit_stream(interleaved(np.ascontiguousarray(zero.T)), bits), "scales": np.ascontiguousarray(scale.T)}


def write(folder, seed, layout, bits, group, sym, in_config=None, own_file=None, act_order=False, stored_index="real", v2=False):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    config = dict(CONFIG)
    if in_config:
        config["quantization_config"] = in_config
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    if own_file:
        (folder / own_file[0]).write_text(json.dumps(own_file[1], indent=2) + "\n")
    plain = lambda *shape: rng.normal(0, 0.05, shape).astype(np.float16)
    tensors = {"model.embed_tokens.weight": plain(VOCAB, HIDDEN), "lm_head.weight": plain(VOCAB, HIDDEN), "model.norm.weight": plain(HIDDEN) + np.float16(1),
               "model.layers.0.input_layernorm.weight": plain(HIDDEN) + np.float16(1),
               "model.layers.0.post_attention_layernorm.weight": plain(HIDDEN) + np.float16(1)}
    expected = {}
    for layer, (out, size) in LAYERS.items():
        codes, zero, scale, index = rounded(rng, out, size, bits, size if group == -1 else group, sym, act_order)
        name = f"model.layers.0.{layer}."
        packed = awq_tensors(codes, zero, scale, bits) if layout == "awq" else gptq_tensors(codes, zero, scale, index, bits, stored_index, v2)
        tensors.update({name + suffix: array for suffix, array in packed.items()})
        expected.update({name + "codes": codes, name + "zeros": zero, name + "scales": scale, name + "index": index})
    write_safetensors(folder / "model.safetensors", tensors)
    write_safetensors(folder / "expected.safetensors", expected)


def main():
    root = pathlib.Path(sys.argv[1])
    gptq = {"quant_method": "gptq", "damp_percent": 0.01, "true_sequential": True}
    # An old AutoGPTQ folder: its own file, no quant_method, act order, asymmetric.
    write(root / "gptq-4bit-act-order", 1, "gptq", 4, 32, False, act_order=True,
          own_file=("quantize_config.json", {"bits": 4, "group_size": 32, "damp_percent": 0.1, "desc_act": True, "static_groups": False,
                                             "sym": False, "true_sequential": True, "model_name_or_path": None, "model_file_base_name": "model"}))
    # GPTQModel: version 2, act order, 3 bits; neither sym nor group_size said.
    write(root / "gptq_v2-3bit-act-order", 2, "gptq", 3, 32, True, act_order=True, v2=True,
          in_config={**gptq, "bits": 3, "desc_act": True, "checkpoint_format": "gptq_v2", "pack_dtype": "int32", "meta": {"quantizer": ["gptqmodel:4.0.0"]}})
    # Act order with static groups: groups are runs all the same.
    write(root / "gptq-8bit-static-groups", 3, "gptq", 8, 32, True,
          in_config={**gptq, "bits": 8, "group_size": 32, "desc_act": True, "static_groups": True, "sym": True, "dynamic": {"-:.*lm_head.*": False}})
    # g_idx never filled, one group a row.
    write(root / "gptq-2bit-zero-index", 4, "gptq", 2, 32, True, stored_index="zeros",
          in_config={**gptq, "bits": 2, "group_size": 32, "desc_act": False, "format": "gptq"})
    # AutoAWQ before it wrote into config.json.
    write(root / "awq-4bit", 5, "awq", 4, 32, False,
          own_file=("quant_config.json", {"zero_point": True, "q_group_size": 32, "w_bit": 4, "version": "GEMM"}))


if __name__ == "__main__":
    main()
