#!/usr/bin/env python3
"""Copies the golden exports the format tests use into tests/data/golden.

Usage: tools/make_golden_digests.py SHARED_GOLDEN tests/data/golden
       tools/make_golden_digests.py SHARED_GOLDEN_LLMC tests/data/golden-llmc

Exports in KEEP are copied with their weights. Of the others only the JSON files are kept, and tensor_digests.json: dtype, shape and
64-bit FNV-1a digest of every tensor, which is enough to see that a tensor differs. Tokenizer files stay with the sources.
"""
import json
import pathlib
import shutil
import struct
import sys

KEEP = {
    "auto_round-W4A16", "auto_round-W4A16-asym", "auto_round-W3A16", "auto_round-W5A16-asym", "auto_round-W8A16-asym-env",
    "auto_round-W4A16G32-bias-fp32", "mixed-auto_round-W4A16", "mixed-auto_gptq-W4A16", "lmhead-auto_round-W4A16",
    "qwen3tied-auto_round-W4A16", "shard200KB-auto_round-W4A16", "auto_gptq-W3A16G32-asym", "auto_awq-W4A16G32-asym",
    "auto_round_auto_awq-W5A16G32-asym", "auto_round_gptqmodel-W4A16G32",
    # Compared element by element, as their bytes are not ours (docs/spec/model-free.md 6).
    "modelfree-auto_round-W4A16-asym", "modelfree-auto_round-NVFP4_E5M3", "modelfree-fp32bias-auto_round-W4A16",
    "modelfree-fusedmoe-auto_round-W4A16",
}
# The sources are there already.
SKIP = ("source-",)
# Single numbers that come from a calibration: kept as numbers, to be compared within a band.
CALIBRATED = (".input_scale", ".input_global_scale", ".k_scale", ".v_scale")


# Cases of golden-llmc whose input, key and value scales come from a calibration; and those whose codes do.
LLMC_CALIBRATED = {"FP8", "NVFP4", "FP8_DYNAMIC-kvfp8", "kvfp8-only"}
LLMC_TUNED = {"autoround-NVFP4-iters0", "autoround-NVFP4-iters2", "autoround-W4A16-iters0"}


def fnv1a(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return "%016x" % value


def single_number(dtype, data):
    if dtype == "BF16":
        data = b"\0\0" + data
    elif dtype != "F32":
        raise ValueError(dtype)
    return struct.unpack("<f", data)[0]


def digests(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    body = data[8 + length:]
    result = {}
    for name, t in sorted(header.items()):
        data = body[t["data_offsets"][0]:t["data_offsets"][1]]
        result[name] = {"dtype": t["dtype"], "shape": t["shape"]}
        if name.endswith(CALIBRATED):
            result[name]["value"] = single_number(t["dtype"], data)
        else:
            result[name]["fnv1a"] = fnv1a(data)
    return result


def file_of(case):
    """The weights of a case of golden-llmc, or of the one that has the same."""
    pointer = case / "model.safetensors.same_as"
    return pathlib.Path(case / pointer.read_text().strip()).resolve() if pointer.exists() else case / "model.safetensors"


def llm_compressor(source, target):
    """Exports of llm-compressor itself: both texts byte for byte, and of the weights the hash of the whole file, or for cases that depend
    on a calibration digests of the tensors; where codes depend on one, the packed tensors."""
    for folder in sorted(p for p in source.iterdir() if p.is_dir()):
        out = target / folder.name
        out.mkdir(parents=True, exist_ok=True)
        for name in ("config.json", "recipe.yaml"):
            shutil.copyfile(folder / name, out / name)
        info = json.loads((folder / "tensors.json").read_text())
        if folder.name in LLMC_TUNED:
            shutil.copyfile(file_of(folder), out / "model.safetensors")
        elif folder.name in LLMC_CALIBRATED:
            original = pathlib.Path(source) / "../golden/source-llama-bf16/model.safetensors"
            known = {**digests(original), **digests(file_of(folder))}
            found = {name: known[name] for name, _, _ in info["tensors"]}
            (out / "tensor_digests.json").write_text(json.dumps(found, indent=0) + "\n")
        else:
            (out / "model.sha256").write_text(info["original_sha256"] + "\n")


def main():
    source, target = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    if (source / "calibration.json").exists():
        return llm_compressor(source, target)
    for folder in sorted(source.iterdir()):
        if not folder.is_dir() or folder.name.startswith(SKIP):
            continue
        out = target / folder.name
        out.mkdir(parents=True, exist_ok=True)
        for name in ("config.json", "generation_config.json", "quantization_config.json"):
            if (folder / name).exists():
                shutil.copyfile(folder / name, out / name)
        pointer = folder / "model.safetensors.same_as"
        if folder.name in KEEP:
            for file in [*folder.glob("*.safetensors"), *folder.glob("*.index.json")]:
                shutil.copyfile(file, out / file.name)
        elif pointer.exists():
            other = pathlib.Path(pointer.read_text().strip()).parent.name
            (out / "tensor_digests.json").write_text(json.dumps({"same_as": other}) + "\n")
        elif (folder / "model.safetensors").exists():
            text = json.dumps(digests(folder / "model.safetensors"), indent=0)
            (out / "tensor_digests.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
