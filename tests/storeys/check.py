#!/usr/bin/env python3
"""Draws the graph of includes and looks for arrows that run up, for names that core and engine must not know, and at the size of core.

    check.py ROOT            fails on the first three; docs/ARCHITECTURE.md and docs/adr/0034 say what the storeys are
    check.py ROOT --counts   prints the list of names as it would be now, for names.txt
    check.py ROOT --graph    prints the arrows between rooms
"""
import os
import re
import sys
from collections import Counter, defaultdict

CORE_LINES = 8400  # of core/include and core/src, but for the host's side of the door of backends; grew by four faces of plugins with GGUF (ADR 0059 to 0062)
DOOR = ("core/include/arkit/backend_c.h", "core/include/arkit/inference_backend.h", "core/src/plugins/backend_door/")
DOOR_LINES = 2000

# Storeys by folder, and what each may include. A room of the engine may include rooms of lower floors only.
STOREYS = {
    "core/include": "api", "core/src": "core", "sdk/examples/embed": "embedder", "sdk": "sdk", "plugins": "plugins",
    "apps/engine/include": "engine api", "apps/engine/src": "engine", "apps/arkit": "program",
}
MAY_INCLUDE = {
    "api": {"api"},
    "core": {"api", "core"},
    "sdk": {"api", "sdk"},
    "plugins": {"api", "sdk", "plugins"},
    "engine api": {"api", "engine api"},
    "engine": {"api", "sdk", "engine api", "engine", "core"},
    "program": {"api", "engine api", "program", "core"},
    "embedder": {"api", "engine api"},
}
FLOORS = {
    "core": [["util"], ["io"], ["plugins"]],
    "engine": [["util", "options"], ["hub"], ["text", "calibration", "quant", "model_free", "output"], ["source", "grammar"], ["rounding", "oneshot"],
               ["transform"],
               ["tuning", "inference"], ["verify", "autoscheme"], ["convert"], ["jobs"], ["serve"], ["harness"]],
}
# Headers of core/src that others see. They are no part of an interface: this list gets shorter.
DOORS = {
    "engine": {"io/companion_files.h", "io/late_file.h", "io/safe_path.h", "io/weight_names.h", "plugins/guard_call.h",
               "util/cpu_limit.h"},
    "program": set(),
}
GENERATED = {"arkit/header_hash.h"}

# Words of identifiers and strings in core/ and apps/engine/ that belong to one plugin, format, family or layer. Names of plugins come from
# the folders of plugins/; these say what every number is called, too.
NOT_NAMES = {"fake", "int", "torch", "fp8", "declared", "hf"}
FAMILIES = (r"llama\d*|qwen\d*|mistral|mixtral|gemma\d*|phi\d*|falcon|bloom|mamba\d*|gpt_neox|gpt_oss|internlm\d*|deepseek\w*|granite|"
            r"olmo\d*")
LAYERS = (r"[qkvo]_proj|qkv_proj|(gate|up|down|gate_up|in|out)_proj|c_attn|c_proj|self_attn|mlp|experts?|router|lm_head|embed_tokens|"
          r"wte|wpe|w1|w2|w3|w13|input_layernorm|post_attention_layernorm")
# Roles and fields of the interface (LayerRole, LayerPlan): names of layers in strings alone.
ROLES = re.compile(r"(?<![a-z0-9])(experts?|router)(?![a-z0-9])")
STRING = re.compile(r'(R"\((?:.|\n)*?\)"|"(?:\\.|[^"\\\n])*")')

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)
# Strings stay, comments go.
COMMENT = re.compile(r'(R"\((?:.|\n)*?\)"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\')|//[^\n]*|/\*(?:.|\n)*?\*/')


def sources(root):
    for folder in ("core", "sdk", "plugins", "apps"):
        for path, folders, files in os.walk(os.path.join(root, folder)):
            folders[:] = sorted(f for f in folders if f != "build")
            for file in sorted(files):
                if file.endswith((".h", ".cpp", ".inc")):
                    yield os.path.relpath(os.path.join(path, file), root)


def storey_of(file):
    return next(storey for folder, storey in STOREYS.items() if file.startswith(folder + "/"))


def room_of(file):
    storey, parts = storey_of(file), file.split("/")
    if storey in ("core", "engine"):
        return parts[parts.index("src") + 1]
    return "/".join(parts[1:3]) if storey == "plugins" else ""


def floor_of(storey, room):
    for floor, rooms in enumerate(FLOORS[storey]):
        if room in rooms:
            return floor
    return None


class Check:
    def __init__(self, root):
        self.root, self.faults, self.arrows, self.used_doors = root, [], defaultdict(set), defaultdict(set)
        self.files = list(sources(root))
        self.known = set(self.files)
        self.text = {file: open(os.path.join(root, file), encoding="utf-8").read() for file in self.files}

    def fault(self, file, what):
        self.faults.append(f"{file}: {what}")

    def resolve(self, file, kind, name):
        """The file of the tree that an include means; None for those of others."""
        if kind == "<":
            roots = ["core/include", "sdk/include", "apps/engine/include"]
            if name.startswith("arkit/sdk/conformance/"):
                return "sdk/conformance/" + name.rsplit("/", 1)[1]
        else:
            roots = [os.path.dirname(file), "core/src", "apps/engine/src", "sdk", "apps/arkit"]
            if storey_of(file) == "engine":
                roots.insert(1, "apps/engine/src")
        for root in roots:
            path = os.path.normpath(os.path.join(root, name))
            if path in self.known:
                return path
        return None

    def includes(self):
        for file in self.files:
            for kind, name in INCLUDE.findall(self.text[file]):
                target = self.resolve(file, kind, name)
                if target is not None:
                    self.arrow(file, target, name)
                elif name.startswith("arkit/") and name not in GENERATED:
                    self.fault(file, f"includes <{name}>, which is nowhere")
                elif kind == '"' and not file.startswith("sdk/template/"):
                    self.fault(file, f'includes "{name}", which is nowhere')

    def arrow(self, file, target, name):
        here, there = storey_of(file), storey_of(target)
        room, other = room_of(file), room_of(target)
        if (here, room) != (there, other):
            self.arrows[f"{here} {room}".strip()].add(f"{there} {other}".strip())
        if there not in MAY_INCLUDE[here]:
            self.fault(file, f"includes {target}: {here} must not see {there}")
        elif here in DOORS and there == "core":
            self.used_doors[here].add(name)
            if name not in DOORS[here]:
                self.fault(file, f"includes {target}, which is private to core")
        elif here == there == "plugins" and room != other:
            self.fault(file, f"includes {target}: a plugin never includes another")
        elif here == there and here in FLOORS and room != other:
            mine, its = floor_of(here, room), floor_of(there, other)
            if mine is None or its is None:
                self.fault(file, f"room '{other if its is None else room}' has no floor in tests/storeys/check.py")
            elif its >= mine:
                self.fault(file, f"includes {target}: an arrow from '{room}' up to '{other}'")

    def doors(self):
        for storey, doors in DOORS.items():
            for door in sorted(doors - self.used_doors[storey]):
                self.faults.append(f"tests/storeys/check.py: nobody of '{storey}' includes {door} any more; take it off the list of doors")

    def size(self):
        counts = {file: text.count("\n") for file, text in self.text.items()
                  if file.startswith("core/") and not file.endswith("/header_hash.h")}
        door = sum(count for file, count in counts.items() if file.startswith(DOOR))
        lines = sum(counts.values()) - door
        if door > DOOR_LINES:
            self.faults.append(f"the door of backends has {door} lines in core, more than {DOOR_LINES}")
        if lines > CORE_LINES:
            self.faults.append(f"core has {lines} lines, more than {CORE_LINES}: what decides what happens next belongs to apps/engine")
        return lines

    def datasets(self):
        """Names that files of share/datasets give."""
        names = set()
        folder = os.path.join(self.root, "share", "datasets")
        for file in os.listdir(folder) if os.path.isdir(folder) else []:
            if file.endswith(".toml") and file != "defaults.toml":
                with open(os.path.join(folder, file), encoding="utf-8") as text:
                    names |= {name.lower() for line in re.findall(r"^(?:name|also|source|modelscope) *=(.*)$", text.read(), re.M)
                              for name in re.findall(r'"([^"]+)"', line)}
        return names

    def names(self):
        """Lines and words, by file."""
        folder = os.path.join(self.root, "plugins")
        plugins = {entry.name for kind in os.scandir(folder) if kind.is_dir()
                   for entry in os.scandir(kind.path) if entry.is_dir()} - NOT_NAMES
        names = "|".join(sorted(plugins) + sorted(re.escape(name) for name in self.datasets()))
        word = re.compile(rf"(?<![a-z0-9])({names}|{FAMILIES}|{LAYERS})(?![a-z0-9])")
        found = {}
        for file in self.files:
            if not file.startswith(("core/", "apps/engine/")):
                continue
            code = COMMENT.sub(lambda m: m.group(1) or re.sub(r"[^\n]", " ", m.group(0)), self.text[file])
            parts = STRING.split(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", code))
            code = "".join(part.lower() if i % 2 else ROLES.sub("", part.lower()) for i, part in enumerate(parts))
            hits = []
            for number, line in enumerate(code.split("\n"), 1):
                if not line.lstrip().startswith("#include"):
                    hits += [(number, m.group(1)) for m in word.finditer(line)]
            if hits:
                found[file] = hits
        return found

    def compare_names(self, allowed_file):
        allowed = Counter()
        for line in open(allowed_file, encoding="utf-8"):
            if line.strip() and not line.startswith("#"):
                file, count = line.split()
                allowed[file] = int(count)
        found = self.names()
        for file in sorted(set(allowed) | set(found)):
            hits = found.get(file, [])
            if len(hits) > allowed[file]:
                where = ", ".join(f"{number}: {word}" for number, word in hits)
                self.fault(file, f"names plugins, formats, families or layers {len(hits)} times, {allowed[file]} are on the list ({where})")
            elif len(hits) < allowed[file]:
                self.fault(file, f"has {len(hits)} of the {allowed[file]} names on the list; lower the number in tests/storeys/names.txt")


def main():
    check = Check(sys.argv[1])
    if "--counts" in sys.argv:
        for file, hits in sorted(check.names().items()):
            print(file, len(hits))
        return 0
    check.includes()
    if "--graph" in sys.argv:
        for room, others in sorted(check.arrows.items()):
            print(f"{room} -> {', '.join(sorted(others))}")
        return 0
    check.doors()
    lines = check.size()
    check.compare_names(os.path.join(os.path.dirname(os.path.abspath(__file__)), "names.txt"))
    for fault in check.faults:
        print(fault)
    print(f"{len(check.files)} files, {sum(map(len, check.arrows.values()))} arrows between rooms, {lines} lines in core: "
          f"{len(check.faults) or 'no'} faults")
    return 1 if check.faults else 0


if __name__ == "__main__":
    sys.exit(main())
