#!/usr/bin/env python3
"""arkit behind lm-eval, and lm-eval's own model of transformers: the same numbers?

    check_lm_eval.py --arkit ARKIT --work DIR --model MODEL [--text FILE.jsonl] [--limit N] [CASE...]

Run by an interpreter that has lm-eval, transformers and torch. MODEL, a Hugging Face folder or a GGUF file, becomes a folder of plain
bfloat16 weights, and one of weights rounded to 4 bits: packed for arkit, as real numbers (format fake) for transformers. Then
LAMBADA's question is put to each by `arkit eval lm` over the server and by `--eval_backend hf`. Without --text, a text of its own is
asked, of 40 sentences: enough to see a token that is scored at another place.

Exit status 0 passed, 1 failed.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
PERPLEXITY, ERRORS = 0.005, 1.0  # relative; of the accuracy in its standard errors


def arkit(args, work, *words):
    environment = dict(os.environ, HF_HUB_OFFLINE="1", HF_DATASETS_CACHE=str(work / "datasets"), HF_DATASETS_OFFLINE="1")
    run = subprocess.run([args.arkit, *map(str, words), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    if run.returncode != 0:
        sys.exit(f"arkit {' '.join(map(str, words))} ended with {run.returncode}:\n{run.stderr.decode()[-3000:]}\n{run.stdout.decode()[-1000:]}")
    return json.loads(run.stdout)


def own_texts(path):
    demo = (HERE.parents[1] / "share/demo/text.txt").read_text(encoding="utf-8")
    sentences = [" ".join(s.split()) for s in demo.replace("\n", " ").split(". ")]
    rows = [{"text": s} for s in sentences if 8 <= len(s.split()) <= 60][:40]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def numbers(args, work, model, tasks, backend):
    words = ["eval", "lm", model, "--tasks", "lambada_local", "--include_path", tasks, "--python", sys.executable, "--eval_backend", backend,
             "--eval_model_dtype", "float32", "--no_add_bos_token"]
    if backend == "hf":
        words += ["--eval_bs", 8, "--device", "cpu"]
    if args.limit:
        words += ["--limit", args.limit]
    found = arkit(args, work, *words)["results"]["lambada_local"]
    return {name.split(",")[0]: value for name, value in found.items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--arkit", required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--text", type=pathlib.Path)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--model", required=True)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="BF16, W4A16; all when none is named")
    args = parser.parse_args()
    work = args.work.resolve()
    tasks = work / "tasks"
    tasks.mkdir(parents=True, exist_ok=True)
    text = args.text.resolve() if args.text else own_texts(work / "texts.jsonl")
    task = (HERE / "lambada_local.yaml").read_text(encoding="utf-8").replace("@FILE@", str(text))
    (tasks / "lambada_local.yaml").write_text(task, encoding="utf-8")
    failed = False
    name = pathlib.Path(args.model).stem
    for scheme, formats in (("BF16", ["fake"]), ("W4A16", ["auto_round", "fake"])):
        if args.cases and scheme not in args.cases:
            continue
        folder = work / f"{name}-{scheme}"
        if not folder.exists():
            arkit(args, work, "quantize", args.model, "--scheme", scheme, "--recipe", "rtn", "--format", ",".join(formats), "--group_size", 64,
                  "--output_dir", folder)
        ours, theirs = (numbers(args, work, folder / f if len(formats) > 1 else folder, tasks, backend)
                        for f, backend in ((formats[0], "arkit"), (formats[-1], "hf")))
        apart = abs(ours["perplexity"] / theirs["perplexity"] - 1)
        errors = abs(ours["acc"] - theirs["acc"]) / max(theirs["acc_stderr"] or 0, 1e-9)
        good = apart <= PERPLEXITY and errors <= ERRORS
        failed = failed or not good
        print(f"{name} {scheme}: perplexity {ours['perplexity']:.4f}, hf {theirs['perplexity']:.4f} ({apart:.2%} apart); "
              f"accuracy {ours['acc']:.4f}, hf {theirs['acc']:.4f} +- {theirs['acc_stderr']:.4f}{'' if good else ': FAILED'}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
