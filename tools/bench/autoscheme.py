"""Mixes of schemes for a number of bits: arkit's against AutoRound's and against naive ones, rounded and measured alike.

autoscheme.py --peer PYTHON --model DIR --shared DIR --work DIR [--pools int mx] [--budgets 4 5] [--windows 40] [--lambada N] [--refine SECONDS]

Every allocation becomes a layer_config, is rounded by arkit without tuning and evaluated by arkit: perplexity, and KL divergence from the
model; with --lambada also the accuracy of the last words of N texts of LAMBADA. Bits are counted by AutoRound's formula for all; layers may differ freely (no fused groups), as AutoRound's do. "head" and "tail" give
the layers near the head or near the embedding the dearest option and the others the cheapest that is left. Prints a table.
"""
import argparse
import json
import pathlib
import shutil

from bench import HERE, Run

POOLS = {"int": (["W2A16", "W4A16", "W8A16"], 64, [3, 4, 5]), "mx": (["MXFP4", "MXFP8"], 0, [4.5, 5, 6])}


class Mixes:
    def __init__(self, args):
        self.a = args
        self.work = pathlib.Path(args.work).resolve()
        self.work.mkdir(parents=True, exist_ok=True)
        self.data = pathlib.Path(args.shared).resolve() / "data"
        self.calibration = ["--dataset", self.data / "wikitext2_valid.json"]

    def measure(self, layer_config, base):
        export = self.work / "export"
        shutil.rmtree(export, ignore_errors=True)
        Run(["arkit", "quantize", self.a.model, "--scheme", base, "--layer_config", layer_config, "--iters", 0, "--disable_opt_rtn",
             "--disable_model_free", "--format", "auto_round", "--output_dir", export, *self.calibration])
        found = Run(["arkit", "eval", "ppl", export, "--ids", self.data / "wikitext2_test.smollm2_ids.safetensors", "--seqlen", 512,
                     "--max_windows", self.a.windows, "--against", self.a.model, "--json"]).json()
        words = self.lambada(export)
        shutil.rmtree(export, ignore_errors=True)
        return found["perplexity"], found["against"]["mean_kl"], words

    def lambada(self, model):
        if not self.a.lambada:
            return None
        return Run(["arkit", "eval", "lambada", model, "--file", self.data / "lambada_test.jsonl", "--limit", self.a.lambada,
                    "--json"]).json()["accuracy"]

    def arkit(self, options, group, bits, score, seconds):
        config = self.work / f"{score}-{bits}.toml"
        result = Run(["arkit", "autoscheme", self.a.model, "--options", ",".join(options), "--avg_bits", bits, "--bits_accounting",
                      "autoround", "--no_share_fused", "--score", score, "--refine_seconds", seconds, "--save_layer_config", config,
                      "--score_cache", self.work / "scores", *(["--group_size", group] if group else []), *self.calibration,
                      "--json"]).json()
        return config, result

    def reference(self, options, group, budgets):
        out = self.work / "reference.json"
        Run([self.a.peer, HERE / "reference_autoscheme.py", self.a.model, out, "--options", ",".join(options), "--avg_bits", *budgets,
             *(["--group_size", group] if group else []), *self.calibration])
        return json.loads(out.read_text())

    def write(self, name, schemes, group):
        config = self.work / f"{name}.toml"
        lines = []
        for layer, scheme in schemes.items():
            lines += [f'["{layer}"]', f'scheme = "{scheme}"'] + ([f"group_size = {group}"] if group and scheme.startswith("W") else [])
        config.write_text("\n".join(lines) + "\n")
        return config

    def naive(self, result, options, bits, from_head):
        """The dearest option from one end for as long as the average allows; the rest gets the dearest uniform option that fits."""
        each = {option["name"]: option["average_bits"] for option in result["options"]}
        base = [name for name in options if each[name] <= bits][-1]
        sizes = {layer["name"]: layer["weights"] for layer in result["mix"]}
        room = (bits - each[base]) * sum(sizes.values())
        schemes = dict.fromkeys(sizes, base)
        for name in reversed(sizes) if from_head else sizes:
            cost = sizes[name] * (each[options[-1]] - each[base])
            if cost > room:
                break
            schemes[name], room = options[-1], room - cost
        return schemes


def name_of(scheme):
    if scheme.get("data_type", "int").startswith("mx"):
        return f"MXFP{scheme['bits']}"
    return f"W{scheme['bits']}A16"


def main():
    p = argparse.ArgumentParser()
    for name in ("--peer", "--model", "--shared", "--work"):
        p.add_argument(name, required=True)
    p.add_argument("--windows", type=int, default=40)
    p.add_argument("--refine", type=float, default=0)
    p.add_argument("--lambada", type=int, default=0)
    p.add_argument("--budgets", nargs="*", type=float, help="only these bits")
    p.add_argument("--pools", nargs="*", default=list(POOLS), choices=list(POOLS))
    a = p.parse_args()
    mixes, rows = Mixes(a), []
    for pool in a.pools:
        options, group, budgets = POOLS[pool]
        budgets = [bits for bits in budgets if not a.budgets or bits in a.budgets]
        if not budgets:
            continue
        theirs, seconds = mixes.reference(options, group, budgets), None
        for bits in budgets:
            config, result = mixes.arkit(options, group, bits, "default", 0)
            seconds = seconds or result["score_seconds"]  # later budgets take the scores from the cache
            allocations = {"arkit": config, "arkit compat": mixes.arkit(options, group, bits, "compat", 0)[0]}
            if a.refine:
                allocations["arkit refined"] = mixes.arkit(options, group, bits, "default", a.refine)[0]
            theirs_by_layer = {layer: name_of(scheme) for layer, scheme in theirs[str(float(bits))].items()}
            in_pool = {layer["name"] for layer in result["mix"]}
            allocations["AutoRound"] = mixes.write("theirs", {k: v for k, v in theirs_by_layer.items() if k in in_pool}, group)
            for end in ("head", "tail"):
                allocations[end] = mixes.write(end, mixes.naive(result, options, bits, end == "head"), group)
            for name, layer_config in allocations.items():
                ppl, kl, words = mixes.measure(layer_config, options[0])
                rows.append((pool, bits, name, f"{ppl:.2f}", f"{kl:.4f}", "-" if words is None else f"{words:.3f}"))
                print("==> {} {} bits, {}: perplexity {}, KL {}, LAMBADA {}".format(*rows[-1]), flush=True)
        print(f"==> {pool}: scoring took arkit {seconds:.1f} s, AutoRound {theirs[f'seconds {float(budgets[0])}']:.1f} s")
    if a.lambada:
        print(f"LAMBADA of the model itself: {mixes.lambada(a.model):.3f}")
    print("\n| options | bits | mix | perplexity | KL | LAMBADA |\n| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")


if __name__ == "__main__":
    main()
