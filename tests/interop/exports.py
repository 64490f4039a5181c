"""What the interop checks share: making an export with arkit, asking arkit for its logits and tokens, and judging the difference."""
import argparse
import json
import pathlib
import shutil
import subprocess

import numpy
from safetensors.numpy import load_file, save_file

MAX_RELATIVE_ERROR = 2e-2
NEW_TOKENS = 32
PROMPTS = [
    "The capital of France is Paris. The capital of Italy is Rome. The capital of Spain is",
    "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday, Monday, Tuesday,",
    "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,",
]


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with status {done.returncode}: {done.stderr.strip()[-800:]}")
    return done.stdout


class Arkit:
    def __init__(self, binary, model, work, layers=None):
        self.binary, self.model, self.work = binary, model, work
        self.cut = ["--num_hidden_layers", layers] if layers else []
        self.work.mkdir(parents=True, exist_ok=True)

    def export(self, name, options):
        out = self.work / name.replace(":", "_")
        shutil.rmtree(out, ignore_errors=True)
        run(self.binary, "quantize", self.model, "--recipe", "rtn", "--output_dir", out, *options,
            *([] if "--num_hidden_layers" in options else self.cut))
        return out

    def logits(self, export, ids):
        """ids: int64 array [rows, tokens]; the answer is float32 [rows, tokens, vocabulary]."""
        source, target = self.work / "ids.safetensors", self.work / "logits.safetensors"
        save_file({"input_ids": numpy.ascontiguousarray(ids)}, source)
        run(self.binary, "forward", export, "--input_ids", source, "--output", target, "--dtype", "float32")
        return load_file(target)["logits"].astype(numpy.float32)

    def greedy(self, export, prompt):
        answer = json.loads(run(self.binary, "generate", export, "--prompt", prompt, "--max_new_tokens", NEW_TOKENS, "--temperature", 0,
                                "--json"))
        return answer["outputs"][0]["token_ids"]


def first_ids(tokenizer):
    """Two rows of equal length made of the prompts, so that no padding is involved. tokenizer: text -> list of ids."""
    rows = [tokenizer(" ".join(PROMPTS[i:] + PROMPTS[:i])) for i in range(2)]
    length = min(map(len, rows))
    return numpy.array([row[:length] for row in rows], dtype=numpy.int64)


def relative_error(ours, theirs):
    """L2 norm of the difference over the norm of what the peer computed."""
    return float(numpy.linalg.norm(ours - theirs) / numpy.linalg.norm(theirs))


def integers(bits, *options):
    """Options of quantize for integer weights. Groups of 64, because the hidden size of SmolLM2, 576, is 9 x 64."""
    return ["--scheme", f"W{bits}A16", "--group_size", 64, *options]


def report(name, good, text):
    print(f"{'ok    ' if good else 'FAILED'} {name}: {text}", flush=True)
    return good


def parse_arguments(cases):
    p = argparse.ArgumentParser()
    p.add_argument("--arkit", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--work", type=pathlib.Path, required=True)
    p.add_argument("--layers", type=int, help="cut the model to its first blocks: a quicker look")
    p.add_argument("cases", nargs="*", metavar="CASE", help=" ".join(cases))
    return p.parse_args()


def check_all(check, cases, names):
    """Calls check(name) for every case wanted; one broken case must not hide the others. Returns the exit status."""
    names, failed = names or list(cases), 0
    for name in names:
        try:
            failed += not check(name)
        except Exception as e:
            failed += not report(name, False, f"{type(e).__name__}: {str(e)[:1000]}")
    print(f"{len(names) - failed} passed, {failed} failed")
    return int(failed > 0)
