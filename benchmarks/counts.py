"""The instructions that the hot kernels execute, against those on file: what a noisy machine can't hide.

    python -m benchmarks.counts                     count, compare with benchmarks/counts.json, exit 1 above +2 %
    python -m benchmarks.counts --update            write what was counted
    python -m benchmarks.counts --plant scan        the same with the scan made 8 % slower: that must fail

The kernels of csrc/ are called with fixed input, each tier in turn (`benchmarks/native/`); `benchmarks.counting` says
how they are counted. Counts are of a compiler, so the file has some for each that was used; for one that it has not,
nothing is compared, which is said. arm64 is counted as well where there is a compiler for it, under emulation. A tier
that this processor lacks stays on file as it is.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import counting, planted
from benchmarks.drivers import MODULES, ROOT, Compiler, build, compiler, host_compiler
from cardrec.files import write_atomically
from training.failure import Failure, one_line

FILE = ROOT / "benchmarks" / "counts.json"
CROSS_COMPILER = "aarch64-linux-gnu-g++"
ALLOWED = 0.02
"""Of a count. Counts of unchanged code are equal to the instruction; other code around a kernel moves some."""
PLANTED = 0.08
UPDATE = "python -m benchmarks.counts --update"

Numbers = dict[str, dict[str, int]]
"""Instructions by kernel, then tier."""
File = dict[str, Numbers]
"""By compiler."""


@dataclass(frozen=True)
class Line:
    """One kernel in one tier.

    Attributes:
        counted: instructions; None where it was not counted.
        on_file: those on file; None where there are none.
        verdict: `ok`, `slower`, `faster`, `new`, `gone` or `not counted`.
    """

    compiler: str
    kernel: str
    tier: str
    counted: int | None
    on_file: int | None
    verdict: str

    @property
    def change(self) -> float | None:
        """Share by which the count has grown."""
        return self.counted / self.on_file - 1 if self.counted is not None and self.on_file else None


FAILS = ("slower", "new", "gone")


def compare(
    name: str, counted: Numbers, on_file: Numbers, cannot: Callable[[str], bool] = lambda _: False
) -> list[Line]:
    """Compares what one compiler's code executes.

    Args:
        name: the compiler.
        counted: what was counted now.
        on_file: what is on file for it.
        cannot: whether a tier can't be counted here.
    """
    lines = []
    known_tiers = {tier for tiers in on_file.values() for tier in tiers}
    for kernel in sorted({*counted, *on_file}):
        now, before = counted.get(kernel, {}), on_file.get(kernel, {})
        for tier in sorted({*now, *before}):
            # A tier of which nothing is on file was never counted: whoever wrote the file had no such processor.
            new = "new" if tier in known_tiers else "not on file"
            lines.append(_line(name, kernel, tier, now.get(tier), before.get(tier), new, cannot(tier)))
    return lines


def _line(name: str, kernel: str, tier: str, now: int | None, before: int | None, new: str, cannot: bool) -> Line:
    if now is None:
        return Line(name, kernel, tier, now, before, "not counted" if cannot else "gone")
    if before is None:
        return Line(name, kernel, tier, now, before, new)
    slower, faster = now > before * (1 + ALLOWED), now < before * (1 - ALLOWED)
    return Line(name, kernel, tier, now, before, "slower" if slower else "faster" if faster else "ok")


def read(path: Path) -> File:
    """The counts on file; none where there is no file.

    Raises:
        Failure: it is damaged.
    """
    if not path.exists():
        return {}
    remedy = f"restore it (git checkout {path.name}), or count anew: remove it, then {UPDATE}"
    try:
        file = json.loads(path.read_text())
        sound = all(
            isinstance(count, int) and count > 0
            for kernels in file.values()
            for tiers in kernels.values()
            for count in tiers.values()
        )
    except (ValueError, AttributeError) as error:
        raise Failure(f"{path} does not have counts by compiler, kernel and tier ({error}); {remedy}") from error
    if not sound:
        raise Failure(f"{path} has a count that is no whole number above 0; {remedy}")
    return dict(file)


def write(path: Path, file: File) -> None:
    """Writes the counts, sorted, in one step."""
    write_atomically(path, (json.dumps(file, indent=2, sort_keys=True) + "\n").encode())


def merged(before: Numbers, counted: Numbers, *, kernels: Sequence[str] = ()) -> Numbers:
    """What is on file after an update: what was counted, and the tiers that were not; a kernel that is gone goes.

    Args:
        before: what was on file.
        counted: what was counted.
        kernels: those that were to be counted; the others stay. Empty: all were.
    """
    gone = {kernel for kernel in before if kernel not in counted and not kernels}
    return {kernel: {**before.get(kernel, {}), **counted.get(kernel, {})} for kernel in ({*before, *counted} - gone)}


def numbers(counts: counting.Counts, kernels: Sequence[str] = ()) -> Numbers:
    """The numbers that are compared, of some kernels or of all."""
    return {
        kernel: {tier: counted.inside for tier, counted in tiers.items()}
        for kernel, tiers in counts.items()
        if not kernels or kernel in kernels
    }


def compilers() -> Iterator[Compiler]:
    """Those whose code is counted: the host's, and arm64's where it and its emulator are there."""
    host = compiler(host_compiler())
    yield host
    if host.machine == "aarch64":
        return
    missing = [tool for tool in (CROSS_COMPILER, counting.EMULATOR) if shutil.which(tool) is None]
    if missing:
        print(f"not counted: arm64, as {' and '.join(missing)} is not found (g++-aarch64-linux-gnu, qemu-user-static)")
    else:
        yield compiler(CROSS_COMPILER)


def count(using: Compiler, tree: Path = ROOT) -> counting.Counts:
    """Builds the drivers with one compiler and counts all kernels."""
    counting.require(using.machine)
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda module: counting.count(build(module, using, tree=tree), using), MODULES)
        return {kernel: tiers for counts in found for kernel, tiers in counts.items()}


def processor_has(tier: str) -> bool:
    """Whether Linux lists what an x86 tier is named after; other machines' tiers are emulated, all of them."""
    flag = {"avx2": "avx2", "avx512vnni": "avx512_vnni"}.get(tier)
    return flag is None or f" {flag} " in Path("/proc/cpuinfo").read_text().replace("\n", " ")


@contextmanager
def planted_tree(kernel: str, share: float) -> Iterator[Path]:
    """A copy of the sources with one kernel made slower by a share."""
    with tempfile.TemporaryDirectory(prefix="cardrec-") as folder:
        # With their times, so that what has been compiled need not be again.
        for part in ("csrc", "build/counts"):
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, Path(folder) / part)
        planted.plant(Path(folder), kernel, share)
        yield Path(folder)


def table(lines: Iterable[Line]) -> Iterator[str]:
    """The comparison for people."""
    yield f"{'compiler':<20} {'kernel':<14} {'tier':<13} {'counted':>10} {'on file':>10} {'change':>8}"
    for line in lines:
        counted, on_file = (f"{n:,}" if n is not None else "-" for n in (line.counted, line.on_file))
        change = "" if line.change is None else f"{line.change:+.2%}"
        verdict = "" if line.verdict == "ok" else f"  {line.verdict}"
        yield f"{line.compiler:<20} {line.kernel:<14} {line.tier:<13} {counted:>10} {on_file:>10} {change:>8}{verdict}"


def remarks(lines: Sequence[Line]) -> Iterator[str]:
    """What a person should do about them."""
    named = {
        verdict: sorted({line.kernel for line in lines if line.verdict == verdict}) for verdict in (*FAILS, "faster")
    }
    tiers = {
        verdict: sorted({line.tier for line in lines if line.verdict == verdict})
        for verdict in ("not counted", "not on file")
    }
    if named["slower"]:
        yield (
            f"FAILED: {', '.join(named['slower'])}: more than {ALLOWED:.0%} above the count on file. Make it faster "
            f"again; or, where the work is worth it, say so in the commit and: {UPDATE}"
        )
    if named["new"] or named["gone"]:
        changed = ", ".join(named["new"] + named["gone"])
        yield f"FAILED: not on file, or gone: {changed}. Bring the file up to date: {UPDATE}"
    if named["faster"]:
        yield f"{', '.join(named['faster'])}: more than {ALLOWED:.0%} below the count on file. To keep it so: {UPDATE}"
    if tiers["not counted"]:
        yield f"not counted: {', '.join(tiers['not counted'])}, which this processor lacks"
    if tiers["not on file"]:
        yield f"NOT COMPARED: no counts on file for {', '.join(tiers['not on file'])}: {UPDATE} adds them"


def outside(counts: counting.Counts) -> float:
    """The largest share of a kernel's instructions that lie in libraries, which are not counted."""
    return max(each.outside / (each.inside + each.outside) for tiers in counts.values() for each in tiers.values())


def run(options: argparse.Namespace, tree: Path = ROOT) -> int:
    """Counts, then compares or updates; the exit status."""
    file = read(options.file)
    lines: list[Line] = []
    for using in compilers():
        counts = count(using, tree)
        unknown = [kernel for kernel in options.kernel if kernel not in counts]
        if unknown:
            raise Failure(f"no kernel {', '.join(unknown)}; there are {', '.join(sorted(counts))}")
        now = numbers(counts, options.kernel)
        print(f"{using.name}: {len(now)} kernels; in libraries, not counted: at most {outside(counts):.1%} of a kernel")
        on_file = {
            kernel: tiers
            for kernel, tiers in file.get(using.name, {}).items()
            if not options.kernel or kernel in options.kernel
        }
        if not on_file and not options.update:
            print(f"NOT COMPARED: no counts on file for {using.name}: {UPDATE} adds them")
        lines += compare(using.name, now, on_file, lambda tier: not processor_has(tier))
        file[using.name] = merged(file.get(using.name, {}), now, kernels=options.kernel)
    print("\n".join(table(lines)))
    if options.json:
        data = [{**asdict(line), "change": line.change} for line in lines]
        write_atomically(options.json, (json.dumps(data, indent=2) + "\n").encode())
    if options.update:
        write(options.file, file)
        print(f"{options.file}: written")
        return 0
    print("\n".join(remarks(lines)))
    return int(any(line.verdict in FAILS for line in lines))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; see the module."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.counts", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--update", action="store_true", help="write what was counted to the file")
    parser.add_argument("--kernel", action="append", default=[], metavar="NAME", help="only this one; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the comparison there as well")
    parser.add_argument("--file", type=Path, default=FILE, help=argparse.SUPPRESS)
    parser.add_argument(
        "--plant", choices=planted.KERNELS, help=f"make a kernel {PLANTED:.0%} slower, in a copy of csrc/"
    )
    options = parser.parse_args(arguments)
    if options.plant and options.update:
        parser.error("--plant shows that a slowdown is caught; its counts are not to be kept (--update)")
    with one_line(parser.prog):
        if not options.plant:
            return run(options)
        with planted_tree(options.plant, PLANTED) as tree:
            return run(options, tree)


if __name__ == "__main__":
    sys.exit(main())
