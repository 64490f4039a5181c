"""Writes a llama of bfloat16 noise as sharded safetensors, to see how much memory and time a model of any size takes.

make_synthetic_llama.py OUT [--blocks N | --bytes B] [--hidden 4096] [--intermediate 11008] [--vocab 32000] [--shard_bytes 1000000000]

Standard library only. The model has no tokenizer: rounding needs none.
"""
import argparse
import json
import os
import pathlib

HEAD_SIZE = 64
NOISE_BYTES = 1 << 24


def noise():
    """16 MiB of bfloat16 values with 0.0078 <= |x| < 0.0313: a fixed upper exponent, random sign, low exponent bit and mantissa."""
    sign = bytes(0x3C | (b & 0x80) for b in range(256))
    values = bytearray(NOISE_BYTES)
    values[0::2] = os.urandom(NOISE_BYTES // 2)
    values[1::2] = os.urandom(NOISE_BYTES // 2).translate(sign)
    return bytes(values)


def block_tensors(index, a):
    prefix = f"model.layers.{index}."
    yield from ((prefix + f"self_attn.{p}_proj.weight", (a.hidden, a.hidden)) for p in "qkvo")
    yield from ((prefix + f"mlp.{p}_proj.weight", (a.intermediate, a.hidden)) for p in ("gate", "up"))
    yield prefix + "mlp.down_proj.weight", (a.hidden, a.intermediate)
    yield from ((prefix + f"{p}_layernorm.weight", (a.hidden,)) for p in ("input", "post_attention"))


def all_tensors(a):
    yield "model.embed_tokens.weight", (a.vocab, a.hidden)
    for index in range(a.blocks):
        yield from block_tensors(index, a)
    yield "model.norm.weight", (a.hidden,)


def size(shape):
    elements = 1
    for n in shape:
        elements *= n
    return 2 * elements


def shards(a):
    """Lists of (name, shape), each list at most shard_bytes unless one tensor is larger."""
    current, used = [], 0
    for name, shape in all_tensors(a):
        if current and used + size(shape) > a.shard_bytes:
            yield current
            current, used = [], 0
        current.append((name, shape))
        used += size(shape)
    yield current


def write_shard(path, tensors, values):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors:
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + size(shape)]}
        offset += size(shape)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for number, (_, shape) in enumerate(tensors):
            start, left = (number * 4098) % NOISE_BYTES, size(shape)  # each tensor starts elsewhere in the noise
            while left:
                piece = values[start:start + left]
                f.write(piece)
                start, left = 0, left - len(piece)


def config(a):
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16", "hidden_act": "silu",
        "hidden_size": a.hidden, "intermediate_size": a.intermediate, "num_hidden_layers": a.blocks,
        "num_attention_heads": a.hidden // HEAD_SIZE, "num_key_value_heads": a.hidden // HEAD_SIZE, "vocab_size": a.vocab,
        "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True,
        "attention_bias": False, "mlp_bias": False, "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.02,
    }


def make(out, a):
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps(config(a), indent=2))
    groups, values, where, total = list(shards(a)), noise(), {}, 0
    for number, tensors in enumerate(groups, 1):
        name = f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        write_shard(out / name, tensors, values)
        where.update({tensor: name for tensor, _ in tensors})
        total += sum(size(shape) for _, shape in tensors)
    (out / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": where}, indent=2))
    return total


def parser():
    p = argparse.ArgumentParser()
    p.add_argument("out")
    p.add_argument("--blocks", type=int, default=2)
    p.add_argument("--bytes", type=int, help="as many blocks as make about this many bytes")
    p.add_argument("--hidden", type=int, default=4096)
    p.add_argument("--intermediate", type=int, default=11008)
    p.add_argument("--vocab", type=int, default=32000)
    p.add_argument("--shard_bytes", type=int, default=1_000_000_000)
    return p


def main():
    a = parser().parse_args()
    if a.bytes:
        a.blocks = max(1, round((a.bytes - 2 * a.vocab * a.hidden) / sum(size(s) for _, s in block_tensors(0, a))))
    print(f"{make(a.out, a)} bytes, {a.blocks} blocks")


if __name__ == "__main__":
    main()
