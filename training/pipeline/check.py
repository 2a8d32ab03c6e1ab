"""Whether a step has to run, and why.

Steps may share files: one changes what another has made, as `evaluate --write` does with the model. So a file counts,
to a step that reads it, as the last step before it has left it, and not at all if only later ones make it; and a
step's own files are as they should be if they are as it, or a later one, has left them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.failure import Failure
from training.pipeline.code import code_version
from training.pipeline.config import Task
from training.pipeline.files import Files, listed
from training.pipeline.state import Record, State, Status

__all__ = ["Checker", "Look"]


@dataclass(frozen=True)
class Look:
    """What there is when a task is about to run.

    Attributes:
        settings: the command's arguments.
        code: version of the code behind it.
        seen: the files of each path that it reads.
        found: of the files that it reads and writes, what they hold before.
    """

    settings: tuple[str, ...]
    code: str
    seen: Mapping[str, Mapping[str, str]]
    found: Mapping[str, str]

    def record(self, status: Status, outputs: Mapping[str, str]) -> Record:
        """A record of the task, whose ``outputs`` don't count as what it reads: they are checked as such."""
        inputs = {path: self._content(path, outputs) for path in self.seen}
        return Record(status=status, settings=self.settings, code=self.code, inputs=inputs, outputs=dict(outputs))

    def _content(self, path: str, outputs: Collection[str]) -> str:
        whole = hashlib.sha256()
        for name, content in self.seen[path].items():
            if name not in outputs:
                whole.update(f"{name}\0{content}\n".encode(errors="surrogateescape"))
        return whole.hexdigest()


class Checker:
    """Compares tasks with their records and with what is on the disk."""

    def __init__(self, tasks: Sequence[Task], state: State, files: Files) -> None:
        self._tasks = tasks
        self._state = state
        self._files = files

    def look(self, task: Task) -> Look:
        """What there is for a task.

        Raises:
            Failure: something that it reads is not there.
        """
        for path in task.reads:
            if not path.exists():
                raise Failure(f"{task.name} reads {path}, which does not exist; see [{task.name}] in the config")
        code = code_version(task.step.code or task.step.command[0])
        seen = {str(path): self._seen(task, path) for path in task.reads}
        shared = [path for path in task.writes if any(_overlap(path, read) for read in task.reads)]
        found = {str(file): self._files.digest(file) for path in shared for file in listed(path)}
        return Look(task.arguments, code, seen, found)

    def written(self, task: Task, look: Look, before: Collection[str] = ()) -> dict[str, str]:
        """The files that a task has written, with their hashes: all that are new or changed, and those of ``before``.

        Raises:
            Failure: it has not written what its table names.
        """
        for path in task.writes:
            if not path.exists():
                raise Failure(f"{task.name} ended without an error, but {path} does not exist; its log says more")
        return self.left(task, look, before)

    def left(self, task: Task, look: Look, before: Collection[str] = ()) -> dict[str, str]:
        """The same of a task that may have failed."""
        now = {str(file): self._files.digest(file) for path in task.writes for file in listed(path)}
        return {name: content for name, content in now.items() if look.found.get(name) != content or name in before}

    def why(self, task: Task, look: Look) -> str:
        """Why a task has to run; empty if it does not."""
        record = self._state.records.get(task.name)
        if record is None:
            return "it never ran"
        if record.status != "done":
            return "it failed" if record.status == "failed" else "it was interrupted"
        return _change(record, look.record("running", record.outputs)) or self._damage(task, record)

    def _damage(self, task: Task, record: Record) -> str:
        later = self._done(self._tasks[self._tasks.index(task) + 1 :])
        for name, content in record.outputs.items():
            found, left = self._files.digest(Path(name)), _last(later, name)
            if not found:
                return f"{name} is missing"
            if found not in (content, left):
                return f"{name} was altered"
        return ""

    def _seen(self, task: Task, path: Path) -> dict[str, str]:
        number = self._tasks.index(task)
        before = self._done(self._tasks[:number])
        after = [
            self._state.records[each.name] for each in self._tasks[number + 1 :] if each.name in self._state.records
        ]
        seen: dict[str, str] = {}
        for file in listed(path):
            name = str(file)
            left = _last(before, name)
            if left is not None:
                seen[name] = left
            elif _last(after, name) is None:
                seen[name] = self._files.digest(file)
        return seen

    def _done(self, tasks: Sequence[Task]) -> list[Record]:
        records = (self._state.records.get(task.name) for task in tasks)
        return [record for record in records if record is not None and record.status == "done"]


def _last(records: Sequence[Record], name: str) -> str | None:
    """What the last of the records that has this file says of it."""
    return next((record.outputs[name] for record in reversed(records) if name in record.outputs), None)


def _overlap(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)


def _change(record: Record, now: Record) -> str:
    if record.settings != now.settings:
        return "its settings changed"
    if record.code != now.code:
        return "its code changed"
    if record.inputs.keys() != now.inputs.keys():
        return "it reads other files"
    return next((f"{path} changed" for path in now.inputs if record.inputs[path] != now.inputs[path]), "")
