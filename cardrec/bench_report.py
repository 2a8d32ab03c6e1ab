"""What `cardrec bench --json` writes, and a comparison of two of them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cardrec.errors import InputError
from cardrec.machine import describe, versions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cardrec.recognizer import Recognizer

__all__ = ["FORMAT", "LIMIT", "Change", "changes", "describe_run", "differences", "read_report"]

KIND = "cardrec bench"
FORMAT = 1
"""Raised where an older `read_report` would misread a file; what it does not know it ignores."""

LIMIT = 1.15
"""Times as slow as then that is called slower. Beside other work two runs of equal code differed by 1.21."""

MOST_BYTES = 1 << 20
"""Of a report; real ones have about 1,500."""

_SAME = {
    "processor": ("machine", "cpu"),
    "cores": ("machine", "cores"),
    "architecture": ("machine", "architecture"),
    **{name: ("versions", name) for name in ("cardrec", "python", "numpy", "onnxruntime", "opencv")},
    "backend": ("backend",),
    "threads": ("threads",),
    "search kernels": ("simd",),
    "image kernels": ("simd_image",),
    "model": ("model", "fingerprint"),
    "cards": ("catalog", "cards"),
    "frame": ("frame", "sha256"),
    "bundled photos answered right": ("accuracy", "right"),
}
"""What must be the same in two reports, or their times say little of cardrec: names for people, places in a report."""


@dataclass(frozen=True, slots=True)
class Change:
    """One stage in two reports.

    Attributes:
        stage: its name in the reports; ``stream`` is what a frame of a stream takes, in the mean.
        ms: milliseconds then and now: medians, of a stream means.
        p95_ms: the 95th percentiles; None of a stream.
    """

    stage: str
    ms: tuple[float, float]
    p95_ms: tuple[float, float] | None

    @property
    def ratio(self) -> float:
        """Now over then."""
        return self.ms[1] / self.ms[0]


def describe_run(recognizer: Recognizer, frame: NDArray[np.uint8], threads: int) -> dict[str, Any]:
    """What the times of a report depend on, as plain JSON types; nothing in it names the machine or its owner."""
    facts = recognizer.info()
    height, width = frame.shape[:2]
    return {
        "kind": KIND,
        "format": FORMAT,
        "machine": describe(),
        "versions": versions(),
        "backend": facts["backend"],
        "threads": threads,
        "simd": facts["simd"],
        "simd_image": facts["simd_image"],
        "model": {name: facts["model"][name] for name in ("name", "fingerprint")},
        "catalog": {"cards": facts["catalog"]["cards"]},
        "frame": {"size_wh": [width, height], "sha256": hashlib.sha256(frame.tobytes()).hexdigest()},
    }


def read_report(path: Path) -> dict[str, Any]:
    """A report that `cardrec bench --json` wrote, here or on another machine.

    Raises:
        InputError: it can't be read, or is something else, or of a later format.
    """
    again = f"write one with `cardrec bench --json > {path.name}`"
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror}); {again}") from None
    try:
        report = json.loads(text) if len(text) <= MOST_BYTES else None
    except (ValueError, RecursionError):
        report = None
    if not isinstance(report, dict) or report.get("kind") != KIND or not isinstance(report.get("format"), int):
        raise InputError(f"{path} holds no report of `cardrec bench`; {again}")
    if report["format"] > FORMAT:
        raise InputError(
            f"{path} has format {report['format']}, this cardrec reads up to {FORMAT}; update cardrec, or {again}"
        )
    if not _are_times(report.get("ms")) or not _is_stream(report.get("stream")):
        raise InputError(f"{path} is damaged: it lacks the milliseconds of a stage, or frames a second; {again}")
    return report


def _are_times(stages: object) -> bool:
    if not isinstance(stages, dict):
        return False
    return all(
        isinstance(spent, dict) and _is_number(spent.get("p50")) and _is_number(spent.get("p95"))
        for spent in stages.values()
    )


def _is_stream(stream: object) -> bool:
    """Reports need not have one."""
    return stream is None or (isinstance(stream, dict) and _is_number(stream.get("frames_per_second")))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """The stages that both reports have and that took time, in the order of ``now``.

    Raises:
        InputError: there is none.
    """
    found = []
    for stage, spent in now["ms"].items():
        earlier = then["ms"].get(stage)
        if earlier and min(earlier["p50"], spent["p50"], earlier["p95"]) > 0:
            found.append(Change(stage, (earlier["p50"], spent["p50"]), (earlier["p95"], spent["p95"])))
    rates = [float(report["stream"]["frames_per_second"]) for report in (then, now) if report.get("stream")]
    if len(rates) == 2 and min(rates) > 0:
        found.append(Change("stream", (1e3 / rates[0], 1e3 / rates[1]), None))
    if not found:
        raise InputError("the two reports have no stage in common; measure both with the same options")
    return found


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What was not the same: ``processor (AMD EPYC then, Raspberry Pi 5 now)``."""
    found = []
    for name, place in _SAME.items():
        values = [_short(_at(report, place)) for report in (then, now)]
        if values[0] != values[1]:
            found.append(f"{name} ({values[0]} then, {values[1]} now)")
    return found


def _at(report: Mapping[str, Any], place: tuple[str, ...]) -> object:
    value: object = report
    for key in place:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _short(value: object) -> str:
    """A value for people; the first digits of a hash are enough."""
    text = "not said" if value is None else str(value)
    return f"{text[:8]}..." if len(text) in (32, 64) else text
