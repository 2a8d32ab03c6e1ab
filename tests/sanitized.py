"""A pytest plugin for `make test-sanitized`: what is tested must be the sanitized build."""

from __future__ import annotations

from pathlib import Path

import pytest

from cardrec import _detect, _image, _search


def pytest_configure() -> None:
    for module in (_search, _image, _detect):
        path = Path(module.__file__ or "")
        if "sanitized" not in path.parts or b"__asan_init" not in path.read_bytes():
            pytest.exit(f"{path} is not the module that `make test-sanitized` builds", returncode=3)


def pytest_report_header() -> str:
    return f"sanitized: {Path(_search.__file__ or '').parent}"
