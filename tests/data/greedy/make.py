#!/usr/bin/env python3
"""make.py MODEL.gguf MODEL_DIR OUT.json: what transformers writes greedily in float32 and bfloat16, for tests/real/greedy.py.

In float32 it is the GGUF file that the test runs, taken apart in float32; in bfloat16 the Hugging Face folder that
shared/tools/gguf_to_hf.py made of it, because transformers keeps tables of positions in float32 only when it loads in bfloat16.
"""
import json
import os
import sys

import torch
import transformers

PROMPTS = ["The capital of France is", "def fibonacci(n):\n", "Once upon a time, in a small village by the sea,"]
gguf, folder, out = sys.argv[1:4]
tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
made_with = {"transformers": transformers.__version__, "torch": torch.__version__}
for dtype in (torch.float32, torch.bfloat16):
    source = (os.path.dirname(gguf), {"gguf_file": os.path.basename(gguf)}) if dtype == torch.float32 else (folder, {})
    model = transformers.AutoModelForCausalLM.from_pretrained(source[0], dtype=dtype, **source[1]).eval()
    rows = made_with[str(dtype).removeprefix("torch.")] = []
    for prompt in PROMPTS:
        ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False).input_ids  # as the original tokenizers do
        made = model.generate(ids, max_new_tokens=64, do_sample=False, repetition_penalty=1.0, output_logits=True,
                              return_dict_in_generate=True)
        best = [logits[0].float().topk(2) for logits in made.logits]
        rows.append({"prompt": prompt, "prompt_tokens": ids.shape[1], "tokens": made.sequences[0, ids.shape[1]:].tolist(),
                     "best": [b.indices.tolist() for b in best], "largest": [round(float(b.values[0]), 6) for b in best],
                     "margins": [round(float(b.values[0] - b.values[1]), 6) for b in best]})
with open(out, "w", encoding="utf-8") as file:
    json.dump(made_with, file)
    file.write("\n")
