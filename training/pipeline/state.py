"""What has been done: a record for each step, in RUN/pipeline.json, and one process at a time that changes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from cardrec.files import write_atomically
from training import locks
from training.failure import Failure

__all__ = ["Record", "State", "locked"]

FORMAT = 1

Status = Literal["running", "done", "failed"]


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is known of a step's last run.

    Attributes:
        status: ``running`` of one that was killed as well.
        settings: its command's arguments.
        code: version of the code behind it.
        inputs: hash of what each file or folder held that it read.
        outputs: hash of each file that it wrote, as it left them when it ended, whether or not it came to its end.
        seconds: that it took.
        exit_code: of its command.
    """

    status: Status
    settings: tuple[str, ...]
    code: str
    inputs: dict[str, str]
    outputs: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    exit_code: int | None = None


class State:
    """The records of a run by step, read and written whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.records: dict[str, Record] = _read(path) if path.exists() else {}

    def put(self, name: str, record: Record) -> None:
        """Replaces a step's record, on the disk as well."""
        self.records[name] = record
        steps = {step: asdict(each) for step, each in self.records.items()}
        write_atomically(self._path, (json.dumps({"format": FORMAT, "steps": steps}, indent=1) + "\n").encode())


def _read(path: Path) -> dict[str, Record]:
    try:
        said: Any = json.loads(path.read_text(encoding="utf-8"))
        if said["format"] != FORMAT:
            raise ValueError(f"format {said['format']}, expected {FORMAT}")
        return {
            name: Record(**(table | {"settings": tuple(table["settings"])})) for name, table in said["steps"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failure(f"{path} is no state of a pipeline ({error}); remove it, and all steps run again") from error


@contextmanager
def locked(run: Path) -> Iterator[IO[str]]:
    """Makes the run's folder, and keeps others out of it.

    The lock goes on to the commands that are started with its file: one that outlives a killed pipeline keeps others
    out as well.

    Raises:
        Failure: another one is at work there.
    """
    run.mkdir(parents=True, exist_ok=True)
    refusal = f"{run}: another pipeline, or a step that one left behind, is at work; wait for it"
    with locks.locked(run / "pipeline.lock", refusal) as stream:
        yield stream
