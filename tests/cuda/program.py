#!/usr/bin/env python3
"""The whole program on the GPUs of fake_driver.cpp: exports run through both CUDA plugins and give the logits of `torch`; a run for
the CPU stays there.  program.py ARKIT FAKE_CUDA_FOLDER ROOT WORK"""
import json
import os
import shutil
import struct
import subprocess
import sys

arkit, fake, root, work = sys.argv[1:5]
shutil.rmtree(work, ignore_errors=True)
os.makedirs(work)


def run(*words, gpu=True, fails=False):
    environment = dict(os.environ, HF_HUB_OFFLINE="1")
    if gpu:
        environment["LD_LIBRARY_PATH"] = fake
    done = subprocess.run(words, cwd=work, env=environment, capture_output=True, text=True, check=False)
    if (done.returncode != 0) != fails:
        sys.exit(f"{' '.join(words)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def read(name):
    with open(os.path.join(work, name), "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
        data = file.read()
    entry = next(v for k, v in header.items() if k != "__metadata__")
    begin, end = entry["data_offsets"]
    assert entry["dtype"] == "F32", entry
    return struct.unpack(f"<{(end - begin) // 4}f", data[begin:end])


ids = [(7 * i * i + 3 * i) % 256 for i in range(21)]
header = json.dumps({"input_ids": {"dtype": "I64", "shape": [1, len(ids)], "data_offsets": [0, 8 * len(ids)]}}).encode()
with open(os.path.join(work, "ids.safetensors"), "wb") as file:
    file.write(struct.pack("<Q", len(header)) + header + struct.pack(f"<{len(ids)}q", *ids))
run(sys.executable, f"{root}/tools/make_synthetic_llama.py", "model", "--blocks", "1", "--hidden", "128", "--intermediate",
    "256", "--vocab", "256", gpu=False)

# scheme, format, backends that take it
cases = [("W4A16", "auto_round", ["marlin", "triton_like"]), ("W8A16", "auto_gptq", ["marlin", "triton_like"]),
         ("W3A16", "auto_round", ["triton_like"]), ("MXFP4", "llm_compressor", ["triton_like"]),
         ("NVFP4", "llm_compressor", ["triton_like"]), ("FP8_BLOCK", "llm_compressor", ["triton_like"])]
for scheme, form, backends in cases:
    run(arkit, "quantize", "model", "--scheme", scheme, "--format", form, "--model_free", "--iters", "0", "--output_dir", scheme,
        *(["--act_bits", "16"] if scheme == "NVFP4" else []), gpu=False)
    found = os.path.join(work, scheme)
    if not os.path.exists(os.path.join(found, "config.json")):
        found = os.path.join(found, next(d for d in os.listdir(found) if os.path.isdir(os.path.join(found, d))))
    logits = {}
    for backend in ["torch", *backends]:
        told = run(arkit, "forward", found, "--input_ids", "ids.safetensors", "-o", f"{backend}.safetensors", "--backend",
                   backend, "--json")
        if f'"{backend}"' not in told:
            sys.exit(f"{scheme}: '{backend}' did not run it: {told}")
        logits[backend] = read(f"{backend}.safetensors")
    largest = max(abs(v) for v in logits["torch"])
    for backend in backends:
        worst = max(abs(a - b) for a, b in zip(logits[backend], logits["torch"], strict=True)) / largest
        print(f"{scheme}: {backend} differs from torch by {worst:.1e} of the largest logit")
        # float32 throughout; activations that are rounded may fall to the next step.
        if not worst < (1e-5 if scheme.startswith("W") else 2e-2):
            sys.exit(f"{scheme}: {backend} differs from torch by {worst} of the largest logit")

w4 = os.path.join(work, "W4A16")
if not os.path.exists(os.path.join(w4, "config.json")):
    w4 = os.path.join(w4, next(d for d in os.listdir(w4) if os.path.isdir(os.path.join(w4, d))))
forward = [arkit, "forward", w4, "--input_ids", "ids.safetensors", "-o", "x.safetensors", "--json"]
for extra, expected in (([], "marlin"), (["--device", "cpu"], "torch"), (["--device", "cuda:2"], "marlin"),
                        (["--backend", "exllamav2"], "marlin"), (["--backend", "tritonv2"], "triton_like")):
    told = run(*forward, *extra)
    if f'"{expected}"' not in told:
        sys.exit(f"{extra}: expected '{expected}' to run it: {told}")
told = run(*forward, "--backend", "triton_like", "--device", "cpu", fails=True)
if "cpu" not in told:
    sys.exit(f"no word of the device: {told}")
told = run(*forward, "--backend", "marlin", gpu=False, fails=True)
if "libcuda.so.1" not in told and "CUDA" not in told:
    sys.exit(f"no word of the driver: {told}")
shutil.rmtree(work)
