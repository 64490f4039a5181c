"""Runs tasks of lm-eval for arkit (README.md beside this file).

Standard input, one JSON object:
  needs           modules that must be there; nothing else is done when one is not
  tasks           names, patterns and groups
  include_path    a folder of task files beside lm-eval's own, or null
  check           true = look for modules and tasks, run nothing
  task_by_task    run each task by itself; one that fails does not keep the others from running
  model, model_args, batch_size, device           as lm-eval takes them
  limit, num_fewshot, gen_kwargs, fewshot_as_multiturn    of simple_evaluate; null = lm-eval's own

Standard output, one JSON object a line, by "event":
  checked   python, lm_eval (versions; null = not there), missing (modules), unknown (tasks), reads_remote (its tokenizer can be the server's)
  results   tasks, results, groups, versions, n-shot, n-samples, higher_is_better, table
  failed    tasks, error
"""

import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import sys

KEPT = ("results", "groups", "versions", "n-shot", "n-samples", "higher_is_better")


def plain(value):
    """What JSON can hold: numbers that are none are null."""
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, (bool, int, str)) or value is None:
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return number if math.isfinite(number) else None


def one_line(error):
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[-1] if lines[0].startswith('Traceback') else lines[0]}"[:2000]


def is_there(module):
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def version_of(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def check(request, answer):
    """The manager of tasks, or None when something is missing."""
    missing = [module for module in request["needs"] if not is_there(module)]
    found = {"event": "checked", "python": platform.python_version(), "missing": missing, "unknown": []}
    found["lm_eval"] = version_of("lm_eval")
    if missing:
        answer(found)
        return None
    import lm_eval.utils
    from lm_eval.tasks import TaskManager

    found["reads_remote"] = hasattr(lm_eval.utils, "RemoteTokenizer")
    manager = TaskManager(include_path=request["include_path"])
    found["unknown"] = [task for task in request["tasks"] if not manager.match_tasks([task])]
    answer(found)
    return None if found["unknown"] else manager


def with_special_tokens(api):
    """lm-eval asks a remote tokenizer for text without special tokens, whatever add_bos_token says."""

    class WithSpecialTokens(api):
        def tok_encode(self, string, left_truncate_len=None, **ignored):
            def encode(text):
                url = f"{self.tokenizer.base_url}/tokenize"
                asked = {"prompt": text, "add_special_tokens": True}
                reply = self.tokenizer._request_with_retries("POST", url, json=asked)
                return reply.json()["tokens"][-(left_truncate_len or 0) :]

            return encode(string) if isinstance(string, str) else [encode(text) for text in string]

    return WithSpecialTokens


def open_model(request):
    import lm_eval.models  # registers what there is
    from lm_eval.api.registry import get_model

    kind = get_model(request["model"])
    if request["model"] == "local-completions" and request["model_args"].get("add_bos_token"):
        kind = with_special_tokens(kind)
    beside = {"batch_size": request["batch_size"], "device": request["device"]}
    return kind.create_from_arg_obj(request["model_args"], {k: v for k, v in beside.items() if v is not None})


def evaluate(request, model, manager, tasks, answer):
    from lm_eval import simple_evaluate
    from lm_eval.utils import make_table

    wishes = ("limit", "num_fewshot", "gen_kwargs", "fewshot_as_multiturn")
    given = {name: request[name] for name in wishes if request[name] is not None}
    try:
        found = simple_evaluate(model=model, tasks=tasks, task_manager=manager, log_samples=False, **given)
        table = make_table(found)
        if found.get("groups"):
            table += "\n" + make_table(found, "groups")
    except (Exception, SystemExit) as error:
        answer({"event": "failed", "tasks": tasks, "error": one_line(error)})
        return
    kept = {name: plain(found[name]) for name in KEPT if name in found}
    answer({"event": "results", "tasks": tasks, "table": table, **kept})


def main():
    # Whatever prints, prints to standard error; answers have the channel to themselves.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(what):
        channel.write(json.dumps(what) + "\n")
        channel.flush()

    request = json.load(sys.stdin)
    manager = check(request, answer)
    if manager is None or request["check"]:
        return
    tasks = request["tasks"]
    if request["task_by_task"]:  # in the order they were named, each once
        tasks = list(dict.fromkeys(task for name in tasks for task in manager.match_tasks([name])))
    try:
        model = open_model(request)
    except (Exception, SystemExit) as error:
        answer({"event": "failed", "tasks": tasks, "error": one_line(error)})
        return
    for some in [[task] for task in tasks] if request["task_by_task"] else [tasks]:
        evaluate(request, model, manager, some, answer)


if __name__ == "__main__":
    main()
