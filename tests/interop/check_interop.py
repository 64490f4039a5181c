"""Opens arkit's exports of a real model with transformers, AutoRound and compressed-tensors and compares what they compute with arkit.

check_interop.py --arkit BINARY --model MODEL --work DIR [--layers N] [CASE ...]

For each case: `arkit quantize` (RTN), then logits on fixed ids (relative error, L2 over all logits, at most 2e-2); AutoRound's
integer packings also compare 32 greedy tokens on three prompts (equal but for near ties). Both sides compute in float32 where the loader lets them:
AutoRound is asked for its torch backend, because the one it picks by itself on an Intel CPU (ARK) rounds activations to int8, which alone
moves logits by 2 to 4 %; the last case and the packings that its torch backend cannot read use it all the same, with a
bound to match.

Cases with quantized activations use the model's first two blocks. A difference d before a rounding step s turns into one of about sqrt(d s)
after it, so over thirty blocks two exact programs end as far apart as the rounding itself moves them, whatever they agree on at first.

Prints one line per case; exit status 1 when one failed. Run it with the interpreter that `tools/peers.sh` prints.
"""
import os
import shutil
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from compressed_tensors.compressors.pack_quantized import PackedQuantizationCompressor
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoRoundConfig, AutoTokenizer, CompressedTensorsConfig

from exports import MAX_RELATIVE_ERROR, NEW_TOKENS, PROMPTS, Arkit, check_all, first_ids, integers, parse_arguments, relative_error, report

MAX_RELATIVE_ERROR_INT8 = 6e-2  # backends that round activations to 8 bits
MAIN = "W4A16-auto_round"
OWN_CHOICE = "W4A16-auto_round-own-backend"  # the backend AutoRound picks for this CPU
CALIBRATION = ["--dataset", "self", "--nsamples", 8, "--seqlen", 64]


def cases():
    """name: options of arkit quantize."""
    table = {MAIN: integers(4, "--format", "auto_round")}
    for form, widths in (("auto_round", {"": range(2, 9), "-asym": range(2, 8)}),
                         ("auto_round:auto_gptq", {"": (2, 3, 4, 8), "-asym": (2, 4)}),  # 3 bits asym: no CPU kernel of AutoRound
                         ("auto_round:auto_awq", {"": (4,), "-asym": (4,)}),
                         ("llm_compressor", {"": range(2, 9), "-asym": range(2, 9)})):
        for kind, bits in widths.items():
            for b in bits:
                table[f"W{b}A16{kind}-{form}"] = integers(b, *(["--asym"] if kind else []), "--format", form)
    cut = ["--num_hidden_layers", 2]
    for form, schemes in (("auto_round", ("MXFP4", "MXFP4_RCEIL", "MXFP8", "MXFP8_RCEIL", "MXINT4", "NVFP4", "NVFP4_E5M3", "FP8_STATIC")),
                          # Not FP8_BLOCK: compressed-tensors cannot cut 576 activations into groups of 128.
                          ("llm_compressor", ("MXFP4", "MXFP8", "NVFP4", "FP8_STATIC", "FP8_DYNAMIC", "FPW8A16", "INT8_W8A8")),
                          ("fp8", ("FP8_BLOCK",)), ("fake", ("FPW8A16",))):
        for scheme in schemes:
            data = CALIBRATION if scheme in ("NVFP4", "NVFP4_E5M3", "FP8_STATIC") else []
            table[f"{scheme}-{form}"] = ["--scheme", scheme, "--format", form, *cut, *data]
    # compressed-tensors rounds keys and values where their scales say so.
    for granularity in ("tensor", "head"):
        table[f"W8A16-kv-{granularity}-llm_compressor"] = integers(8, "--format", "llm_compressor", "--static_kv_dtype", "fp8",
                                                                   "--static_kv_granularity", granularity, *cut, *CALIBRATION)
    table[OWN_CHOICE] = table[MAIN]
    return table


CASES = cases()


def writes_text(name):
    """Greedy tokens are compared for the whole model in AutoRound's integer packings."""
    return name.startswith("W") and "auto_round" in name


def own_backend(name):
    """AutoRound's torch backend reads neither the AWQ packing nor asymmetric layers with zero points less one; asked for it, it gives up."""
    return name == OWN_CHOICE or "auto_awq" in name or name.endswith("-asym-auto_round:auto_gptq") or name == "W4A16-asym-auto_round"


def mx_int4(x):
    """MXINT4 of docs/spec/floats.md 4: one power of two for 32 values, quarters up to 1.75."""
    t = x.reshape(-1, 32)
    peak = t.abs().amax(-1, keepdim=True)
    scale = torch.exp2(torch.where(peak == 0, torch.ones_like(peak), torch.floor(torch.log2(peak))))
    return (torch.round((t / scale).clamp(-1.75, 1.75) * 4) / 4 * scale).reshape(x.shape)


def in_float32(model):
    """Mends what keeps a loader from computing what the export says: AutoRound's FP8_STATIC layers compute in bfloat16 whatever the
    model's dtype, and its MXINT4 layers round activations to the FP4 table (docs/DEFECTS.md)."""
    for layer in model.modules():
        kind = type(layer).__name__
        if kind == "WeightFP8ActFP8StaticQuantLinear":
            layer.dtype, layer.weight_scale, layer.input_scale = torch.float32, layer.weight_scale.float(), layer.input_scale.float()
        elif kind == "MXINT4QuantLinear":
            layer.qdq_input = mx_int4
    return torch.nn.Module.float(model).eval()  # transformers forbids model.float() on packed models


def decompressed(export):
    """compressed-tensors' own decompression, put into a plain model: transformers allocates zero points of asymmetric layers unpacked and
    refuses the file's packed ones, which are as vLLM wants them (docs/spec/format-compressed-tensors.md 3)."""
    config = AutoConfig.from_pretrained(export)
    groups = CompressedTensorsConfig.from_dict(config.quantization_config).quantization_config.config_groups
    scheme = next(iter(groups.values()))
    del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    state = load_file(export / "model.safetensors")
    for packed in [n for n in state if n.endswith(".weight_packed")]:
        prefix = packed.removesuffix("weight_packed")
        layer = {n.removeprefix(prefix): state.pop(n) for n in list(state) if n.startswith(prefix)}
        layer["weight_scale"] = layer["weight_scale"].float()
        state[prefix + "weight"] = PackedQuantizationCompressor.decompress(layer, scheme)["weight"]
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    model.tie_weights()
    return model.eval()


def load(export, name):
    if name.endswith("-asym-llm_compressor"):
        return decompressed(export)
    # The integer packings of AutoRound's format have more than one backend to choose from.
    choice = name.startswith("W") and "auto_round" in name
    config = {"quantization_config": AutoRoundConfig(backend="torch")} if choice and not own_backend(name) else {}
    # compressed-tensors and transformers' fp8 unpack weights, the first of them in the first forward pass, in the model's own bfloat16.
    unpacks = name.endswith(("llm_compressor", "-fp8")) and not name.startswith("W")
    model = AutoModelForCausalLM.from_pretrained(export, dtype=torch.bfloat16 if unpacks else torch.float32, **config)
    if unpacks:
        model(torch.tensor([[1, 2]]))
    return model.eval() if choice else in_float32(model)


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


def compare_greedy(arkit, export, model, tokenizer, bound):
    """Returns whether all prompts are continued alike, and a text that says so."""
    # Whether the end-of-text token itself is reported is a matter of taste.
    text = lambda tokens: [t for t in tokens if t != tokenizer.eos_token_id]
    different, ties = [], 0
    for prompt in PROMPTS:
        a, b = text(arkit.greedy(export, prompt)), text(peer_greedy(model, tokenizer, prompt))
        if a != b and near_tie(model, tokenizer, prompt, a, b, bound):
            ties += 1
        elif a != b:
            different.append(prompt)
    return not different, (f", greedy tokens {'equal' if not different else 'differ for ' + str(different)}"
                           f"{f' but for {ties} near tie(s)' if ties else ''}")


def main():
    a = parse_arguments(CASES)
    arkit = Arkit(a.arkit, a.model, a.work, a.layers)

    def check(name):
        export = arkit.export(name, CASES[name])
        model, tokenizer = load(export, name), AutoTokenizer.from_pretrained(export)
        ids = first_ids(lambda text: tokenizer(text).input_ids)
        with torch.no_grad():
            theirs = model(torch.from_numpy(ids)).logits.float().numpy()
        error = relative_error(arkit.logits(export, ids), theirs)
        bound = MAX_RELATIVE_ERROR_INT8 if own_backend(name) else MAX_RELATIVE_ERROR
        same, text = compare_greedy(arkit, export, model, tokenizer, bound) if writes_text(name) else (True, "")
        shutil.rmtree(export)
        return report(name, error <= bound and same, f"relative error of logits {error:.2e}{text}")

    sys.exit(check_all(check, CASES, a.cases))


if __name__ == "__main__":
    main()
