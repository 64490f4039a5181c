#!/usr/bin/env python3
"""What huggingface_hub writes to the cache arkit opens, and the other way round; both on hub_server.py. The same with ModelScope's client.

    check_interop.py ARKIT ROOT
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

ARKIT, ROOT = sys.argv[1], sys.argv[2]
MODEL = os.path.join(ROOT, "tests/data/golden/source-llama-bf16")
SERVER = os.path.join(ROOT, "tests/hub/hub_server.py")
faults = []


def check(what, condition, detail=""):
    print("ok  " if condition else "FAIL", what, detail if not condition else "")
    if not condition:
        faults.append(what)


def python(code, environment):
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)


def arkit(environment, *words):
    return subprocess.run([ARKIT, *words], env=environment, capture_output=True, text=True)


def requests_of(root):
    try:
        with open(os.path.join(root, "requests.log"), encoding="utf-8") as file:
            return [json.loads(line) for line in file]
    except FileNotFoundError:
        return []


def forget(root):
    if os.path.exists(os.path.join(root, "requests.log")):
        os.remove(os.path.join(root, "requests.log"))


SNAPSHOT = "import huggingface_hub as h; print(h.snapshot_download('org/tiny'))"


def tree(folder):
    """Everything of a cache but temporary names: links with their targets, files with their sizes."""
    found = {}
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(where, name)
            found[os.path.relpath(path, folder)] = os.readlink(path) if os.path.islink(path) else os.path.getsize(path)
    return found


def compare(symlinks, root, base):
    label = "with links" if symlinks else "with copies"
    caches = {name: tempfile.mkdtemp() for name in ("arkit", "hf")}
    def environment(cache, offline=False):
        more = {"HF_HOME": caches[cache], "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_ENDPOINT": base}
        if not symlinks:
            more["HF_HUB_DISABLE_SYMLINKS"] = "1"
        if offline:
            more["HF_HUB_OFFLINE"] = "1"
        return {**os.environ, **more}

    run = arkit(environment("arkit"), "inspect", "org/tiny", "--json")
    check(f"{label}: arkit downloads", run.returncode == 0, run.stderr)
    theirs = python(SNAPSHOT, environment("arkit", offline=True))
    check(f"{label}: huggingface_hub finds it offline", theirs.returncode == 0, theirs.stderr[-500:])
    if theirs.returncode == 0:
        path = theirs.stdout.strip()
        check(f"{label}: in the same folder", path == json.loads(run.stdout)["path"], path)
        for name in sorted(os.listdir(MODEL)):
            with open(os.path.join(MODEL, name), "rb") as a, open(os.path.join(path, name), "rb") as b:
                check(f"{label}: {name} is the same", a.read() == b.read())
    forget(root)
    online = python(SNAPSHOT, environment("arkit"))
    asked = [r for r in requests_of(root) if r["method"] == "GET" and "/resolve/" in r["path"] or r["host"] == "cdn"]
    check(f"{label}: huggingface_hub downloads nothing again", online.returncode == 0 and not asked, str(asked) + online.stderr[-300:])
    scan = python("import huggingface_hub as h; i = h.scan_cache_dir(); print([str(w) for w in i.warnings]); "
                  "print(sorted(r.repo_id for r in i.repos))", environment("arkit"))
    check(f"{label}: its scan has no warnings", scan.stdout == "[]\n['org/tiny']\n", scan.stdout + scan.stderr[-300:])

    run = python(SNAPSHOT, environment("hf"))
    check(f"{label}: huggingface_hub downloads", run.returncode == 0, run.stderr[-500:])
    forget(root)
    ours = arkit(environment("hf", offline=True), "inspect", "org/tiny", "--json")
    check(f"{label}: arkit finds it offline", ours.returncode == 0, ours.stderr)
    ours = arkit(environment("hf"), "inspect", "org/tiny", "--json")
    check(f"{label}: arkit finds it online", ours.returncode == 0 and json.loads(ours.stdout)["path"] == run.stdout.strip(), ours.stderr)
    check(f"{label}: arkit asks for no file", not [r for r in requests_of(root) if "/resolve/" in r["path"]])

    a, b = (tree(os.path.join(caches[name], "hub", "models--org--tiny")) for name in ("arkit", "hf"))
    check(f"{label}: both leave the same tree", a == b, str(sorted(set(a.items()) ^ set(b.items()))))
    for folder in caches.values():
        shutil.rmtree(folder)


def compare_modelscope(base):
    """ModelScope's own client, where it is installed (PyPI: modelscope-hub)."""
    if python("import modelscope_hub", dict(os.environ)).returncode != 0:
        print("SKIPPED: ModelScope needs modelscope_hub in this environment (pip install modelscope-hub)")
        return
    caches = {name: tempfile.mkdtemp() for name in ("arkit", "theirs", "home")}
    def environment(cache):
        return {**os.environ, "MODELSCOPE_ENDPOINT": base, "MODELSCOPE_CACHE": caches[cache], "MODELSCOPE_HOME": caches["home"]}
    download = "import modelscope_hub as m; print(m.HubApi().download_repo('org/tiny', repo_type='model'%s))"

    run = arkit(environment("arkit"), "inspect", "modelscope:org/tiny", "--json")
    check("ModelScope: arkit downloads", run.returncode == 0, run.stderr)
    offline = python(download % ", local_files_only=True", environment("arkit"))
    check("ModelScope: its client finds it offline", offline.returncode == 0, offline.stderr[-500:])
    check("ModelScope: in the same folder", offline.stdout.strip() == json.loads(run.stdout or "{}").get("path"), offline.stdout)

    run = python(download % "", environment("theirs"))
    check("ModelScope: its client downloads", run.returncode == 0, run.stderr[-500:])
    ours = arkit({**environment("theirs"), "HF_HUB_OFFLINE": "1"}, "inspect", "modelscope:org/tiny", "--json")
    check("ModelScope: arkit finds it offline", ours.returncode == 0 and json.loads(ours.stdout)["path"] == run.stdout.strip(), ours.stderr)

    files = [{path: size for path, size in tree(caches[name]).items() if path.startswith((".lock/", "models/org--tiny/snapshots/"))}
             for name in ("arkit", "theirs")]
    check("ModelScope: both leave the same files and locks", files[0] == files[1],
          str(sorted(set(files[0].items()) ^ set(files[1].items()))))
    for folder in caches.values():
        shutil.rmtree(folder)


def main():
    root = tempfile.mkdtemp()
    shutil.copytree(MODEL, os.path.join(root, "models/org/tiny"))
    server = subprocess.Popen([sys.executable, SERVER, root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        port = server.stdout.readline().split()[0]
        compare(True, root, f"http://localhost:{port}")
        compare(False, root, f"http://localhost:{port}")
        compare_modelscope(f"http://localhost:{port}")
    finally:
        server.stdin.close()
        server.wait()
        shutil.rmtree(root)
    print(f"{len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
