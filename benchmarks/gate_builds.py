"""Base and head as users install them, each in an environment of its own."""

from __future__ import annotations

import filecmp
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

from benchmarks import gate_worker
from benchmarks.gate_base import contents
from training.failure import Failure

__all__ = ["BuildError", "Installed", "environment", "install_both", "make_scene", "with_shared_catalogs"]

WORKER = Path(gate_worker.__file__).resolve()
BUILD_S = 600
"""The longest that both builds together may take."""
COMPILER = ("CC", "CXX", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "ARCHFLAGS")
"""Settings that change what is compiled; both builds have them as they are here."""
MARK = "gate-build"
"""File of a build: what it was made of, or nothing as long as it is not complete."""
_COMPLAINTS = (r":\d+:\d+: (fatal )?error: ", r"^(\w*Error|error): (?!subprocess-exited|command )")
"""Lines of a failed build that say why: of the compiler, else of Python and its build tools."""


class BuildError(Exception):
    """A side that can't be built or does not run; the message ends with what the compiler said."""


class Installed(NamedTuple):
    """A side: its Python, where cardrec lies there, and the catalogs that it has written."""

    python: Path
    package: Path
    catalogs: Path


def install_both(trees: Mapping[str, Path], folder: Path) -> dict[str, Installed | BuildError]:
    """Builds the sides at the same time, each of its own source tree, or finds them built in the folder.

    Both get the interpreter, compiler, build tools and dependencies of this process: what is compared is the code. The
    compiler's options come from each side's own setup.py, for they are a part of it.
    """
    sides = {name: _placed(folder / name) for name in trees}
    made_of = {name: _made_of(tree) for name, tree in trees.items()}
    missing = [name for name in trees if not _is_built(folder / name, made_of[name])]
    for name in missing:
        _make_room(folder / name, sides[name])
    pip = ["-m", "pip", "install", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation"]
    failed = _run(
        {
            name: [sys.executable, *pip, "--target", str(sides[name].package.parent), str(trees[name])]
            for name in missing
        }
    )
    built = [name for name in missing if name not in failed]
    failed |= _run({name: _worker(sides[name], folder, "--make-catalogs") for name in built})
    for name in missing:
        if name not in failed:
            (folder / name / MARK).write_text(made_of[name])
    return {name: failed.get(name) or side for name, side in sides.items()}


def with_shared_catalogs(base: Installed, head: Installed) -> dict[str, Installed]:
    """Both sides; if they have written the same bytes, both read base's.

    Base and base again read the same file, so that a page of it that lies badly in memory would slow down both of them
    and not head, or head alone, and the control would not show it.
    """
    return {
        "base": base,
        "head": head._replace(catalogs=base.catalogs) if _same(base.catalogs, head.catalogs) else head,
    }


def _same(one: Path, other: Path) -> bool:
    names = [{file.relative_to(folder) for file in folder.rglob("*") if file.is_file()} for folder in (one, other)]
    return names[0] == names[1] and all(filecmp.cmp(one / name, other / name, shallow=False) for name in names[0])


def _placed(folder: Path) -> Installed:
    prefix = folder / "environment"
    paths = sysconfig.get_paths("venv", {"base": str(prefix), "platbase": str(prefix)})
    return Installed(Path(paths["scripts"]) / "python", Path(paths["purelib"]) / "cardrec", folder / "catalogs")


def _is_built(folder: Path, made_of: str) -> bool:
    mark = folder / MARK
    if folder.exists() and not mark.is_file():
        raise Failure(f"{folder} is there and no build of this gate; name another folder with --keep")
    return mark.is_file() and mark.read_text() == made_of


def _make_room(folder: Path, side: Installed) -> None:
    """An environment without cardrec; an older build is removed."""
    shutil.rmtree(folder, ignore_errors=True)
    side.catalogs.mkdir(parents=True)
    (folder / MARK).touch()
    venv.create(folder / "environment", symlinks=True)
    shared = dict.fromkeys(path for path in sys.path if Path(path).name in ("site-packages", "dist-packages"))
    # They come later on the path: this side's cardrec goes before any that is installed there.
    (side.package.parent / "shared-dependencies.pth").write_text("\n".join(shared))


def make_scene(side: Installed, folder: Path) -> None:
    """What all processes work on, as head sees it.

    Raises:
        BuildError: that failed.
    """
    for error in _run({"head": _worker(side, folder, "--make-scene")}).values():
        raise error


def _worker(side: Installed, scene: Path, task: str) -> list[str]:
    return [str(side.python), "-I", str(WORKER), str(scene), str(side.catalogs), task]


def environment() -> dict[str, str]:
    """For builds and workers: one thread for each library, no sanitizers, no other cardrec."""
    dropped = ("CARDREC_SANITIZE", "LD_PRELOAD", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return kept | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _made_of(tree: Path) -> str:
    """Names what a build depends on."""
    settings = [sys.version, sys.prefix, *(os.environ.get(name, "") for name in COMPILER)]
    return hashlib.sha256(f"{contents(tree)} {settings}".encode() + WORKER.read_bytes()).hexdigest()


def _run(commands: Mapping[str, Sequence[str]]) -> dict[str, BuildError]:
    """Runs commands at the same time, to their end; what became of those that failed.

    Whatever ends this process, Ctrl-C for one, ends them and all that they have started.

    Raises:
        Failure: the disk is full.
    """
    failed: dict[str, BuildError] = {}
    with ExitStack() as stack:
        running = {}
        for name, command in commands.items():
            log = stack.enter_context(tempfile.TemporaryFile())
            process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=environment(), start_new_session=True
            )
            stack.callback(_end, process)
            running[name] = process, log
        end = time.monotonic() + BUILD_S
        for name, (process, log) in running.items():
            try:
                status = process.wait(max(end - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                failed[name] = BuildError(f"not done in {BUILD_S} s")
                continue
            log.seek(0)
            said = log.read().decode(errors="replace")
            if status and "No space left" in said:
                raise Failure("the disk is full; free some space, or name a folder elsewhere with --keep or TMPDIR")
            if status:
                failed[name] = BuildError(_why(said) or f"status {status}")
    return failed


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kills its process group as well: a compiler outlives the pip that has started it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _why(said: str) -> str:
    """The first complaint in what a build has said, else its last line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for pattern in _COMPLAINTS:
        if found := [line for line in lines if re.search(pattern, line)]:
            return found[0]
    return lines[-1] if lines else ""
