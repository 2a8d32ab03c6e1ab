"""How many instructions a kernel executes, by three ways that are exact, each for processors that the others lack.

- **callgrind** (valgrind) for x86-64's `scalar` and `avx2`: some 50 times slower than the processor, which is quick.
  Valgrind knows no AVX-512.
- **Single steps** of the processor itself, for `avx512vnni`, where this processor has it. A step takes 1 to 20 us (a
  signal; 20 us in a virtual machine), too much for the scalar tiers. The test of both shows them to agree exactly.
- **qemu's log** for arm64: how many instructions each block of code has, and every time that one is entered.

Counted are the instructions that lie in the driver itself, so the kernels and what is inlined into them. What they call
in libc and libstdc++ (memory for lists, memset) is left out: those libraries choose by processor and differ between
systems. `Counted.outside` says how much that is where a way can tell.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.drivers import Compiler, run
from training.failure import Failure

CALLGRIND, EMULATOR = "valgrind", "qemu-aarch64-static"
EMULATED = "cortex-a76"
"""The core of a Raspberry Pi 5."""

_CALLGRIND_TIERS = ("scalar", "avx2")
_BLOCK = re.compile(rb"^0x([0-9a-f]+):")
# Trace 0: 0x7f4cbc09ec40 [0000000001009331/0000000000400650/00000001/00000200] name
_ENTERED = re.compile(rb"^Trace \d+: \S+ \[[0-9a-f]+/([0-9a-f]+)/")


@dataclass(frozen=True)
class Counted:
    """Instructions of one call.

    Attributes:
        inside: in the driver itself.
        outside: in libraries; 0 where the way of counting does not see them.
    """

    inside: int
    outside: int


Counts = dict[str, dict[str, Counted]]
"""By kernel, then tier."""


def tools(machine: str) -> tuple[str, ...]:
    """The programs that counting for a machine needs, beside its compiler."""
    return (EMULATOR,) if machine == "aarch64" else (CALLGRIND,)


def require(machine: str) -> None:
    """Raises Failure where such a program is missing, or nothing counts for this machine."""
    if machine not in ("x86-64", "aarch64"):
        raise Failure(f"nothing here counts the instructions of {machine}; x86-64 and aarch64 are counted")
    for tool in tools(machine):
        if shutil.which(tool) is None:
            package = "qemu-user-static" if tool == EMULATOR else tool
            raise Failure(f"{tool} is not found, which counts the instructions of {machine}: apt install {package}")


def count(program: Path, using: Compiler) -> Counts:
    """Counts all kernels of a driver, in all tiers that can be counted here.

    Raises:
        Failure: a program that counts is missing, or failed.
    """
    require(using.machine)
    if using.machine == "aarch64":
        return by_log(program, _emulated(program, using))
    tiers = run(str(program), "tiers").split()
    counts = by_callgrind(program, [tier for tier in tiers if tier in _CALLGRIND_TIERS])
    for kernel, by_tier in by_steps(program, [tier for tier in tiers if tier not in _CALLGRIND_TIERS]).items():
        counts.setdefault(kernel, {}).update(by_tier)
    return counts


def by_callgrind(program: Path, tiers: Sequence[str], kernels: Sequence[str] = ()) -> Counts:
    """Counts some kernels, or all, under callgrind, which writes a part of its file whenever `counted` returns."""
    with tempfile.TemporaryDirectory(prefix="cardrec-") as folder:
        out = Path(folder) / "out"
        options = ("--collect-atstart=no", "--toggle-collect=counted", "--dump-after=counted")
        plain = ("--compress-strings=no", "--compress-pos=no", f"--callgrind-out-file={out}")
        said = run(
            CALLGRIND,
            "--tool=callgrind",
            "--quiet",
            *options,
            *plain,
            str(program),
            "count",
            "callgrind",
            *tiers,
            *kernels,
        )
        order = [line.split() for line in said.splitlines()[1:]]
        parts = [_part(Path(f"{out}.{number}"), program.resolve()) for number in range(1, len(order) + 1)]
    return _sorted((kernel, tier, part) for (kernel, tier), part in zip(order, parts, strict=True))


def _part(file: Path, program: Path) -> Counted:
    """Adds up one of callgrind's files: `ob=` names the file that instructions are of; the line behind `calls=` tells
    what the function that is called took, which its own lines tell as well.
    """
    inside = outside = 0
    own = called = False
    for line in file.read_text().splitlines():
        if line.startswith("ob="):
            own = line[3:] == str(program)
        elif line.startswith("calls="):
            called = True
        elif line[:1].isdigit():
            if not called:
                inside += int(line.split()[1]) if own else 0
                outside += 0 if own else int(line.split()[1])
            called = False
    return Counted(inside, outside)


def by_steps(program: Path, tiers: Sequence[str], kernels: Sequence[str] = ()) -> Counts:
    """Counts some kernels, or all, by the trap flag; see benchmarks/native/steps.hpp."""
    if not tiers:
        return {}
    lines = run(str(program), "count", "steps", *tiers, *kernels).splitlines()[1:]
    return _sorted(
        (kernel, tier, Counted(int(inside), int(outside))) for kernel, tier, inside, outside in map(str.split, lines)
    )


def _emulated(program: Path, using: Compiler) -> list[str]:
    """The command that starts an arm64 program under qemu, with the libraries of its compiler."""
    libc = run(using.command, "-print-file-name=libc.so.6").strip()
    root = Path(libc).resolve().parent.parent
    return [EMULATOR, "-cpu", EMULATED, "-L", str(root), str(program)]


def by_log(program: Path, command: Sequence[str]) -> Counts:
    """Counts from the log of qemu, of the code between `__executable_start` and the functions that make input."""
    tiers = run(*command, "tiers").split()
    _, begin, end, _, first, last = run(*command, "count", "qemu").split()
    log = ("-d", "nochain,exec,in_asm", "-dfilter", f"0x{begin}..0x{int(end, 16) - 1:x}")
    whole = [*command[:-1], *log, command[-1], "count", "qemu", *tiers]
    with subprocess.Popen(whole, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        totals = list(_totals(process.stderr, int(first, 16), int(last, 16)))
        order = [line.split() for line in process.stdout.read().decode().splitlines()[1:]]
    if process.returncode or len(totals) != len(order):
        raise Failure(
            f"{program} under {EMULATOR} ended with {process.returncode}, {len(totals)} of {len(order)} counted"
        )
    return _sorted((kernel, tier, Counted(total, 0)) for (kernel, tier), total in zip(order, totals, strict=True))


def _totals(log: Iterable[bytes], first: int, last: int) -> Iterator[int]:
    """The instructions between each entry of one address and the next of another.

    A block of code is written out before it is entered for the first time: `IN:`, then a line for each instruction.
    """
    sizes: dict[int, int] = {}
    block, total, counting = None, 0, False
    for line in log:
        if entered := _ENTERED.match(line):
            address = int(entered[1], 16)
            if address == first:
                total, counting = 0, True
            elif address == last and counting:
                yield total
                counting = False
            total += sizes.get(address, 0)
        elif line.startswith(b"IN:"):
            block = None
        elif instruction := _BLOCK.match(line):
            if block is None:
                block = int(instruction[1], 16)
                sizes[block] = 0
            sizes[block] += 1


def _sorted(counts: Iterable[tuple[str, str, Counted]]) -> Counts:
    found: Counts = {}
    for kernel, tier, counted in counts:
        found.setdefault(kernel, {})[tier] = counted
    return found
