"""A long run with random faults: is every frame answered or failed, in order, with its own card, and is nothing left?

    python -m benchmarks.soak --frames 100000

Frames of sixteen cards are streamed through a simulated NPU (`cardrec.backends.simulated`) that fails at random, in
each of the ways that it can. What is expected of each frame is known. Memory and threads are counted on the way.
"""

from __future__ import annotations

import argparse
import gc
import logging
import resource
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cardrec import Catalog, Embedder, Recognizer
from cardrec.backends.simulated import Fault, SimulatedPlatform
from cardrec.bench import simulated_recognizer
from cardrec.detect import Detection
from cardrec.errors import DeviceError
from cardrec.image import Frame

CARDS = 16
LATENCY_MS = 0.5
TIMEOUT_S = 0.2


class WholeFrame:
    """A detector for pictures that are cards."""

    def detect(self, frame: Frame, *, max_cards: int) -> list[Detection]:
        width, height = frame.size_wh
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
        return [Detection(corners, 1.0)][:max_cards]


@dataclass
class Outcome:
    """What came of a run."""

    frames: int = 0
    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    broken_rules: list[str] = field(default_factory=list)
    threads_left: list[str] = field(default_factory=list)
    resident_mb: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def problems(self) -> list[str]:
        """What must not be."""
        found = [*self.wrong, *self.broken_rules, *(f"thread left: {name}" for name in self.threads_left)]
        if self.answered + sum(self.failed.values()) != self.frames:
            found.append(f"{self.frames} frames, but {self.answered} answers and {sum(self.failed.values())} failures")
        return found


def pictures() -> NDArray[np.uint8]:
    """(CARDS, 320, 224, 3) patterns that the encoder tells apart."""
    coarse = np.random.default_rng(0).integers(0, 256, (CARDS, 10, 7, 3), np.uint8)
    return coarse.repeat(32, axis=1).repeat(32, axis=2)


def fault_schedule(seed: int, rate: float) -> Callable[[int], Fault | None]:
    """A fault for that share of the jobs, of any kind, but for those that end the device's life."""
    rng = np.random.default_rng(seed)
    kinds = list(Fault)

    def schedule(_job: int) -> Fault | None:
        return kinds[rng.integers(len(kinds))] if rng.random() < rate else None

    return schedule


def resident_mb() -> float:
    """Memory of this process at the moment, collected first."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


class Counted:
    """A schedule of faults that counts them, and plugs an unplugged device in again after a while."""

    def __init__(self, schedule: Callable[[int], Fault | None], counts: Counter[str]) -> None:
        self._schedule, self._counts = schedule, counts

    def __call__(self, job: int) -> Fault | None:
        fault = self._schedule(job)
        if fault is not None:
            self._counts[fault.name] += 1
        return fault


def soak(folder: Path, frames: int, *, seed: int = 0, rate: float = 0.002, timeout_s: float = TIMEOUT_S) -> Outcome:
    """Streams so many frames, with faults in that share of the jobs.

    Args:
        folder: for the catalog that is searched.
        frames: how many.
        seed: of the faults.
        rate: share of the jobs that go wrong.
        timeout_s: the longest wait for the device; a busy machine does not always answer within the default.
    """
    outcome = Outcome(frames=frames)
    cards = pictures()
    before = {thread.ident for thread in threading.enumerate()}
    platform = SimulatedPlatform(
        latency_ms=LATENCY_MS, watch_memory=True, faults=Counted(fault_schedule(seed, rate), outcome.faults)
    )
    catalog = folder / "soak.cardrec"
    with Embedder() as embedder:
        Catalog.build(catalog, [(f"card-{n}", card, {}) for n, card in enumerate(cards)], encoder=embedder)
    begun = time.perf_counter()
    with simulated_recognizer(
        LATENCY_MS, catalog=catalog, detector=WholeFrame(), platform=platform, timeout_s=timeout_s
    ) as recognizer:
        _run(recognizer, platform, cards, outcome)
    outcome.seconds = time.perf_counter() - begun
    outcome.broken_rules = platform.broken_rules
    time.sleep(2 * TIMEOUT_S)  # late jobs end
    outcome.threads_left = [thread.name for thread in threading.enumerate() if thread.ident not in before]
    return outcome


def _run(recognizer: Recognizer, platform: SimulatedPlatform, cards: NDArray[np.uint8], outcome: Outcome) -> None:
    source = islice(cycle(cards), outcome.frames)
    every = max(1, outcome.frames // 20)
    with recognizer.stream(source) as stream:
        for number in range(outcome.frames):
            if number % every == 0:
                outcome.resident_mb.append(resident_mb())
            try:
                result = next(stream)
            except DeviceError as error:
                outcome.failed[type(error).__name__] += 1
                platform.plugged = True
                continue
            outcome.answered += 1
            got = result.cards[0].matches[0].card_id
            if result.index != number or got != f"card-{number % len(cards)}":
                outcome.wrong.append(f"frame {number}: answer {result.index} is {got}")
        if next(stream, None) is not None:
            outcome.wrong.append("an answer after the last frame")


def main() -> int:
    """Runs it and prints what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=0.002, help="share of the jobs that go wrong")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        outcome = soak(Path(folder), arguments.frames, seed=arguments.seed, rate=arguments.rate)
    faults = ", ".join(f"{name} {count}" for name, count in sorted(outcome.faults.items()))
    failed = ", ".join(f"{name} {count}" for name, count in outcome.failed.items()) or "none"
    print(f"{outcome.frames:,} frames in {outcome.seconds:.0f} s through a simulated NPU of {LATENCY_MS} ms")
    print(f"faults: {sum(outcome.faults.values())} ({faults})")
    print(f"answered {outcome.answered:,}, failed {sum(outcome.failed.values())} ({failed})")
    print(f"resident MB, at twentieths: {', '.join(f'{mb:.0f}' for mb in outcome.resident_mb)}")
    for problem in outcome.problems():
        print(f"PROBLEM: {problem}")
    print("in order, each with its own card, no rule broken, no thread left" if not outcome.problems() else "failed")
    return 1 if outcome.problems() else 0


if __name__ == "__main__":
    sys.exit(main())
