"""The steps: which command each one is, and which entries of its table are files that it reads or writes.

A step's arguments come from its table in the config by one rule, so that options of the commands need no change here:
the entries that `Step.positional` names come first, without their names; any other entry `some_name = value` becomes
`--some-name value`, `true` the option alone, `false` nothing, a list the option once for each of its values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["RESERVED", "STEPS", "Step", "arguments"]

RESERVED = ("inputs", "optional")
"""Entries that are the pipeline's: further files that the step reads; whether the others go on without it."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step.

    Attributes:
        name: of its table in the config.
        command: module and its first arguments.
        positional: entries that are arguments without a name, in their order.
        reads: entries that are files or folders, which it reads.
        writes: entries that are files or folders, which it makes or changes.
        resume: option that goes on from a file in the folder `out`, and that file, after the step was stopped.
        code: module that stands for the step's code; that of the command unless given.
    """

    name: str
    command: tuple[str, ...]
    positional: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    resume: tuple[str, str] | None = None
    code: str = ""


STEPS = (
    Step(name="download", command=("training.download",), positional=("source", "checkout"),
         reads=("checkout",), writes=("out",)),
    Step(name="prepare", command=("training.prepare",), positional=("source",), reads=("source",), writes=("out",)),
    Step(name="train", command=("training.train",), positional=("config",), reads=("config", "data"), writes=("out",),
         resume=("--resume", "checkpoint.pt")),
    Step(name="upload-data", command=("training.cloud", "upload"), positional=("folder", "name"),
         reads=("folder", "cloud")),
    Step(name="launch", command=("training.cloud", "launch"), reads=("config", "cloud"), writes=("out",)),
    Step(name="export", command=("training.export",), positional=("checkpoint",),
         reads=("checkpoint", "config", "data", "images"), writes=("out",)),
    Step(name="evaluate", command=("training.evaluate",), positional=("model",), reads=("model", "config", "data"),
         writes=("out", "model")),  # --write puts the calibration into the model
    Step(name="quantize", command=("training.quantize",), positional=("model",),
         reads=("model", "images", "config", "data"), writes=("out",)),
    Step(name="calibrate", command=("training.calibrate_npu",), reads=("images", "config", "data"), writes=("out",)),
    Step(name="compile", command=("training.compile",), positional=("model",),
         reads=("model", "calibration", "parity", "script"), writes=("out",)),
    Step(name="index", command=("cardrec.cli", "index", "build"), positional=("source", "catalog"),
         reads=("source", "model"), writes=("catalog", "report"), code="cardrec.cli_index"),
    Step(name="register", command=("training.cloud", "registry", "register"), positional=("bundle",),
         reads=("bundle", "cloud")),
    Step(name="upload", command=("training.cloud", "upload"), positional=("folder", "name"), reads=("folder", "cloud")),
    Step(name="deploy", command=("training.cloud", "deploy", "push"), positional=("bundle",),
         reads=("bundle", "catalog", "cloud")),
)  # fmt: skip
"""In the order in which they run."""


def arguments(step: Step, table: Mapping[str, Any]) -> list[str]:
    """The command's arguments, from the step's table."""
    made = [str(table[name]) for name in step.positional if name in table]
    for name, value in table.items():
        if name in step.positional or name in RESERVED or value is False:
            continue
        option = f"--{name.replace('_', '-')}"
        if value is True:
            made.append(option)
        else:
            made += [text for each in (value if isinstance(value, list) else [value]) for text in (option, str(each))]
    return made
