"""Measures arkit beside AutoRound and appends the rows to docs/BENCHMARKS.md. Started by tools/bench.sh; standard library only.

bench.py --peer PYTHON --model DIR --gguf FILE --shared DIR --work DIR [--repeat N] [--modelfree_bytes B] [ROW ...]

Rows: startup rtn opt_rtn step tune ppl large modelfree infer kernels. Runs of the two programs alternate; a figure is the median of --repeat runs.
"""
import argparse
import datetime
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
LOG = ROOT / "docs" / "BENCHMARKS.md"
MB = 1e6


class Run:
    """One finished process: wall and CPU seconds, peak resident bytes, bytes read from a disk, standard output."""

    def __init__(self, command, **kwargs):
        command = [str(c) for c in command]
        print("   ", " ".join(command), file=sys.stderr, flush=True)
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, **kwargs)
        self.stdout, stderr = self._drain(process)
        self.seconds = time.perf_counter() - start
        if self.status != 0:
            sys.exit(f"bench: {' '.join(command)} ended with status {self.status}\n{stderr[-3000:]}")
        print(f"    {self.seconds:.2f} s, {self.peak / MB:.0f} MB", file=sys.stderr, flush=True)

    def _drain(self, process):
        """Waits with wait4, which alone tells the peak memory of this one child; threads empty its pipes meanwhile."""
        texts = {}
        threads = [threading.Thread(target=lambda n=n, f=f: texts.__setitem__(n, f.read()))
                   for n, f in (("out", process.stdout), ("err", process.stderr))]
        for thread in threads:
            thread.start()
        _, status, usage = os.wait4(process.pid, 0)
        for thread in threads:
            thread.join()
        self.status, self.peak = os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024
        self.read = usage.ru_inblock * 512  # bytes that came from a disk
        self.cpu = usage.ru_utime + usage.ru_stime
        process.returncode = self.status
        return texts["out"], texts["err"]

    def json(self):
        """The last line that is a JSON object, or all of the output."""
        last = self.stdout.strip().splitlines()[-1]
        return json.loads(last if last.startswith("{") and last != "{" else self.stdout)


class Bench:
    def __init__(self, args):
        self.a = args
        self.work = pathlib.Path(args.work).resolve()
        self.data = pathlib.Path(args.shared).resolve() / "data"
        self.calibration = self.data / "wikitext2_valid.json"
        self.ids = self.data / "wikitext2_test.smollm2_ids.safetensors"
        self.rows = []

    # -- the two programs ----------------------------------------------------------------------------------------------------

    def out(self, name):
        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)
        return folder

    def arkit(self, name, *options):
        return Run(["arkit", "quantize", self.a.model, "--scheme", "W4A16", "--group_size", 64, "--format", "auto_round",
                    "--output_dir", self.out(name), "--json", *options])

    def reference(self, name, *options):
        # Two launches of torch.compile may not share a cache, or the second would be measured warm.
        env = dict(os.environ, TORCHINDUCTOR_CACHE_DIR=str(self.out("inductor-cache")))
        return Run([self.a.peer, HERE / "reference_quantize.py", self.a.model, self.out(name), *options], env=env)

    def ppl(self, model):
        # AutoRound adds a folder of its own to the one it is given.
        if self.work in pathlib.Path(model).parents:
            model = next(pathlib.Path(model).rglob("config.json")).parent
        run = Run(["arkit", "eval", "ppl", model, "--ids", self.ids, "--seqlen", 512, "--max_windows", 40, "--json"])
        return run.json()["perplexity"]

    def calibrated(self, *extra):
        return ["--dataset", self.calibration, "--nsamples", 60, "--seqlen", 512, "--batch_size", 8, *extra]

    def alternate(self, first, second):
        """--repeat pairs of runs, one after the other, so that both see the same state of the machine."""
        pairs = [(first(), second()) for _ in range(self.a.repeat)]
        return [p[0] for p in pairs], [p[1] for p in pairs]

    # -- rows ----------------------------------------------------------------------------------------------------------------

    def add(self, what, ours, theirs, unit, target, digits=2):
        """One row; theirs is None where there is nothing to compare with. target is text, judged by the reader."""
        show = lambda v: "-" if v is None else f"{v:.{digits}f} {unit}".strip()
        ratio = "-" if theirs in (None, 0) else f"{ours / theirs:.3f}"
        self.rows.append((what, show(ours), show(theirs), ratio, target))
        print(f"==> {what}: arkit {show(ours)}, reference {show(theirs)}, ratio {ratio} (target {target})", flush=True)

    def startup(self):
        for arguments in (["--version"], ["quantize", "--help"]):
            runs = [Run(["arkit", *arguments]).seconds for _ in range(10)]
            theirs = Run([self.a.peer, "-m", "auto_round", "--help"]).seconds if arguments[0] == "quantize" else None
            self.add("arkit " + " ".join(arguments), statistics.median(runs) * 1000, theirs and theirs * 1000, "ms", "<= 50 ms", 1)

    def rtn(self):
        ours, theirs = self.alternate(lambda: self.arkit("arkit-rtn", "--recipe", "rtn"),
                                      lambda: self.reference("reference-rtn", "--mode", "rtn"))
        median = lambda runs, field: statistics.median(getattr(r, field) for r in runs)
        self.add("RTN of the whole model, start to files", median(ours, "seconds"), median(theirs, "seconds"), "s", "<= 1.0 s")
        self.add("RTN peak memory", median(ours, "peak") / MB, median(theirs, "peak") / MB, "MB", "<= 350 MB", 0)

    def opt_rtn(self):
        ours = self.arkit("arkit-opt_rtn", "--recipe", "opt-rtn", *self.calibrated())
        theirs = self.reference("reference-opt_rtn", "--mode", "opt_rtn", *self.calibrated())
        self.add("OPT-RTN, 60 samples x 512", ours.seconds, theirs.seconds, "s", "-")
        self.add("PPL of OPT-RTN", self.ppl(self.work / "arkit-opt_rtn"), self.ppl(self.work / "reference-opt_rtn"), "", "<= +0.5 %", 3)

    def step(self):
        """Two blocks, 26 iterations each. arkit's time of an iteration is the difference between a long and a short run."""
        cut = ["--num_hidden_layers", 2]
        tuned = lambda iters: self.arkit("arkit-step", *self.calibrated("--iters", iters, *cut))
        theirs = lambda *flags: self.reference("reference-step", "--mode", "signround", *self.calibrated("--iters", 26, *cut, *flags))
        long, short, compiled, plain = [], [], [], []
        for _ in range(self.a.repeat):
            long.append(tuned(26).seconds)
            compiled.append(theirs("--compile"))
            short.append(tuned(2).seconds)
            plain.append(theirs())
        ours = (statistics.median(long) - statistics.median(short)) / (2 * 24)
        iteration = lambda runs: statistics.median(r.json()["iteration_seconds"] for r in runs)
        whole = lambda runs: statistics.median(r.seconds for r in runs)
        self.add("tuning iteration, against torch.compile", ours, iteration(compiled), "s", "ratio <= 0.70, aim 0.55", 3)
        self.add("tuning iteration, against eager", ours, iteration(plain), "s", "-", 3)
        self.add("whole run of 2 x 26 iterations, against torch.compile", statistics.median(long), whole(compiled), "s", "ratio <= 0.45")
        self.add("whole run of 2 x 26 iterations, against eager", statistics.median(long), whole(plain), "s", "-")

    def tune(self):
        perplexities, seconds, peaks = [], [], []
        for seed in (42, 43, 44):
            run = self.arkit(f"arkit-tuned-{seed}", *self.calibrated("--iters", 50, "--seed", seed))
            seconds.append(run.seconds)
            peaks.append(run.peak)
            perplexities.append(self.ppl(self.work / f"arkit-tuned-{seed}"))
            print(f"    seed {seed}: perplexity {perplexities[-1]:.3f}", flush=True)
        theirs = self.reference("reference-tuned", "--mode", "signround", *self.calibrated("--iters", 50))
        self.add("SignRound, 50 iterations, 60 x 512, whole model", statistics.median(seconds), theirs.seconds, "s", "-", 1)
        self.add("SignRound peak memory", max(peaks) / MB, theirs.peak / MB, "MB", "<= 700 MB", 0)
        self.add("PPL of SignRound, mean of seeds 42 43 44 (reference: 42)", statistics.mean(perplexities),
                 self.ppl(self.work / "reference-tuned"), "", "<= 24.6, aim 24.2", 3)

    def ppl_rows(self):
        transformers = float(Run([self.a.peer, HERE / "reference_ppl.py", self.a.model, self.ids]).stdout)
        self.add("PPL of BF16 (reference: transformers)", self.ppl(self.a.model), transformers, "", "within 0.02", 3)
        self.add("PPL of the GGUF file itself", self.ppl(self.a.gguf), transformers, "", "-", 3)
        self.arkit("arkit-rtn", "--recipe", "rtn")
        self.reference("reference-rtn", "--mode", "rtn")
        self.add("PPL of RTN", self.ppl(self.work / "arkit-rtn"), self.ppl(self.work / "reference-rtn"), "", "within 0.02", 3)

    def large(self):
        """RTN of a synthetic sharded 4 GB llama: memory must not grow with the model."""
        source = self.work / "synthetic-4gb"
        if not (source / "model.safetensors.index.json").exists():
            Run([sys.executable, ROOT / "tools" / "make_synthetic_llama.py", source, "--bytes", 4_000_000_000])
        run = Run(["arkit", "quantize", source, "--scheme", "W4A16", "--recipe", "rtn", "--output_dir", self.out("arkit-4gb"), "--json"])
        shutil.rmtree(self.work / "arkit-4gb")
        shutil.rmtree(source)
        self.add("RTN of a synthetic 4 GB llama", run.seconds, None, "s", "-", 1)
        self.add("RTN of a synthetic 4 GB llama, peak memory", run.peak / MB, None, "MB", "<= 1000 MB", 0)

    def modelfree(self):
        """Model-free W4A16 of a synthetic llama beside a plain copy of it: both read it from the disk, both write to the same disk."""
        size = min(self.a.modelfree_bytes, shutil.disk_usage(self.work).free // 3)
        source, hidden, intermediate, vocab = self.work / "synthetic-modelfree", 4096, 14336, 128256
        Run([sys.executable, ROOT / "tools" / "make_synthetic_llama.py", source, "--bytes", size, "--hidden", hidden,
             "--intermediate", intermediate, "--vocab", vocab, "--shard_bytes", min(3_000_000_000, size // 4)])
        shards = sorted(source.glob("*.safetensors"))
        gigabytes = sum(f.stat().st_size for f in shards) / 1e9
        largest = 2 * vocab * hidden

        def ours():
            self.forget(source)
            run = Run(["arkit", "quantize", source, "--scheme", "W4A16", "--format", "auto_round", "--iters", 0, "--disable_opt_rtn",
                       "--model_free", "--output_dir", self.out("arkit-modelfree"), "--json"])
            shutil.rmtree(self.work / "arkit-modelfree")
            return run

        def copy():
            self.forget(source)
            self.out("plain-copy").mkdir()
            run = Run(["cp", *shards, self.work / "plain-copy"])
            shutil.rmtree(self.work / "plain-copy")
            return run

        mine, plain = self.alternate(ours, copy)
        shutil.rmtree(source)
        speed = lambda runs: gigabytes / statistics.median(r.seconds for r in runs)
        self.add(f"model-free W4A16 of a synthetic {gigabytes:.1f} GB llama, cold, against cp", speed(mine), speed(plain), "GB/s", "ratio >= 0.50")
        self.add("model-free W4A16, CPU time per GB, against cp", statistics.median(r.cpu for r in mine) / gigabytes,
                 statistics.median(r.cpu for r in plain) / gigabytes, "s", "-")
        self.add("model-free W4A16, bytes from the disk per byte of input", max(r.read for r in mine) / gigabytes / 1e9, None, "", "1.0")
        self.add("model-free W4A16, peak memory", max(r.peak for r in mine) / MB, None, "MB", f"<= {300 + 2 * largest / MB:.0f} MB", 0)

    def infer(self):
        """`arkit bench` and llama.cpp in turns, on W4A16 in groups of 64 and on Q4_0 of the same source."""
        self.arkit("infer-w4", "--recipe", "rtn")
        ours = next((self.work / "infer-w4").rglob("config.json")).parent
        Run(["arkit", "quantize", self.a.model, "--format", "gguf:q4_0", "--recipe", "rtn", "--output_dir", self.out("infer-gguf"), "--json"])
        theirs = next((self.work / "infer-gguf").rglob("*.gguf"))

        def arkit(threads):
            made = Run(["arkit", "bench", ours, "--only", "prefill,decode", "--threads", threads, "--json"]).json()
            return {row["group"]: row["value"] for row in made["rows"]}

        for threads in sorted({1, os.cpu_count()}):
            mine, peers = self.alternate(lambda: arkit(threads), lambda: Run([self.a.llama, HERE / "llama.py", theirs, threads]).json())
            for group, target in (("prefill", "ratio >= 3"), ("decode", "ratio >= 2")):
                median = lambda runs: statistics.median(run[group] for run in runs)
                self.add(f"{group}, W4A16 G64 against llama.cpp Q4_0, {threads} thread{'s' * (threads > 1)}", median(mine), median(peers),
                         "tokens/s", target, 1)

    def kernels(self):
        """int4 products of the backend over bandwidth and dot peak, as `arkit bench` measures them on the spot."""
        for row in Run(["arkit", "bench", "--only", "kernels", "--json"]).json()["rows"]:
            self.add(f"{row['what']}, {row['threads']} thread{'s' * (row['threads'] > 1)}; reference: {row['bound_by']} of this machine",
                     row["value"], row["roofline"], row["unit"], "ratio >= 0.70", 1)

    @staticmethod
    def forget(folder):
        """Writes back what is dirty and drops the folder's files from the page cache."""
        os.sync()
        for path in pathlib.Path(folder).iterdir():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)

    def need_data(self):
        if self.calibration.exists() and self.ids.exists():
            return True
        print(f"SKIPPED: needs wikitext2_valid.json and wikitext2_test.smollm2_ids.safetensors in {self.data} (set ARKIT_SHARED)")
        return False


ROWS = {"startup": Bench.startup, "rtn": Bench.rtn, "ppl": Bench.ppl_rows, "opt_rtn": Bench.opt_rtn, "step": Bench.step,
        "tune": Bench.tune, "large": Bench.large, "modelfree": Bench.modelfree, "infer": Bench.infer, "kernels": Bench.kernels}
NEED_DATA = {"ppl", "opt_rtn", "step", "tune"}


def cpu_name():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    return f"{names[0] if names else 'unknown CPU'}, {os.cpu_count()} cores, AVX512-BF16 {'yes' if 'avx512_bf16' in flags else 'no'}"


def append(rows):
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    version = subprocess.run(["arkit", "--version"], capture_output=True, text=True).stdout.split("\n")[0]
    today = datetime.date.today().isoformat()
    load = os.getloadavg()[0]
    with open(LOG, "a") as f:
        f.write(f"\n### {today}, {version} ({commit or 'no git'})\n\n{cpu_name()}; load average at the end {load:.1f}; reference: "
                "AutoRound 0.16.1, torch 2.13.0 (CPU).\n\n| what | arkit | reference | arkit / reference | target |\n"
                "| --- | --- | --- | --- | --- |\n")
        f.writelines("| " + " | ".join(row) + " |\n" for row in rows)
    print(f"appended {len(rows)} rows to {LOG.relative_to(ROOT)}")


def main():
    p = argparse.ArgumentParser()
    for name in ("--peer", "--model", "--gguf", "--shared", "--work"):
        p.add_argument(name, required=True)
    p.add_argument("--llama", help="Python with llama-cpp-python, for row infer")
    p.add_argument("--repeat", type=int, default=3)
    p.add_argument("--modelfree_bytes", type=int, default=16_000_000_000, help="size of the model of row modelfree; a third of the free disk at most")
    p.add_argument("--dry", action="store_true", help="print the rows without appending them to docs/BENCHMARKS.md")
    p.add_argument("rows", nargs="*", metavar="ROW", help=" ".join(ROWS))
    args = p.parse_args()
    unknown = [row for row in args.rows if row not in ROWS]
    if unknown:
        p.error(f"unknown row '{unknown[0]}'; known: {' '.join(ROWS)}")
    bench = Bench(args)
    for name in args.rows or ROWS:
        if name not in NEED_DATA or bench.need_data():
            ROWS[name](bench)
    if bench.rows and not args.dry:
        append(bench.rows)


if __name__ == "__main__":
    main()
