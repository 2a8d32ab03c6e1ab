"""The int8 scan against the time that this core needs to read the same bytes.

    python -m benchmarks.roofline [ROWS [DIMENSION [ROUNDS]]]

Compiles `benchmarks/native/roofline.cpp` with the kernels of `csrc/search/` and runs it: every tier that the processor
has, and a plain read, in turn.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
TIERS = ("scalar", "avx2", "avx512vnni", "neon", "neon_dotprod", "dispatch")


def main() -> None:
    kernels, common = ROOT / "csrc" / "search", ROOT / "csrc" / "common"
    sources = [
        ROOT / "benchmarks" / "native" / "roofline.cpp",
        *(kernels / f"{name}.cpp" for name in TIERS),
        common / "tiers.cpp",
    ]
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "roofline"
        compiler = os.environ.get("CXX", "c++")
        flags = ["-std=c++17", "-O3", "-ffp-contract=off", f"-I{kernels}", f"-I{common}"]
        subprocess.run([compiler, *flags, *map(str, sources), "-o", str(program)], check=True)
        subprocess.run([str(program), *sys.argv[1:]], check=True)


if __name__ == "__main__":
    main()
