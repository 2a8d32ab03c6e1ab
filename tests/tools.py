"""Programs of the system that some tests need."""

from __future__ import annotations

import os
import shutil

import pytest

IN_CI = os.environ.get("CI") == "true"
PACKAGES = {"aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu", "qemu-aarch64-static": "qemu-user-static"}
"""Of Debian, where they are not called as the program is."""


def needed(*tools: str) -> None:
    """Skips a test where a tool is missing; in CI that is a failure."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        packages = " ".join(PACKAGES.get(tool, tool) for tool in missing)
        reason = f"{' and '.join(missing)} not found (on Debian: apt install {packages})"
        pytest.fail(reason) if IN_CI else pytest.skip(reason)
