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
    """What a setting's calls gave: the median under each name, and the 95th percentile of the whole call.

    Args:
        actions: by setting.
        rounds: turns of each, forwards and backwards alternately.
        together: what settings to report together, such as frames of one kind: the mean of their medians, since one
            frame's cards may be read twice and another's not.
    """
    taken: dict[Any, list[Timed]] = {key: [] for key in actions}
    order = list(actions)
    for number in range(WARM_UP + rounds):
        for key in order if number % 2 == 0 else reversed(order):
            timed = actions[key]()
            if number >= WARM_UP:
                taken[key].append(timed)
    groups: dict[Any, list[list[Timed]]] = {}
    for key, calls in taken.items():
        groups.setdefault(together(key), []).append(calls)
    return {key: _summary(of_group) for key, of_group in groups.items()}


def _summary(settings: list[list[Timed]]) -> dict[str, float]:
    """Of the calls of settings that are reported together."""
    found = {
        name: round(float(np.mean([np.median([call[name] for call in calls]) for calls in settings])), 4)
        for name in settings[0][0]
    }
    main = "total_ms" if "total_ms" in found else "each_ms"
    every = [call[main] for calls in settings for call in calls]
    return found | {"p95_ms": round(float(np.percentile(every, 95)), 4), "calls": len(every)}
