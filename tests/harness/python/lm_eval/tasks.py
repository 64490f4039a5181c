import fnmatch
import os

TASKS = ["good", "better", "failing", "dying", "leaving", "printing", "sleeping", "scoring", "telling"]


class TaskManager:
    def __init__(self, include_path=None):
        self.known = TASKS + (sorted(os.listdir(include_path)) if include_path else [])

    def match_tasks(self, names):
        return sorted({task for task in self.known for name in names if fnmatch.fnmatchcase(task, name)}, key=self.known.index)
