"""Reads the config of a pipeline: texts for all, and a table for each step that is to run."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.failure import Failure
from training.pipeline.steps import Step, arguments

__all__ = ["Pipeline", "Task", "read_pipeline"]


@dataclass(frozen=True)
class Task:
    """A step with its table.

    Attributes:
        step: which.
        arguments: of its command.
        reads: files and folders.
        writes: files and folders.
        optional: whether the others go on without it.
    """

    step: Step
    arguments: tuple[str, ...]
    reads: tuple[Path, ...]
    writes: tuple[Path, ...]
    optional: bool

    @property
    def name(self) -> str:
        """The step's."""
        return self.step.name


@dataclass(frozen=True)
class Pipeline:
    """What a config asks for: the folder of its state and logs, and its tasks in order."""

    run: Path
    tasks: tuple[Task, ...]


def read_pipeline(path: Path, steps: Sequence[Step]) -> Pipeline:
    """Reads a config. ``{name}`` in its tables stands for the text ``name = "..."`` above them.

    Raises:
        Failure: it is not TOML, or something in it is unknown, missing or of the wrong type.
        OSError: it can't be read.
    """
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Failure(f"{path} is not TOML in UTF-8: {error}") from error
    texts = {name: value for name, value in said.items() if isinstance(value, str)}
    tables = {name: value for name, value in said.items() if not isinstance(value, str)}
    known = {step.name for step in steps}
    for name, table in tables.items():
        if name not in known or not isinstance(table, dict):
            raise Failure(f"{path}: {name!r} is unknown; a text or one of the tables {', '.join(sorted(known))} is")
    if "run" not in texts or not tables:
        raise Failure(f'{path}: expected `run = "..."`, the folder of state and logs, and at least one table of a step')
    run = Path(texts["run"]).expanduser()
    tasks = tuple(
        _task(step, tables[step.name], texts, f"{path}, [{step.name}]") for step in steps if step.name in tables
    )
    for task in tasks:
        for folder in task.reads:
            if folder.resolve() in (run.resolve(), *run.resolve().parents):
                raise Failure(f"{path}, [{task.name}]: it reads {folder}, which holds the run's own {run}: move that")
    return Pipeline(run, tasks)


def _task(step: Step, table: Mapping[str, Any], texts: Mapping[str, str], where: str) -> Task:
    filled = {name: _filled(value, texts, f"{where}: {name}") for name, value in table.items()}
    optional, inputs = filled.get("optional", False), filled.get("inputs", [])
    if not isinstance(optional, bool):
        raise Failure(f"{where}: optional is {optional!r}; expected true or false")
    if not isinstance(inputs, list):
        raise Failure(f"{where}: inputs is {inputs!r}; expected a list of files and folders")
    for before, name in zip(step.positional, step.positional[1:], strict=False):
        if name in filled and before not in filled:
            raise Failure(f"{where}: {before!r} is missing, which comes before {name!r} on the command line")
    reads = [each for name in step.reads for each in _paths(filled.get(name, []))]
    reads += [base for path in reads for base in _bases(path)]
    writes = [each for name in step.writes for each in _paths(filled.get(name, []))]
    return Task(step, tuple(arguments(step, filled)), (*reads, *_paths(inputs)), tuple(writes), optional)


def _filled(value: Any, texts: Mapping[str, str], where: str) -> Any:
    """A value of a table, with what its braces stand for, and ``~`` for the home directory."""
    if isinstance(value, list):
        return [_filled(each, texts, where) for each in value]
    if isinstance(value, str):
        for name, text in texts.items():
            value = value.replace(f"{{{name}}}", text)
        return str(Path(value).expanduser()) if value.startswith("~/") else value
    if not isinstance(value, bool | int | float):
        raise Failure(f"{where} is {value!r}; expected a text, a number, true, false or a list of them")
    return value


def _paths(value: Any) -> list[Path]:
    return [Path(str(each)) for each in (value if isinstance(value, list) else [value])]


def _bases(path: Path) -> Iterator[Path]:
    """The configs that a training's config goes on from (`training/settings.py`)."""
    if path.suffix == ".toml" and path.is_file():
        try:
            base = tomllib.loads(path.read_text(encoding="utf-8")).get("base")
        except ValueError:
            return  # the step will say so
        if isinstance(base, str):
            yield path.parent / base
            yield from _bases(path.parent / base)
