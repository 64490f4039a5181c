"""Opens arkit's GGUF files of real models with llama.cpp and compares what it says of them with what arkit says.

check_llama.py --arkit BINARY --model MODEL --work DIR [--layers N] [CASE ...]

A case is MODEL-PRESET, as smollm2-q4_k_m. Each file is loaded, and llama.cpp warns of nothing; it generates; its perplexity on a text is that of `arkit eval ppl` on the same file within 1 %; its tokens of
texts in many languages are arkit's. Models: the one given, Qwen2.5-Coder-0.5B where $ARKIT_QWEN05 names its file, and a small one of the family
qwen3, made here, whose rows all hold whole blocks of 256. Run it with the interpreter that `tools/peers.sh llama` prints.
"""
import ctypes
import json
import os
import pathlib
import sys

import llama_cpp
import numpy

from exports import Arkit, check_all, parse_arguments, report, run
from tiny_qwen3 import write_qwen3

PRESETS = ["q2_k", "q2_k_s", "q3_k_s", "q3_k_m", "q3_k_l", "q4_0", "q4_1", "q4_k_s", "q4_k_m", "q5_0", "q5_1", "q5_k_s", "q5_k_m", "q6_k", "q8_0",
           "iq4_nl", "iq4_xs", "f16", "bf16", "f32"]
MODELS = ["smollm2", "qwen2", "qwen3"]
CASES = [f"{model}-{preset}" for model in MODELS for preset in PRESETS]
MAX_RELATIVE_PERPLEXITY = 0.01
WINDOW, WINDOWS, NEW_TOKENS = 256, 16, 16
TESTS = pathlib.Path(__file__).parent.parent
WARN, ERROR = 3, 4  # ggml_log_level

warnings = []


@llama_cpp.llama_log_callback
def log(level, text, _):
    if level in (WARN, ERROR):
        warnings.append(text.decode(errors="replace").strip())


def load(file):
    """The model, and what llama.cpp warned of while it read the file. That our context is shorter than the model's is no fault of the file."""
    warnings.clear()
    llama_cpp.llama_log_set(log, ctypes.c_void_p(0))
    model = llama_cpp.Llama(model_path=str(file), n_ctx=WINDOW, n_batch=WINDOW, logits_all=True, verbose=False, n_threads=os.cpu_count())
    llama_cpp.llama_log_set(log, ctypes.c_void_p(0))
    return model, [w for w in warnings if w and "n_ctx" not in w]


def perplexity(model, ids):
    nll = []
    for start in range(0, WINDOW * WINDOWS, WINDOW):
        window = ids[start:start + WINDOW]
        model.reset()
        model.eval(window)
        logits = numpy.array(model.scores[:WINDOW - 1], dtype=numpy.float64)
        logits -= logits.max(axis=1, keepdims=True)
        nll.append(numpy.log(numpy.exp(logits).sum(axis=1)) - logits[numpy.arange(WINDOW - 1), window[1:]])
    return float(numpy.exp(numpy.concatenate(nll).mean()))


def written(model, ids):
    """Tokens llama.cpp writes greedily after ids."""
    model.reset()
    out = []
    for token in model.generate(ids, temp=0.0):
        out.append(int(token))
        if len(out) == NEW_TOKENS:
            return out


class Checks:
    def __init__(self, arguments):
        self.a = arguments
        self.texts = json.loads((TESTS / "data" / "text" / "tokenizer_vectors.json").read_text())["texts"]
        self.prose = self.a.work / "prose.txt"
        self.a.work.mkdir(parents=True, exist_ok=True)
        self.prose.write_text("\n".join((TESTS.parent / "docs" / name).read_text() for name in ("CALIBRATION.md", "EVALUATION.md", "SERVER.md")))

    def source(self, model):
        if model == "smollm2":
            return self.a.model
        if model == "qwen2":
            return os.environ.get("ARKIT_QWEN05")
        return write_qwen3(self.a.work / "qwen3", self.a.arkit, self.a.model)

    def tokens_differ(self, model, file):
        """The first text whose tokens differ, or nothing."""
        for text in filter(None, self.texts):
            ours = self.arkit_tokens(file, text)
            theirs = model.tokenize(text.encode(), add_bos=False, special=True)
            if ours != theirs:
                return f"tokens of {text!r}: arkit {ours[:12]}, llama.cpp {theirs[:12]}"
        return ""

    def arkit_tokens(self, file, text):
        source = self.a.work / "text.txt"
        source.write_bytes(text.encode())
        return json.loads(run(self.a.arkit, "tokenize", file, "--text_file", source, "--json"))["ids"]

    def __call__(self, case):
        name, preset = case.split("-", 1)
        source = self.source(name)
        if not source:
            print(f"skipped {case}: $ARKIT_QWEN05 names no file", flush=True)
            return True
        arkit = Arkit(self.a.arkit, source, self.a.work, self.a.layers)
        folder = arkit.export(case, ["--format", f"gguf:{preset}"])
        file, = folder.glob("*.gguf")
        model, said = load(file)
        ids = self.arkit_tokens(file, self.prose.read_text())
        theirs = perplexity(model, ids)
        ours = json.loads(run(self.a.arkit, "eval", "ppl", file, "--text", self.prose, "--seqlen", WINDOW, "--max_windows", WINDOWS, "--json"))["perplexity"]
        text = written(model, ids[:32])
        differ = "" if preset not in ("q4_k_m", "f16") else self.tokens_differ(model, file)
        model.close()
        for entry in folder.iterdir():
            entry.unlink()
        folder.rmdir()
        off = abs(theirs / ours - 1)
        good = not said and off <= MAX_RELATIVE_PERPLEXITY and len(text) == NEW_TOKENS and not differ
        return report(case, good, f"perplexity {ours:.4f}, in llama.cpp {theirs:.4f} ({off:.2%}); warnings: {said or 'none'}" + (f"; {differ}" if differ else ""))


def main():
    a = parse_arguments(CASES)
    sys.exit(check_all(Checks(a), CASES, a.cases))


if __name__ == "__main__":
    main()
