"""Replays the kept inputs of both fuzzers, and runs a short random round of each; `make fuzz` runs longer ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import native_build

FUZZ = Path(__file__).parent / "fuzz"
CORPUS = FUZZ / "corpus"


def run(*command: object, keep: Path) -> str:
    done = subprocess.run(
        [*map(str, command), "--keep", str(keep)], capture_output=True, text=True, check=False, timeout=240
    )
    kept = [path.name for path in keep.iterdir()]
    assert (done.returncode, kept) == (0, []), f"{kept}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_search(tmp_path: Path) -> None:
    program = native_build.build((*native_build.FUZZ, native_build.DRIVER), native_build.host_compiler())
    ran = run("env", "-u", "LD_PRELOAD", program, CORPUS / "search", "--random", 1000, "--seed", 1, keep=tmp_path)
    assert ran == f"{1000 + len(list((CORPUS / 'search').iterdir()))} inputs ran\n"


def test_the_catalog(tmp_path: Path) -> None:
    script = FUZZ / "fuzz_catalog.py"
    ran = run(sys.executable, script, CORPUS / "catalog", "--random", 150, "--seed", 1, keep=tmp_path)
    assert ran.startswith(f"{150 + len(list((CORPUS / 'catalog').iterdir()))} inputs ran")
