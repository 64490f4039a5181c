"""Opens arkit's exports of a real model with transformers and AutoRound and compares what they compute with what arkit computes.

check_interop.py --arkit BINARY --model MODEL --work DIR [CASE ...]

For each case: `arkit quantize` (RTN), then logits on fixed ids (relative error, L2 over all logits, at most 2e-2) and 32 greedy tokens on
three prompts (equal). Both sides compute in float32: AutoRound is asked for its torch backend, because the one it picks by itself on
an Intel CPU (ARK) rounds activations to int8, which alone moves logits by 2 to 4 % (inference.md B.2); one case uses it all the same, with
a bound to match. Prints one line per case; exit status 1 when one failed. Run it with the interpreter that tools/peers.sh prints.
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoRoundConfig, AutoTokenizer

MAX_RELATIVE_ERROR = 2e-2
MAX_RELATIVE_ERROR_INT8 = 6e-2  # backends that round activations to 8 bits
NEW_TOKENS = 32
PROMPTS = [
    "The capital of France is Paris. The capital of Italy is Rome. The capital of Spain is",
    "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday, Monday, Tuesday,",
    "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,",
]
OWN_CHOICE = "W4A16-auto_round-own-backend"  # the backend AutoRound picks for this CPU
# name: (options of arkit quantize). Integers in groups of 64 because the hidden size, 576, is 9 x 64.
CASES = {
    "W4A16-auto_round": ["--scheme", "W4A16", "--format", "auto_round"],
    "W2A16-auto_round": ["--scheme", "W2A16", "--format", "auto_round"],
    "W3A16-auto_round": ["--scheme", "W3A16", "--format", "auto_round"],
    "W5A16-auto_round": ["--scheme", "W5A16", "--format", "auto_round"],
    "W6A16-auto_round": ["--scheme", "W6A16", "--format", "auto_round"],
    "W8A16-auto_round": ["--scheme", "W8A16", "--format", "auto_round"],
    "W4A16-asym-auto_round": ["--scheme", "W4A16", "--asym", "--format", "auto_round"],
    "W2A16-asym-auto_round": ["--scheme", "W2A16", "--asym", "--format", "auto_round"],
    "W3A16-asym-auto_round": ["--scheme", "W3A16", "--asym", "--format", "auto_round"],
    "W4A16-auto_round:auto_awq": ["--scheme", "W4A16", "--format", "auto_round:auto_awq"],
    "W4A16-llm_compressor": ["--scheme", "W4A16", "--format", "llm_compressor"],
    "W3A16-llm_compressor": ["--scheme", "W3A16", "--format", "llm_compressor"],
    "W8A16-llm_compressor": ["--scheme", "W8A16", "--format", "llm_compressor"],
    "FPW8A16-llm_compressor": ["--scheme", "FPW8A16", "--format", "llm_compressor"],
    OWN_CHOICE: ["--scheme", "W4A16", "--format", "auto_round"],
}


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with status {done.returncode}: {done.stderr.strip()[-800:]}")
    return done.stdout


class Arkit:
    def __init__(self, binary, model, work):
        self.binary, self.model, self.work = binary, model, work

    def export(self, name, options):
        out = self.work / name.replace(":", "_")
        shutil.rmtree(out, ignore_errors=True)
        groups = ["--group_size", 64] if options[1].startswith("W") else []
        run(self.binary, "quantize", self.model, "--recipe", "rtn", *groups, "--output_dir", out, *options)
        return out

    def logits(self, export, ids):
        source, target = self.work / "ids.safetensors", self.work / "logits.safetensors"
        save_file({"input_ids": ids.contiguous()}, source)
        run(self.binary, "forward", export, "--input_ids", source, "--output", target, "--dtype", "float32")
        return load_file(target)["logits"].float()

    def greedy(self, export, prompt):
        answer = json.loads(run(self.binary, "generate", export, "--prompt", prompt, "--max_new_tokens", NEW_TOKENS, "--temperature", 0,
                                "--json"))
        return answer["outputs"][0]["token_ids"]


def first_ids(tokenizer):
    """Two rows of equal length made of the prompts, so that no padding is involved."""
    rows = [tokenizer(" ".join(PROMPTS[i:] + PROMPTS[:i])).input_ids for i in range(2)]
    length = min(map(len, rows))
    return torch.tensor([row[:length] for row in rows], dtype=torch.int64)


def peer_greedy(model, tokenizer, prompt):
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    with torch.no_grad():
        out = model.generate(ids, max_new_tokens=NEW_TOKENS, do_sample=False, attention_mask=torch.ones_like(ids))
    return out[0, ids.shape[1]:].tolist()


def near_tie(model, tokenizer, prompt, ours, theirs, tolerance):
    """Is the first token that differs one that the peer's logits put within the tolerance of its own choice?"""
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), None)
    if at is None:
        return False  # one side stopped early
    ids = torch.tensor([tokenizer(prompt).input_ids + theirs[:at]])
    with torch.no_grad():
        logits = model(ids).logits[0, -1].float()
    return (logits[theirs[at]] - logits[ours[at]]).item() <= tolerance * logits.abs().max().item()


def check(arkit, name):
    export = arkit.export(name, CASES[name])
    tokenizer = AutoTokenizer.from_pretrained(export)
    own_choice = name == OWN_CHOICE
    # Only the integer packings of AutoRound's format have more than one backend to choose from.
    choice = name.startswith("W") and "auto_round" in name and not own_choice
    config = {"quantization_config": AutoRoundConfig(backend="torch")} if choice else {}
    model = AutoModelForCausalLM.from_pretrained(export, dtype=torch.float32, **config).eval()
    ids = first_ids(tokenizer)
    with torch.no_grad():
        theirs = model(ids).logits.float()
    ours = arkit.logits(export, ids)
    error = ((ours - theirs).norm() / theirs.norm()).item()
    # Whether the end-of-text token itself is reported is a matter of taste.
    text = lambda tokens: [t for t in tokens if t != tokenizer.eos_token_id]
    bound = MAX_RELATIVE_ERROR_INT8 if own_choice else MAX_RELATIVE_ERROR
    different, ties = [], 0
    for prompt in PROMPTS:
        a, b = text(arkit.greedy(export, prompt)), text(peer_greedy(model, tokenizer, prompt))
        if a == b:
            continue
        if near_tie(model, tokenizer, prompt, a, b, bound):
            ties += 1
        else:
            different.append(prompt)
    shutil.rmtree(export)
    good = error <= bound and not different
    print(f"{'ok    ' if good else 'FAILED'} {name}: relative error of logits {error:.2e}, greedy tokens "
          f"{'equal' if not different else 'differ for ' + str(different)}{f' but for {ties} near tie(s)' if ties else ''}", flush=True)
    return good


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--arkit", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--work", type=pathlib.Path, required=True)
    p.add_argument("cases", nargs="*", metavar="CASE", help=" ".join(CASES))
    a = p.parse_args()
    a.work.mkdir(parents=True, exist_ok=True)
    arkit, failed = Arkit(a.arkit, a.model, a.work), 0
    names = a.cases or list(CASES)
    for name in names:
        try:
            failed += not check(arkit, name)
        except Exception as e:  # one broken case must not hide the others
            print(f"FAILED {name}: {type(e).__name__}: {str(e)[:1000]}", flush=True)
            failed += 1
    print(f"{len(names) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
