#!/usr/bin/env python3
"""greedy.py ARKIT MODEL GOLDEN OUT: 64 greedy tokens of each prompt, token by token as transformers wrote them in the same type.

Two programs add in other orders, so that two logits that are hardly told apart may change places. That is the one difference allowed:
where the golden file has the two largest logits no further apart than steps at their size, arkit may take the other. Texts part
there; where and at what margin is printed, and what follows is not compared. In bfloat16 a step is one of its own: near ties come every few
dozen tokens, and on processors that have no instructions for it LibTorch adds in an order that was seen 3 steps away. In float32 it is what rounding adds up to on the way through a model, and texts are equal to their ends.
"""
import json
import math
import subprocess
import sys

STEP_BITS = {"float32": 14, "bfloat16": 7}
STEPS = {"float32": 1, "bfloat16": 4}  # of a tie

arkit, model, golden_file, out = sys.argv[1:5]
golden = json.load(open(golden_file, encoding="utf-8"))


def written(dtype):
    command = [arkit, "generate", model, "--json", "--dtype", dtype, "--backend", "torch", "--max_new_tokens", "64"]
    for row in golden[dtype]:
        command += ["--prompt", row["prompt"]]
    with open(out, "w", encoding="utf-8") as file:
        subprocess.run(command, stdout=file, stderr=subprocess.DEVNULL, check=True)
    return json.load(open(out, encoding="utf-8"))["outputs"]


def compare(dtype, row, output):
    """"equal", "tie" or "wrong", and says which."""
    where, got, expected = f"{dtype}, {row['prompt']!r}", output["token_ids"], row["tokens"]
    if output["prompt_tokens"] != row["prompt_tokens"]:
        print(f"{where}: {output['prompt_tokens']} tokens in the prompt, transformers has {row['prompt_tokens']}")
        return "wrong"
    if got == expected:
        print(f"{where}: {len(got)} tokens equal")
        return "equal"
    at = next((i for i, (a, b) in enumerate(zip(got, expected)) if a != b), None)
    if at is None:
        print(f"{where}: {len(got)} tokens, transformers has {len(expected)}")
        return "wrong"
    margin, best, largest = row["margins"][at], row["best"][at], row["largest"][at]
    step = 2.0 ** (math.floor(math.log2(abs(largest))) - STEP_BITS[dtype])
    result = "tie" if margin <= STEPS[dtype] * step and got[at] in best else "wrong"
    print(f"{where}: token {at} is {got[at]}, transformers has {expected[at]}; its best are {best}, {margin} apart at {largest} (a step is "
          f"{step}): {result}")
    return result


results = {dtype: [compare(dtype, row, output) for row, output in zip(golden[dtype], written(dtype), strict=True)] for dtype in STEP_BITS if dtype in golden}
faults = [r for each in results.values() for r in each if r == "wrong"]
if not any("equal" in each for each in results.values()):
    print("no text was compared to its end")
    faults.append("ties")
sys.exit(1 if faults else 0)
