"""Each stage against the least that its work takes on this core: reading its bytes once, or its multiply-adds.

    python -m benchmarks.roofline [ROWS]            one table; ROWS of the catalog that is searched
    python -m benchmarks.roofline --check           exit 1 where the fastest tier does not beat scalar by 1.5

Kernels of csrc/ are called by the programs of `benchmarks/native/`, every tier of this processor and a plain read of
the bytes that the kernel needs, in turn. The networks run in ONNX Runtime on one thread, in turn with multiply-adds in
registers (`benchmarks/native/peak.cpp`). So what is compared was measured in the same second, and a ratio means much
the same on a busy machine.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.conftest import CARDS
from benchmarks.drivers import MODULES, ROOT, Compiler, build, build_peak, compiler, host_compiler, run
from benchmarks.macs import Macs, multiply_adds
from benchmarks.measure import alternate
from cardrec.network import open_session
from training.failure import one_line

LEAST_GAIN = 1.5
"""Times that the fastest tier must beat the scalar one by."""
LEAST_GAINS = {"rescore_f32": 1.2}
"""Kernels that fall short of that: exact scores of float32 rows are sums of doubles, of which a register of AVX2 holds
twice as many as one of SSE2, which x86-64's scalar tier uses: 1.4 to 1.9 times (AMD EPYC, Zen 3)."""
DATA = ROOT / "cardrec" / "data"
NETWORKS: Mapping[str, tuple[Path, tuple[int, ...]]] = {
    "outlines": (DATA / "detector" / "outlines.onnx", (1, 144, 256, 3)),
    "corners": (DATA / "detector" / "corners.onnx", (1, 80, 80, 3)),
    "sides": (DATA / "detector" / "sides.onnx", (4, 16, 32, 3)),
    "encoder": (DATA / "model" / "model.onnx", (1, 224, 224, 3)),
}
"""The networks, and what they are given of a frame of 1280x720 with one card in it."""
PEAK_ROUNDS = 1_000_000  # 2 ms: of 0.04 ms, half was lost right after a network (AMD EPYC, in a virtual machine)
CHECKED_ROWS = 128
"""Rows of the catalog that the tiers are compared on: all that is read of it, 0.4 MB, stays in a near cache. Of 17,592
rows the scalar scan takes 1.3 times as long as AVX2's, as both wait for memory (AMD EPYC, Zen 3)."""


@dataclass(frozen=True)
class Stage:
    """What a stage takes, and what its work takes at least.

    Attributes:
        tier: of the kernels; `onnx` of networks.
        work: bytes or multiply-adds, for people.
        time_us: median.
        floor_us: reading the bytes, or doing the multiply-adds.
    """

    name: str
    tier: str
    work: str
    time_us: float
    floor_us: float

    @property
    def ratio(self) -> float:
        """How many times the floor it takes."""
        return self.time_us / self.floor_us


def kernels(programs: Iterable[Path], rounds: int, rows: int) -> list[Stage]:
    """All kernels in all tiers of this processor, the slowest tier first."""
    stages = []
    for program in programs:
        floors: dict[str, float] = {}
        for line in run(str(program), "time", str(rounds), str(rows)).splitlines():
            name, tier, size, spent_us = line.split()
            if tier == "read":
                floors[name] = float(spent_us)
            else:
                work = f"{int(size) / 1e6:.2f} MB"
                stages.append(Stage(name, tier, work, float(spent_us), floors[name]))
    return stages


def gains(stages: Iterable[Stage]) -> dict[str, float]:
    """How many times as fast as the scalar tier each kernel's fastest one is, which dispatch chooses: the last."""
    first: dict[str, Stage] = {}
    last: dict[str, Stage] = {}
    for stage in stages:
        first.setdefault(stage.name, stage)
        last[stage.name] = stage
    return {name: first[name].time_us / last[name].time_us for name in first if last[name].tier != "scalar"}


def too_slow(repeats: Sequence[Mapping[str, float]]) -> list[str]:
    """Kernels whose gain is below the least in every repeat: a busy machine may spoil one, but hardly all."""
    best = {name: max(repeat[name] for repeat in repeats) for name in repeats[0]}
    return [f"{name} {gain:.2f}" for name, gain in best.items() if gain < LEAST_GAINS.get(name, LEAST_GAIN)]


def networks(library: Path, rounds: int) -> list[Stage]:
    """The networks against this core's multiply-adds."""
    peak = ctypes.CDLL(str(library))
    done: dict[str, int] = {}

    def multiply(name: str) -> Callable[[], object]:
        function = getattr(peak, name)
        function.argtypes, function.restype = [ctypes.c_int64], ctypes.c_int64
        done[name] = function(PEAK_ROUNDS)
        return lambda: function(PEAK_ROUNDS)

    actions = {name: multiply(name) for name in ("f32_macs", "int8_macs")}
    if not all(done.values()):  # a processor that peak.cpp does not know
        return []
    actions |= {name: _inference(path, shape) for name, (path, shape) in NETWORKS.items()}
    spent_us = _medians_us(actions, rounds)
    f32_us, int8_us = (spent_us[name] / done[name] for name in ("f32_macs", "int8_macs"))
    stages = []
    for name, (path, shape) in NETWORKS.items():
        macs = multiply_adds(path, {"n": shape[0], "height": shape[1], "width": shape[2]})
        floor_us = macs.f32 * f32_us + macs.int8 * int8_us
        stages.append(Stage(name, "onnx", _said(macs), spent_us[name], floor_us))
    return stages


def _said(macs: Macs) -> str:
    kinds = ((macs.f32, "f32"), (macs.int8, "int8"))
    return " + ".join(f"{count / 1e6:.1f} M {kind}" for count, kind in kinds if count)


def _inference(network: Path, shape: tuple[int, ...]) -> Callable[[], object]:
    session = open_session(network, 1)
    pictures = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    fed = {session.get_inputs()[0].name: pictures}
    return lambda: session.run(None, fed)


def _medians_us(actions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median microseconds of each, all called in turn."""
    spent_ms = alternate(*actions.values(), rounds=rounds, warm_up=5)
    return {name: 1e3 * statistics.median(times) for name, times in zip(actions, spent_ms, strict=True)}


def table(stages: Iterable[Stage]) -> Iterator[str]:
    """The stages for people."""
    yield f"{'stage':<13} {'tier':<13} {'time us':>10} {'bytes or multiply-adds':>24} {'floor us':>10} {'ratio':>7}"
    for each in stages:
        yield (
            f"{each.name:<13} {each.tier:<13} {each.time_us:>10.1f} {each.work:>24} {each.floor_us:>10.1f}"
            f" {each.ratio:>6.2f}x"
        )


def programs(using: Compiler) -> list[Path]:
    """The drivers of the kernels, built."""
    return [build(module, using) for module in MODULES]


def check(drivers: Sequence[Path], repeats: int, rounds: int, rows: int) -> int:
    """Says each kernel's gain; the exit status."""
    measured = [gains(kernels(drivers, rounds, rows)) for _ in range(repeats)]
    for name in measured[0]:
        print(f"{name:<13} {' '.join(f'{repeat[name]:.2f}' for repeat in measured)} times scalar")
    slow = too_slow(measured)
    if slow:
        print(f"FAILED: the fastest tier is not {LEAST_GAIN} times as fast as scalar: {', '.join(slow)}")
    return int(bool(slow))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; see the module."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.roofline", description=(__doc__ or "").split("\n")[0])
    rows_help = f"of the catalog ({CARDS:,}; of the check {CHECKED_ROWS})"
    parser.add_argument("rows", type=int, nargs="?", metavar="ROWS", help=rows_help)
    parser.add_argument("--rounds", type=int, default=100, help="of each thing that is measured (100)")
    parser.add_argument("--check", action="store_true", help=f"exit 1 where a kernel is not {LEAST_GAIN} times scalar")
    parser.add_argument("--repeats", type=int, default=3, help="of the check; the best counts (3)")
    options = parser.parse_args(arguments)
    rows = options.rows if options.rows is not None else CHECKED_ROWS if options.check else CARDS
    if min(rows, options.rounds, options.repeats) < 1:
        parser.error("ROWS, --rounds and --repeats are at least 1")
    with one_line(parser.prog):
        using = compiler(host_compiler())
        drivers = programs(using)
        if options.check:
            return check(drivers, options.repeats, options.rounds, rows)
        stages = kernels(drivers, options.rounds, rows)
        stages += networks(build_peak(using), options.rounds)
        print("\n".join(table(stages)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
