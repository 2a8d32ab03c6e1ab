"""The latency budget: what a frame may take, what it takes here, one at a time and streamed, with an NPU and without.

make bench PYTEST_ARGS="-k latency_budget"

On a Raspberry Pi 5 with a Hailo-8 a frame may take 15.2 ms from call to result, of which the host's work (detection,
rectification, handing over, search, decision) may be 3 ms. Nothing here was measured on one. The NPU is simulated
(`cardrec.backends.simulated`): it takes 3 ms for a card, which is the upper end of what is estimated for a Hailo-8L, so
that what is measured is the host's work on this machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from cardrec import Recognizer
from cardrec.bench import STAGES, frames_per_second, simulated_recognizer, summary, timings_of
from cardrec.detect import Detection, OutlineDetector
from cardrec.image import Frame
from cardrec.types import Timings

BUDGET_PI_MS = 15.2
"""For everything, on a Pi with a Hailo-8: what the encoder alone took in the system that this one replaces."""
HOST_PI_MS = 3.0
"""For all but the network, there."""
NPU_MS = 3.0

HOST_GOAL_MS = 1.0
"""For all but detection and encoding here, 95 % of frames."""
ADDED_GOAL_MS = 1.2
"""For all but detection and the NPU here, median."""
STREAM_GOAL = 0.95
"""Of the NPU's own rate."""

HOST_LIMIT_MS = 3.0
ADDED_LIMIT_MS = 3.0
STREAM_LIMIT = 0.9
"""What a busy machine must still keep."""

FRAMES = 300


class KnownOutlines:
    """A detector that has found the cards already: what is left is everything else."""

    def __init__(self, frame: Frame) -> None:
        self._found = OutlineDetector().detect(frame, max_cards=1)

    def detect(self, frame: Frame, *, max_cards: int) -> list[Detection]:  # noqa: ARG002 - as `Detector` has it
        return self._found[:max_cards]


@pytest.fixture
def simulated() -> Iterator[Recognizer]:
    """The bundled model on a simulated NPU."""
    with simulated_recognizer(NPU_MS) as opened:
        yield opened


def report(title: str, timings: Sequence[Timings], **more: Sequence[float]) -> None:
    print(f"\n{title}, {len(timings)} frames, ms at p50 / p95 / p99:")
    for name in (*STAGES, *more):
        spent = summary(more[name] if name in more else [getattr(timing, name) for timing in timings])
        print(f"  {name.removesuffix('_ms').replace('_', ' '):32}" + " / ".join(f"{ms:6.2f}" for ms in spent.values()))


def test_one_frame_on_the_cpu(recognizer: Recognizer, frame: Frame, capsys: pytest.CaptureFixture[str]) -> None:
    timings = timings_of(recognizer, frame.pixels, FRAMES)
    host = [timing.total_ms - timing.detect_ms - timing.encode_ms for timing in timings]
    with capsys.disabled():
        report("ONNX Runtime, one thread", timings, all_but_detect_and_encode_ms=host)
        print(f"  goal: all but detect and encode {HOST_GOAL_MS} at p95")
    assert np.percentile(host, 95) <= HOST_LIMIT_MS


def test_one_frame_on_a_simulated_npu(simulated: Recognizer, frame: Frame, capsys: pytest.CaptureFixture[str]) -> None:
    timings = timings_of(simulated, frame.pixels, FRAMES)
    added = [timing.total_ms - timing.detect_ms - NPU_MS for timing in timings]
    host = [timing.total_ms - NPU_MS for timing in timings]
    with capsys.disabled():
        report(f"simulated NPU, {NPU_MS} ms", timings, all_but_detect_and_npu_ms=added, all_but_npu_ms=host)
        print(f"  goals: all but detect and NPU {ADDED_GOAL_MS} at p50, {HOST_GOAL_MS} at p95;", end=" ")
        print(f"on a Pi {HOST_PI_MS} for all but the NPU, {BUDGET_PI_MS} in all")
    assert np.median(added) <= ADDED_LIMIT_MS


@pytest.mark.parametrize("outlines", ["known", "detected"])
def test_streaming_on_a_simulated_npu(frame: Frame, outlines: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With known outlines the NPU is the limit; with detection the host may be."""
    detector = KnownOutlines(frame) if outlines == "known" else None
    with simulated_recognizer(NPU_MS, detector=detector) as recognizer:
        rates = {
            depth: frames_per_second(recognizer, frame.pixels, FRAMES, in_flight=depth) for depth in (1, 2, 3, 4, 6)
        }
    shares = {depth: rate * NPU_MS / 1e3 for depth, rate in rates.items()}
    with capsys.disabled():
        print(f"\nstreaming, simulated NPU, {NPU_MS} ms, outlines {outlines}; goal {STREAM_GOAL:.0%} of its own rate:")
        for depth, rate in rates.items():
            print(f"  {depth} in flight: {rate:6.1f} frames a second, {shares[depth]:.0%}")
    assert outlines == "detected" or shares[3] >= STREAM_LIMIT
