"""Base and head as users install them, each in an environment of its own."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from benchmarks import gate_worker
from benchmarks.gate_base import contents
from training.failure import Failure

__all__ = ["BuildError", "Installed", "environment", "install_both", "make_scene"]

WORKER = Path(gate_worker.__file__).resolve()
BUILD_S = 600
"""The longest that a build may take; 60 s with a core of its own."""
COMPILER = ("CC", "CXX", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "ARCHFLAGS")
"""Settings that change what is compiled; both builds have them as they are here."""
MARK = "gate-build"
"""File of a build: what it was made of, or nothing as long as it is not complete."""
_COMPLAINT = re.compile(r":\d+:\d+: (fatal )?error: |^\w*Error: |^error: |No space left", re.IGNORECASE)


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

    def install(side: str) -> Installed | BuildError:
        try:
            return _install(trees[side], folder / side)
        except BuildError as error:
            return error

    with ThreadPoolExecutor(len(trees)) as pool:
        return dict(zip(trees, pool.map(install, trees), strict=True))


def _install(tree: Path, folder: Path) -> Installed:
    prefix = folder / "environment"
    paths = sysconfig.get_paths("venv", {"base": str(prefix), "platbase": str(prefix)})
    site = Path(paths["purelib"])
    side = Installed(Path(paths["scripts"]) / "python", site / "cardrec", folder / "catalogs")
    made_of = _made_of(tree)
    mark = folder / MARK
    if mark.is_file() and mark.read_text() == made_of:
        return side
    if folder.exists() and not mark.exists():
        raise Failure(f"{folder} is there and no build of this gate; name another folder with --keep")
    shutil.rmtree(folder, ignore_errors=True)
    side.catalogs.mkdir(parents=True)
    mark.touch()
    venv.create(prefix, symlinks=True)
    shared = dict.fromkeys(path for path in sys.path if Path(path).name in ("site-packages", "dist-packages"))
    (site / "shared-dependencies.pth").write_text("\n".join(shared))  # later on the path: this side's cardrec wins
    pip = ["-m", "pip", "install", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation"]
    _run([sys.executable, *pip, "--target", str(site), str(tree)])
    _run([str(side.python), "-I", str(WORKER), str(folder), str(side.catalogs), "--make-catalogs"])
    mark.write_text(made_of)
    return side


def make_scene(side: Installed, folder: Path) -> None:
    """What all processes work on, as head sees it.

    Raises:
        BuildError: that failed.
    """
    _run([str(side.python), "-I", str(WORKER), str(folder), str(side.catalogs), "--make-scene"])


def environment() -> dict[str, str]:
    """For builds and workers: one thread for each library, no sanitizers, no other cardrec."""
    dropped = ("CARDREC_SANITIZE", "LD_PRELOAD", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return kept | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _made_of(tree: Path) -> str:
    """Names what a build depends on."""
    settings = [sys.version, sys.prefix, *(os.environ.get(name, "") for name in COMPILER)]
    return hashlib.sha256(f"{contents(tree)} {settings}".encode() + WORKER.read_bytes()).hexdigest()


def _run(command: Sequence[str]) -> None:
    """Runs it to its end; whatever ends this process ends it and all that it has started."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment(), start_new_session=True, text=True
    ) as process:
        try:
            said, _ = process.communicate(timeout=BUILD_S)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise BuildError(f"not built in {BUILD_S} s") from None
            raise
    if process.returncode:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        complaints = [line for line in lines if _COMPLAINT.search(line)] or lines or [f"status {process.returncode}"]
        if "No space left" in said:
            raise Failure("the disk is full; free some space, or name a folder elsewhere with --keep or TMPDIR")
        raise BuildError(complaints[0])
