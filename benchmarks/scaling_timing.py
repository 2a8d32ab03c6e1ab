"""Settings that take turns, so that a slow second of the machine hits all, and the milliseconds of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeAlias

import numpy as np

from cardrec.bench import STAGES
from cardrec.types import Result

__all__ = ["Timed", "in_turn", "stages", "whole"]

Timed: TypeAlias = Mapping[str, float]
"""Milliseconds by name, and counts: whatever is to be reported of one call."""

WARM_UP = 2


def stages(result: Result) -> Timed:
    """The timings of a frame, and how many cards were found and named in it."""
    counts = {"found": len(result.cards), "named": sum(card.status == "match" for card in result.cards)}
    return {name: float(getattr(result.timings, name)) for name in STAGES} | counts


def whole(action: Callable[[], object], *, of: int) -> Callable[[], Timed]:
    """The action, timed as one call for ``of`` things."""

    def timed() -> Timed:
        begun = time.perf_counter()
        action()
        return {"each_ms": (time.perf_counter() - begun) * 1e3 / of}

    return timed


def in_turn(
    actions: Mapping[Any, Callable[[], Timed]],
    rounds: int,
    *,
    together: Callable[[Any], Hashable] = lambda key: key,
) -> dict[Any, dict[str, float]]:
    """What a setting's calls gave: the median under each name, and the 95th percentile of the last but counts.

    Args:
        actions: by setting.
        rounds: turns of each, forwards and backwards alternately.
        together: what settings to report together, such as frames of one kind.
    """
    taken: dict[Any, list[Timed]] = {}
    order = list(actions)
    for number in range(WARM_UP + rounds):
        for key in order if number % 2 == 0 else reversed(order):
            timed = actions[key]()
            if number >= WARM_UP:
                taken.setdefault(together(key), []).append(timed)
    return {key: _summary(taken[key]) for key in dict.fromkeys(map(together, order))}


def _summary(calls: list[Timed]) -> dict[str, float]:
    found = {}
    for name in calls[0]:
        values = [call[name] for call in calls]
        if name in ("found", "named"):
            found[name] = round(float(np.mean(values)), 2)
        else:
            found[name] = round(float(np.median(values)), 4)
    main = "total_ms" if "total_ms" in calls[0] else "each_ms"
    return found | {"p95_ms": round(float(np.percentile([call[main] for call in calls], 95)), 4), "calls": len(calls)}
