"""Checks that the commands that compute with a model keep one block in memory: check_commands.py ARKIT WORK.

Two synthetic llamas with equal blocks, one four times as deep: `verify`, `forward` and `eval ppl` may not need more than two
blocks on top. A third with a large vocabulary: neither its embedding nor its head may be converted as a whole. What is
computed is the same with --resident one and all.

Exit status 0 passed, 1 failed.
"""
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
sys.dont_write_bytecode = True
import make_synthetic_llama as synthetic

MB = 1_000_000
SHAPE = ("--hidden", 512, "--intermediate", 1408, "--shard_bytes", 60 * MB)
TOKENS = 64


def options(*words):
    return synthetic.parser().parse_args(["-", *map(str, words)])


def write_ids(path, count):
    data = struct.pack(f"<{count}q", *(i * 37 % 2048 for i in range(count)))
    header = json.dumps({"input_ids": {"dtype": "I64", "shape": [1, count], "data_offsets": [0, len(data)]}}).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


def peak_of(arkit, work, *words):
    with open(work / "log", "w+") as log:
        process = subprocess.Popen([arkit, *map(str, words)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            log.seek(0)
            sys.exit(f"arkit {' '.join(map(str, words))} ended with status {process.returncode}: {log.read()[-2000:]}")
    return usage.ru_maxrss * 1024


def make(arkit, work, name, *shape):
    synthetic.make(work / name, options(*shape, *SHAPE))
    peak_of(arkit, work, "quantize", work / name, "--scheme", "W4A16", "--recipe", "rtn", "-o", work / f"{name}-w4")


def commands(work, name):
    ids = ("--input_ids", work / "ids", "-o", work / "logits")
    yield "verify", ("verify", work / f"{name}-w4", "--against", work / name)
    yield "forward", ("forward", work / name, *ids)
    yield "forward, packed", ("forward", work / f"{name}-w4", *ids)
    yield "eval ppl", ("eval", "ppl", work / f"{name}-w4", "--ids", work / "ids", "--seqlen", TOKENS // 2, "--against", work / name)


def check_depth(arkit, work):
    block = 2 * sum(synthetic.size(s) for _, s in synthetic.block_tensors(0, options(*SHAPE)))  # in float32
    for name, blocks in (("few", 10), ("many", 40)):
        make(arkit, work, name, "--blocks", blocks, "--vocab", 2048)
    for (what, few), (_, many) in zip(commands(work, "few"), commands(work, "many")):
        a, b = peak_of(arkit, work, *few), peak_of(arkit, work, *many)
        print(f"{what}: {a / MB:.0f} MB for 10 blocks, {b / MB:.0f} MB for 40 of {block / MB:.0f} MB each")
        if b > a + 2 * block:
            sys.exit(f"memory of {what} grows with the number of blocks")


def check_vocabulary(arkit, work):
    vocab = 96_000
    make(arkit, work, "wide", "--blocks", 2, "--vocab", vocab)
    stored, converted = 2 * vocab * 512, 4 * vocab * 512
    for (what, narrow), (_, wide) in zip(commands(work, "few"), commands(work, "wide")):
        a, b = peak_of(arkit, work, *narrow), peak_of(arkit, work, *wide)
        logits = 4 * vocab * TOKENS * 3  # what is asked for, and what is computed of it at once
        print(f"{what}: {a / MB:.0f} MB for 2048 tokens, {b / MB:.0f} MB for {vocab}")
        # A mapped file counts while it is looked at: verify and eval --against have two of them.
        if b > a + 2 * stored + logits + converted // 4:
            sys.exit(f"{what} converts the whole vocabulary: {converted / MB:.0f} MB")


def check_results(arkit, work):
    logits = []
    for resident in ("one", "all"):
        peak_of(arkit, work, "forward", work / "few-w4", "--input_ids", work / "ids", "-o", work / "logits", "--resident", resident)
        logits.append((work / "logits").read_bytes())
    if logits[0] != logits[1]:
        sys.exit("--resident one and all give different logits")


def main():
    arkit, work = sys.argv[1], pathlib.Path(sys.argv[2])
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        write_ids(work / "ids", TOKENS)
        check_depth(arkit, work)
        check_vocabulary(arkit, work)
        check_results(arkit, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


main()
