"""A small random model of the family qwen3 whose rows all hold whole blocks of 256, with the tokenizer of another model."""
import json
import shutil

import numpy
from safetensors.numpy import save_file

from exports import run

HIDDEN, INTERMEDIATE, HEADS, KV_HEADS, HEAD_DIM, BLOCKS = 256, 512, 4, 2, 64, 2


def write_qwen3(folder, arkit, model):
    """Writes the folder unless it is there, and returns it. model: whose tokenizer it gets; arkit writes that as files of an export."""
    if (folder / "model.safetensors").exists():
        return folder
    donor = folder.with_name("tokenizer")
    shutil.rmtree(donor, ignore_errors=True)
    run(arkit, "quantize", model, "--recipe", "rtn", "--scheme", "W8A16", "--format", "auto_round", "--num_hidden_layers", 1, "--output_dir", donor)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(donor / name, folder / name)
    theirs = json.loads((donor / "config.json").read_text())
    shutil.rmtree(donor)
    vocabulary = theirs["vocab_size"]
    config = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": HIDDEN, "intermediate_size": INTERMEDIATE,
              "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM, "num_hidden_layers": BLOCKS,
              "vocab_size": vocabulary, "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "hidden_act": "silu",
              "attention_bias": False, "tie_word_embeddings": True, "bos_token_id": theirs.get("bos_token_id"),
              "eos_token_id": theirs.get("eos_token_id"), "torch_dtype": "float32"}
    random = numpy.random.default_rng(1)

    def matrix(rows, columns):
        return (random.standard_normal((rows, columns)) / numpy.sqrt(columns)).astype(numpy.float32)

    def gains(size):
        return (1 + 0.1 * random.standard_normal(size)).astype(numpy.float32)

    tensors = {"model.embed_tokens.weight": matrix(vocabulary, HIDDEN), "model.norm.weight": gains(HIDDEN)}
    for block in range(BLOCKS):
        at = f"model.layers.{block}."
        tensors |= {at + "input_layernorm.weight": gains(HIDDEN), at + "post_attention_layernorm.weight": gains(HIDDEN),
                    at + "self_attn.q_norm.weight": gains(HEAD_DIM), at + "self_attn.k_norm.weight": gains(HEAD_DIM),
                    at + "self_attn.q_proj.weight": matrix(HEADS * HEAD_DIM, HIDDEN), at + "self_attn.k_proj.weight": matrix(KV_HEADS * HEAD_DIM, HIDDEN),
                    at + "self_attn.v_proj.weight": matrix(KV_HEADS * HEAD_DIM, HIDDEN), at + "self_attn.o_proj.weight": matrix(HIDDEN, HEADS * HEAD_DIM),
                    at + "mlp.gate_proj.weight": matrix(INTERMEDIATE, HIDDEN), at + "mlp.up_proj.weight": matrix(INTERMEDIATE, HIDDEN),
                    at + "mlp.down_proj.weight": matrix(HIDDEN, INTERMEDIATE)}
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder
