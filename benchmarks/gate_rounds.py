"""Rounds of the latency gate: fresh processes of base, base again and head, that time each stage in turn."""

from __future__ import annotations

import json
import random
import select
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.gate_builds import WORKER, Installed, environment

__all__ = ["SIDES", "Times", "Worker", "WorkerError", "round_of", "shortest"]

SIDES = {"base": "base", "again": "base", "head": "head"}
"""The processes of a round, and what each of them runs."""
ANSWER_S = 120.0
"""The longest that a stage may take; the first one of a process loads the model, in about a second."""

Times = dict[str, dict[str, float | str]]
"""Milliseconds by stage and process; a text says why there are none."""


class WorkerError(Exception):
    """A process that does not answer, or runs another package than it should."""


class Worker:
    """A process of one side.

    Raises:
        WorkerError: it does not start.
    """

    def __init__(self, side: Installed, scene: Path, core: int | None) -> None:
        self._side = side
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        command = [str(side.python), "-I", str(WORKER), str(scene), str(side.catalogs)]
        command += [] if core is None else ["--core", str(core)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env=environment(), bufsize=0
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def about(self) -> dict[str, Any]:
        """What it says of itself, once.

        Raises:
            WorkerError: it has imported another cardrec.
        """
        said = self._answer()
        if Path(said["package"]) != self._side.package.resolve():
            raise WorkerError(f"imported {said['package']}; expected {self._side.package}")
        return said

    def time(self, stage: str) -> float | str:
        """The shortest milliseconds of some calls, or why there are none."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{stage}\n".encode())
        except BrokenPipeError:
            raise WorkerError(self._last_words()) from None
        said = self._answer()
        return float(said["ms"]) if "ms" in said else str(said["missing"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line, end = b"", time.monotonic() + ANSWER_S
        while not line.endswith(b"\n"):
            if not select.select([self._process.stdout], [], [], max(end - time.monotonic(), 0))[0]:
                raise WorkerError(f"no answer in {ANSWER_S:.0f} s")
            part = self._process.stdout.read(1 << 16)
            if not part:
                raise WorkerError(self._last_words())
            line += part
        said: dict[str, Any] = json.loads(line)
        return said

    def _last_words(self) -> str:
        status = self._process.wait(timeout=60)
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"it ended with status {status}"


def round_of(
    sides: Mapping[str, Installed], stages: Sequence[str], scene: Path, core: int | None, rng: random.Random
) -> tuple[Times, dict[str, str]]:
    """One round: the times, and the name of each process's model.

    The processes are there at once and wait while one of them works: times that are compared lie a moment apart.

    Raises:
        WorkerError: a process failed; the message begins with its side.
    """
    with ExitStack() as stack:
        names = rng.sample(list(SIDES), len(SIDES))
        workers = {name: stack.enter_context(Worker(sides[SIDES[name]], scene, core)) for name in names}
        times: Times = {stage: {} for stage in stages}
        name = names[0]
        try:
            models = {name: str(workers[name].about()["model"]) for name in names}
            for stage in stages:
                for name in rng.sample(names, len(names)):
                    times[stage][name] = workers[name].time(stage)
        except WorkerError as error:
            raise WorkerError(f"{SIDES[name]}: {error}") from error
    return times, models


def shortest(rounds: Sequence[Times]) -> Times:
    """The shortest time of each stage and process; a text where one of them has none."""
    best: Times = {}
    for stage, first in rounds[0].items():
        best[stage] = {}
        for name in first:
            every = [each[stage][name] for each in rounds]
            missing = [value for value in every if isinstance(value, str)]
            best[stage][name] = missing[0] if missing else min(float(value) for value in every)
    return best
