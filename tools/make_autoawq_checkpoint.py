#!/usr/bin/env python3
"""Makes tests/data/foreign/autoawq-0.2.9 with AutoAWQ itself: a tiny random llama, quantized as users do it.

AutoAWQ is no longer maintained and needs old neighbours. Beside an installed torch and accelerate:

  pip install --no-deps --no-build-isolation --target SITE autoawq==0.2.9 transformers==4.51.3 tokenizers==0.21.1 huggingface-hub==0.30.2
  PYTHONPATH=SITE tools/make_autoawq_checkpoint.py OUTPUT

Its calibration samples are token ids, so that it needs no `datasets`, which it imports all the same.
"""
import importlib.machinery
import pathlib
import sys
import tempfile
import types

datasets = types.ModuleType("datasets")
datasets.__spec__ = importlib.machinery.ModuleSpec("datasets", None)
datasets.load_dataset = None
datasets.__version__ = "0"
sys.modules["datasets"] = datasets

import torch
from awq import AutoAWQForCausalLM
from awq.utils.packing_utils import dequantize_gemm
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

GROUP = 32


def main(output: pathlib.Path) -> None:
    torch.manual_seed(7)
    torch.set_num_threads(1)
    # Outputs are multiples of 64, which its search for clipping asks for.
    config = LlamaConfig(vocab_size=128, hidden_size=64, intermediate_size=128, num_hidden_layers=1, num_attention_heads=4,
                         num_key_value_heads=4, max_position_embeddings=128, tie_word_embeddings=False, bos_token_id=1,
                         eos_token_id=2)
    with tempfile.TemporaryDirectory() as source:
        LlamaForCausalLM(config).half().save_pretrained(source)
        model = AutoAWQForCausalLM.from_pretrained(source, device_map="cpu", torch_dtype=torch.float32)
        samples = [[int(x) for x in torch.randint(3, 128, (64,))] for _ in range(8)]
        model.quantize(None, quant_config={"zero_point": True, "q_group_size": GROUP, "w_bit": 4, "version": "GEMM"},
                       calib_data=samples, max_calib_samples=8, max_calib_seq_len=64)
        model.save_quantized(str(output))
    stored = load_file(output / "model.safetensors")
    expected = {}
    for name in [key.removesuffix(".qweight") for key in stored if key.endswith(".qweight")]:
        parts = [stored[f"{name}.{part}"] for part in ("qweight", "qzeros", "scales")]
        expected[f"{name}.weight"] = dequantize_gemm(*parts, 4, GROUP).t().contiguous()
    (output / "expected").mkdir(exist_ok=True)
    save_file(expected, output / "expected" / "weights.safetensors")


main(pathlib.Path(sys.argv[1]))
