"""What a measurement was made on: processor, cores and versions; nothing that names the machine or its owner."""

from __future__ import annotations

import os
import platform
import re
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["cores", "cpu_name", "describe", "versions"]

PROC = Path("/proc")

_LIBRARIES = {"numpy": "numpy", "onnxruntime": "onnxruntime", "opencv": "cv2"}


def cpu_name() -> str:
    """The processor as the kernel names it; on boards whose kernel names none, the board, such as a Raspberry Pi 5."""
    try:
        text = (PROC / "cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    named = re.search(r"^model name\s*: *(\S.*)$", text, re.M) or re.search(r"^Model\s*: *(\S.*)$", text, re.M)
    return named[1].strip() if named else platform.processor() or platform.machine()


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def describe() -> dict[str, Any]:
    """Processor, cores and system, as plain JSON types."""
    return {"cpu": cpu_name(), "cores": cores(), "architecture": platform.machine(), "system": platform.system()}


def versions() -> dict[str, str]:
    """Of cardrec, Python and the libraries that take part in an answer; imports them."""
    from cardrec import __version__

    found = {"cardrec": __version__, "python": platform.python_version()}
    return found | {name: str(import_module(module).__version__) for name, module in _LIBRARIES.items()}
