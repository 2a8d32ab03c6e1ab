"""Timing that survives a noisy machine: things in turn, so that a slow second hits all."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable


def alternate(*actions: Callable[[], object], rounds: int = 200, warm_up: int = 10) -> list[list[float]]:
    """Milliseconds of each call of some callables, called in turn; those of the warm-up are left out."""
    spent: list[list[float]] = [[] for _ in actions]
    for turn in range(warm_up + rounds):
        for place, action in enumerate(actions):
            begun = time.perf_counter()
            action()
            if turn >= warm_up:
                spent[place].append((time.perf_counter() - begun) * 1e3)
    return spent


def alternate_ms(
    first: Callable[[], object], second: Callable[[], object], *, rounds: int = 200, warm_up: int = 10
) -> tuple[float, float]:
    """Median milliseconds of two callables, called in turn."""
    ours, theirs = alternate(first, second, rounds=rounds, warm_up=warm_up)
    return statistics.median(ours), statistics.median(theirs)


def python_prints(code: str, *arguments: str) -> str:
    """What a fresh interpreter prints for a piece of code."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, timeout=300
    )
    return done.stdout


def commit() -> str | None:
    """The commit that is checked out, with a + where files differ from it; None without git or a checkout."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=60).stdout

    try:
        changed = git("status", "--porcelain", "--untracked-files=no").strip()
        return git("rev-parse", "HEAD").strip() + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None
