"""Perplexity of every scheme under every recipe, arkit's exports beside AutoRound's, all of them evaluated by arkit.

quality.py --peer PYTHON --model DIR --shared DIR --work DIR [--recipes rtn opt_rtn signround] [--schemes W4A16 ...] [--windows 40]

Prints one line per cell as it is known, and a table at the end. Both programs get the same calibration; SignRound runs 50 iterations on a
small set (--calibration 32 256 4: samples, tokens of each, samples in a batch), so that the table takes hours on two cores and not a day. A
cell that either program refuses says so.
"""
import argparse
import pathlib
import re
import shutil

from bench import HERE, Run

# Integers in groups of 64: the hidden size of SmolLM2, 576, is 9 x 64.
SCHEMES = {"W8A16": 64, "W4A16": 64, "W3A16": 64, "W2A16": 64, "MXFP4": 0, "MXFP8": 0, "MXINT4": 0, "NVFP4": 0, "FP8_STATIC": 0,
           "FPW8A16": 0, "FP8_BLOCK": 0}
RECIPES = ("rtn", "opt_rtn", "signround")


class Quality:
    def __init__(self, args):
        self.a = args
        self.work = pathlib.Path(args.work).resolve()
        self.data = pathlib.Path(args.shared).resolve() / "data"
        samples, tokens, batch = args.calibration
        self.calibration = ["--dataset", self.data / "wikitext2_valid.json", "--nsamples", samples, "--seqlen", tokens, "--batch_size", batch]

    def perplexity(self, folder):
        folder = next(folder.rglob("config.json")).parent  # AutoRound adds a folder of its own to the one it is given
        run = Run(["arkit", "eval", "ppl", folder, "--ids", self.data / "wikitext2_test.smollm2_ids.safetensors", "--seqlen", 512,
                   "--max_windows", self.a.windows, "--json"])
        shutil.rmtree(self.work / "export", ignore_errors=True)
        return run.json()["perplexity"]

    def arkit(self, scheme, group, recipe):
        options = ["--iters", 50] if recipe == "signround" else ["--recipe", recipe.replace("_", "-")]
        groups = ["--group_size", group] if group else []
        Run(["arkit", "quantize", self.a.model, "--scheme", scheme, *groups, "--format", "auto_round", "--output_dir", self.work / "export",
             "--force", *self.calibration, *options])
        return self.perplexity(self.work / "export")

    def reference(self, scheme, group, recipe):
        Run([self.a.peer, HERE / "reference_quantize.py", self.a.model, self.work / "export", "--mode", recipe, "--iters", 50, "--scheme",
             scheme, "--group_size", group, *self.calibration])
        return self.perplexity(self.work / "export")

    def cell(self, program, *what):
        shutil.rmtree(self.work / "export", ignore_errors=True)
        try:
            return program(*what)
        except SystemExit as refused:  # Run ends the process with the program's last words
            print("   ", re.sub(r"\s+", " ", str(refused))[-300:], flush=True)
            return None


def show(ours, theirs):
    text = ["-" if v is None else f"{v:.2f}" for v in (ours, theirs)]
    change = f" ({100 * (ours / theirs - 1):+.1f} %)" if ours and theirs else ""
    return f"{text[0]} / {text[1]}{change}"


def main():
    p = argparse.ArgumentParser()
    for name in ("--peer", "--model", "--shared", "--work"):
        p.add_argument(name, required=True)
    p.add_argument("--windows", type=int, default=40)
    p.add_argument("--calibration", nargs=3, type=int, default=[32, 256, 4], metavar=("SAMPLES", "TOKENS", "BATCH"))
    p.add_argument("--recipes", nargs="*", default=RECIPES, choices=RECIPES)
    p.add_argument("--schemes", nargs="*", default=list(SCHEMES), choices=list(SCHEMES))
    a = p.parse_args()
    quality, cells = Quality(a), {}
    for recipe in a.recipes:
        for scheme in a.schemes:
            what = (scheme, SCHEMES[scheme], recipe)
            cells[scheme, recipe] = show(quality.cell(quality.arkit, *what), quality.cell(quality.reference, *what))
            print(f"==> {scheme} {recipe}: {cells[scheme, recipe]}", flush=True)
    print("\n| scheme | " + " | ".join(a.recipes) + " |\n| --- |" + " --- |" * len(a.recipes))
    for scheme in a.schemes:
        print(f"| {scheme} | " + " | ".join(cells[scheme, recipe] for recipe in a.recipes) + " |")


if __name__ == "__main__":
    main()
