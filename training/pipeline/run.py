"""Runs the tasks in order, each only if it has to, and says what became of them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import IO

from training.failure import Failure
from training.pipeline.check import Checker, Look
from training.pipeline.config import Pipeline, Task
from training.pipeline.files import Files
from training.pipeline.state import Record, State

__all__ = ["Choice", "Line", "run_pipeline"]

PATIENCE_S = 10.0
"""That a command has to end, once it is asked to, before it is killed."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was asked for.

    Attributes:
        chosen: the steps that may run.
        force: those that run whatever their state.
        accept: those that count as done as they are.
        dry: only say what would run.
    """

    chosen: Collection[str]
    force: Collection[str] = ()
    accept: Collection[str] = ()
    dry: bool = False


@dataclass(frozen=True)
class Line:
    """What became of a step.

    Attributes:
        name: the step's.
        status: one of ``done``, ``failed``, ``up to date``, ``left out``, ``accepted``, ``would run``, ``not reached``.
        seconds: that it took.
        why: it ran, or what is wrong.
    """

    name: str
    status: str
    seconds: float = 0.0
    why: str = ""


@dataclass
class _Runner:
    pipeline: Pipeline
    choice: Choice
    lock: IO[str]
    state: State
    files: Files
    checker: Checker
    stale: list[Path] = field(default_factory=list)

    def line(self, task: Task) -> Line:
        """Deals with one task."""
        if task.name not in self.choice.chosen:
            return Line(task.name, "left out")
        if self.choice.dry and (waits := [path for path in task.reads if self._is_stale(path)]):
            self.stale += task.writes
            return Line(task.name, "would run", why=f"{waits[0]} is made anew")
        look = self.checker.look(task)
        if task.name in self.choice.accept:
            self.state.put(task.name, look.record("done", self.checker.written(task, look, look.found)))
            return Line(task.name, "accepted")
        why = "forced" if task.name in self.choice.force else self.checker.why(task, look)
        if not why:
            return Line(task.name, "up to date")
        if self.choice.dry:
            self.stale += task.writes
            return Line(task.name, "would run", why=why)
        return self._run(task, look, why)

    def _is_stale(self, path: Path) -> bool:
        return any(path.is_relative_to(made) or made.is_relative_to(path) for made in self.stale)

    def _run(self, task: Task, look: Look, why: str) -> Line:
        before = self.state.records.get(task.name)
        own = {} if before is None else before.outputs
        begun = look.record("running", own)
        command = [sys.executable, "-m", *task.step.command, *task.arguments]
        if before is not None and before.status != "done" and task.name not in self.choice.force:
            command += _resuming(task, before, begun)
        self.state.put(task.name, begun)
        log = self.pipeline.run / "logs" / f"{task.name}.log"
        print(f"\n--- {task.name} ({why}): {shlex.join(command[1:])}", flush=True)
        started = time.monotonic()
        code = _logged(command, log, self.lock)
        seconds = time.monotonic() - started
        failed = look.record("failed", self.checker.left(task, look, own))
        self.state.put(task.name, replace(failed, seconds=seconds, exit_code=code))
        if code:
            return Line(task.name, "failed", seconds, f"exit code {code}; {log}")
        done = look.record("done", self.checker.written(task, look, own))
        self.state.put(task.name, replace(done, seconds=seconds, exit_code=code))
        return Line(task.name, "done", seconds, why)


def _resuming(task: Task, before: Record, begun: Record) -> list[str]:
    """The arguments with which a step goes on that did not come to its end, if nothing has changed since."""
    if task.step.resume is None:
        return []
    same = (before.settings, before.code, before.inputs) == (begun.settings, begun.code, begun.inputs)
    option, file = task.step.resume
    found = next((folder / file for folder in task.writes if (folder / file).is_file()), None)
    return [option, str(found)] if same and found else []


def run_pipeline(pipeline: Pipeline, choice: Choice, lock: IO[str]) -> Iterator[Line]:
    """Runs what has to run, in order, and gives what became of each step; after a failure the others aren't reached.

    Raises:
        Failure: a step can't start.
    """
    state = State(pipeline.run / "pipeline.json")
    files = Files(pipeline.run / "pipeline-files.json")
    runner = _Runner(pipeline, choice, lock, state, files, Checker(pipeline.tasks, state, files))
    failed = False
    for task in pipeline.tasks:
        if failed:
            yield Line(task.name, "not reached")
            continue
        try:
            line = runner.line(task)
        except Failure as error:
            line = Line(task.name, "failed", why=str(error))
        finally:
            files.save()
        failed = line.status == "failed" and not task.optional
        yield line


def _logged(command: list[str], log: Path, lock: IO[str]) -> int:
    """Runs a command; what it prints goes to our output and, after what is there, into the log. Gives its exit code."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as kept:
        kept.write(f"{datetime.now().astimezone():%F %T %z} {shlex.join(command)}\n".encode(errors="surrogateescape"))
        kept.flush()
        with _started(command, lock) as process:
            assert process.stdout is not None
            for line in process.stdout:
                kept.write(line)
                kept.flush()
                sys.stdout.buffer.write(line)
                sys.stdout.flush()
            code = process.wait()
        kept.write(f"exit code {code}\n\n".encode())
    return code


@contextmanager
def _started(command: list[str], lock: IO[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A command that does not outlive the block: after Ctrl-C, which it got as well, it has some time to end."""
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        pass_fds=[lock.fileno()],
    ) as process:
        try:
            yield process
        except BaseException:
            process.terminate()
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
