"""The native programs that call the hot kernels: `benchmarks/native/` compiled with the sources of `csrc/`."""

from __future__ import annotations

import os
import runpy
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from training.failure import Failure

ROOT = Path(__file__).resolve().parent.parent
NATIVE = ROOT / "benchmarks" / "native"
MODULES = ("search", "image")
"""Folders of csrc/ with a driver, `benchmarks/native/<module>_kernels.cpp`."""

# Bindings need Python's headers. Threads, and what gathers their results, take part in nothing that is measured.
_LEFT_OUT = {"bindings", "pool", "topk"}
# Modules are position-independent. Distributions differ in what else is on by default, which must not change counts.
_ALWAYS = ("-fPIC", "-fno-stack-protector", "-U_FORTIFY_SOURCE")
_PROTECTION = {"x86-64": "-fcf-protection=none", "aarch64": "-mbranch-protection=none"}
_MACHINES = {"x86_64": "x86-64", "amd64": "x86-64", "arm64": "aarch64"}


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler.

    Attributes:
        command: what starts it.
        machine: what it compiles for, `x86-64` or `aarch64`, or as it names another one itself.
        name: itself and that, as `g++ 12.2, x86-64`.
    """

    command: str
    machine: str
    name: str


def host_compiler() -> str:
    """The compiler that make takes."""
    return os.environ.get("CXX", "c++")


def compiler(command: str) -> Compiler:
    """What a compiler says of itself.

    Raises:
        Failure: it is not there, or no compiler.
    """
    try:
        kind = "clang++" if "clang" in _said(command, "--version") else "g++"
        # Clang's other option answers with the version of GCC that it stands for.
        version = _said(command, "-dumpversion" if kind == "clang++" else "-dumpfullversion").strip()
        machine = _said(command, "-dumpmachine").split("-")[0]
    except (OSError, subprocess.CalledProcessError) as error:
        raise Failure(f"{command} is no C++ compiler ({error}); name one in CXX, or: apt install g++") from error
    machine = _MACHINES.get(machine, machine)
    return Compiler(command, machine, f"{kind} {'.'.join(version.split('.')[:2])}, {machine}")


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@cache
def _flags() -> tuple[str, ...]:
    return tuple(runpy.run_path(str(ROOT / "setup.py"), run_name="flags")["COMPILE"])


def build(module: str, using: Compiler, *, tree: Path = ROOT) -> Path:
    """Compiles one driver into the tree's build/counts/, with the flags of setup.py, on all cores.

    Parts that are newer than their source and than all headers are taken again.

    Args:
        module: one of MODULES.
        using: the compiler.
        tree: the checkout whose csrc/ is compiled.

    Raises:
        Failure: the compiler refused it.
    """
    folders = (tree / "csrc" / module, tree / "csrc" / "common", NATIVE)
    kernels = (file for each in folders[:2] for file in each.glob("*.cpp") if file.stem not in _LEFT_OUT)
    sources = [NATIVE / "workload.cpp", NATIVE / f"{module}_kernels.cpp", *sorted(kernels)]
    headers = [header for each in folders for header in each.glob("*.hpp")]
    changed = max(file.stat().st_mtime for file in (*headers, ROOT / "setup.py", Path(__file__)))
    folder = _folder(tree, using) / module
    folder.mkdir(parents=True, exist_ok=True)
    protection = [_PROTECTION[using.machine]] if using.machine in _PROTECTION else []
    command = [using.command, *_flags(), *_ALWAYS, *protection, *(f"-I{each}" for each in folders)]

    def compiled(source: Path) -> Path:
        part = folder / f"{source.stem}.o"
        if not part.exists() or part.stat().st_mtime <= max(changed, source.stat().st_mtime):
            _run([*command, "-c", str(source), "-o", str(part)])
        return part

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        parts = list(pool.map(compiled, sources))
    program = folder / f"{module}_kernels"
    _run([using.command, "-no-pie", "-pthread", *map(str, parts), "-o", str(program)])
    return program


def _folder(tree: Path, using: Compiler) -> Path:
    return tree / "build" / "counts" / using.name.replace(", ", "-").replace(" ", "-")


def build_peak(using: Compiler) -> Path:
    """Compiles `peak.cpp`, a library that does multiply-adds and nothing else.

    Raises:
        Failure: the compiler refused it.
    """
    library = _folder(ROOT, using) / "peak.so"
    library.parent.mkdir(parents=True, exist_ok=True)
    _run([using.command, "-std=c++17", "-O3", "-fPIC", "-shared", str(NATIVE / "peak.cpp"), "-o", str(library)])
    return library


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip())
        raise Failure(f"{command[0]} refused a driver of the kernels: {said}")


def run(*command: str) -> str:
    """What a driver prints.

    Raises:
        Failure: it failed.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout
