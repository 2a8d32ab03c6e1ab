"""Builds the three native modules; everything else is in pyproject.toml."""

from __future__ import annotations

import os
from pathlib import Path

import pybind11
from Cython.Build import cythonize
from setuptools import Extension, setup

# No -march=native and no -ffast-math: a wheel runs on every processor of its architecture, with the same bits on each.
# (-fno-math-errno and -fno-trapping-math change no result: nobody reads errno or the exception flags.)
COMPILE = ["-std=c++17", "-O3", "-fvisibility=hidden", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
COMPILE += ["-pthread", "-Wall", "-Wextra"]
# CARDREC_SANITIZE=1: a wrong access or an undefined operation ends the process; `make test-sanitized` runs tests so.
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer", "-O1", "-g"]
SANITIZED = os.environ.get("CARDREC_SANITIZE") == "1"
COMMON = "csrc/common"  # part of all modules


def extension(name: str, folder: str, include_dirs: list[str], *sources: str) -> Extension:
    """One C++ module made of every .cpp file of a folder and of the common one."""
    sanitize = SANITIZE if SANITIZED else []
    return Extension(
        name,
        sources=[*sources, *(str(file) for each in (folder, COMMON) for file in sorted(Path(each).glob("*.cpp")))],
        depends=[
            "setup.py",
            *(str(file) for each in (folder, COMMON, *include_dirs) for file in sorted(Path(each).glob("*.hpp"))),
        ],
        include_dirs=[folder, COMMON, *include_dirs],
        extra_compile_args=[*COMPILE, *sanitize],
        extra_link_args=["-pthread", *sanitize],
        language="c++",
    )


if __name__ == "__main__":  # tests/native_build.py only reads the flags
    setup(
        ext_modules=[
            extension("cardrec._search", "csrc/search", [pybind11.get_include()]),
            extension("cardrec._detect", "csrc/detect", ["csrc/image", pybind11.get_include()]),
            *cythonize(
                extension("cardrec._image", "csrc/image", [], "csrc/image/_image.pyx"),
                build_dir="build/cython",
                language_level=3,
            ),
        ]
    )
