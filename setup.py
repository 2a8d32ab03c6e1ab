"""Builds the two native modules; everything else is in pyproject.toml."""

from __future__ import annotations

from pathlib import Path

import pybind11
from Cython.Build import cythonize
from setuptools import Extension, setup

# No -march=native and no -ffast-math: a wheel runs on every processor of its architecture, with the same bits on each.
# (-fno-math-errno and -fno-trapping-math change no result: nobody reads errno or the exception flags.)
COMPILE = ["-std=c++17", "-O3", "-fvisibility=hidden", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
COMPILE += ["-pthread", "-Wall", "-Wextra"]


def extension(name: str, folder: str, include_dirs: list[str], *sources: str) -> Extension:
    """One C++ module made of every .cpp file of a folder."""
    return Extension(
        name,
        sources=[*sources, *sorted(map(str, Path(folder).glob("*.cpp")))],
        depends=sorted(map(str, Path(folder).glob("*.hpp"))),
        include_dirs=[folder, *include_dirs],
        extra_compile_args=COMPILE,
        extra_link_args=["-pthread"],
        language="c++",
    )


setup(
    ext_modules=[
        extension("cardrec._search", "csrc/search", [pybind11.get_include()]),
        *cythonize(
            extension("cardrec._image", "csrc/image", [], "csrc/image/_image.pyx"),
            build_dir="build/cython",
            language_level=3,
        ),
    ]
)
