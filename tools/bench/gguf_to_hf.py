"""Writes a GGUF model as a bfloat16 Hugging Face folder, which AutoRound needs: gguf_to_hf.py MODEL.gguf OUT."""
import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

source, out = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2]
place = dict(pretrained_model_name_or_path=str(source.parent), gguf_file=source.name)
loaded = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)

# A fresh configuration: what describes the GGUF file must not stay, and its float32 epsilon is rounded to what its author wrote.
drop = {"quantization_config", "_name_or_path", "transformers_version"}
config = type(loaded.config)(**{k: v for k, v in loaded.config.to_dict().items() if k not in drop})
config.rms_norm_eps = float(f"{config.rms_norm_eps:.1e}")
config.dtype = torch.bfloat16
model = type(loaded)(config).to(torch.bfloat16)
model.load_state_dict({name: tensor.to(torch.bfloat16) for name, tensor in loaded.state_dict().items()})
model.tie_weights()
model.save_pretrained(out)
AutoTokenizer.from_pretrained(**place).save_pretrained(out)
