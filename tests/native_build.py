"""Builds the C++ test programs: the sources of a native module, with the compiler flags of setup.py.

`python tests/native_build.py fuzz SECONDS FOLDER` (see `make fuzz`) fuzzes the search and keeps what crashes it.
"""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMON, SEARCH, IMAGE = (ROOT / "csrc" / folder for folder in ("common", "search", "image"))
KERNELS = ("tests/native/test_kernels.cpp",)
IMAGE_KERNELS = ("tests/native/test_image.cpp",)
FUZZ = ("tests/fuzz/fuzz_search.cpp",)
DRIVER = "tests/fuzz/driver.cpp"  # main() of the fuzz target, for compilers that bring none
CORPUS = ROOT / "tests" / "fuzz" / "corpus" / "search"
CLANGS = ("clang++", "clang++-19", "clang++-16", "clang++-14")


def sanitized() -> bool:
    """Whether CARDREC_SANITIZE asks for sanitizers, in programs as in modules."""
    return os.environ.get("CARDREC_SANITIZE") == "1"


def host_compiler() -> str:
    """The compiler that make takes."""
    return os.environ.get("CXX", "c++")


def build(sources: tuple[str, ...], compiler: str, *flags: str, module: Path = SEARCH, variant: str = "host") -> Path:
    """Compiles one program with a module's sources, unless it is newer than all that it is made of; returns its path.

    Raises:
        subprocess.CalledProcessError: the compiler refused it; what it says is on stderr.
    """
    settings = runpy.run_path(str(ROOT / "setup.py"), run_name="flags")
    options = [*settings["COMPILE"], *(settings["SANITIZE"] if sanitized() else ()), *flags]
    program = ROOT / "build" / "native" / (variant + "-sanitized" * sanitized()) / Path(sources[0]).stem
    folders = (module, COMMON)
    files = [ROOT / source for source in sources]
    files += sorted(file for folder in folders for file in folder.glob("*.cpp") if file.stem != "bindings")
    headers = [file for folder in (*folders, ROOT / "tests" / "native") for file in folder.glob("*.hpp")]
    if _is_current(program, [*files, *headers, ROOT / "setup.py", Path(__file__)]):
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    command = [compiler, *options, *(f"-I{folder}" for folder in folders), *map(str, files), "-o", str(program)]
    subprocess.run(command, check=True, env=environment())
    return program


def environment() -> dict[str, str]:
    """For compilers and programs: without what is preloaded for a Python that loads sanitized modules."""
    return {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}


def _is_current(program: Path, made_of: list[Path]) -> bool:
    return program.exists() and program.stat().st_mtime > max(file.stat().st_mtime for file in made_of)


def fuzz(seconds: int, keep: Path) -> int:
    """Fuzzes the search with sanitizers: by libFuzzer where there is a clang, else at random; an exit status."""
    os.environ["CARDREC_SANITIZE"] = "1"
    keep.mkdir(parents=True, exist_ok=True)
    clang = next(filter(None, map(shutil.which, CLANGS)), None)
    if clang:
        program = build(FUZZ, clang, "-fsanitize=fuzzer", variant="libfuzzer")
        grown = ROOT / "build" / "fuzz" / "corpus"
        grown.mkdir(parents=True, exist_ok=True)
        options = [f"-max_total_time={seconds}", "-max_len=512", "-timeout=30", f"-artifact_prefix={keep}/crash-"]
        return subprocess.run([program, *options, grown, CORPUS], check=False).returncode
    program = build((*FUZZ, DRIVER), host_compiler())
    seed = int(time.time())
    end, status = seed + seconds, 0
    while time.time() < end and status == 0:
        options = ["--random", "1000", "--seed", str(seed), "--keep", str(keep)]
        status, seed = subprocess.run([program, *options], check=False).returncode, seed + 1
    return status


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] != "fuzz":
        sys.exit(__doc__)
    sys.exit(fuzz(int(sys.argv[2]), Path(sys.argv[3])))
