"""`cardrec` in a process of its own, as a shell starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from cardrec import cli

if TYPE_CHECKING:
    from pathlib import Path

    from cardrec.samples import Sample


def start(*arguments: object, **settings: str) -> subprocess.Popen[str]:
    """`cardrec` in a process of its own, as a shell starts it."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **settings}
    command = [sys.executable, "-m", "cardrec.cli", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_in_a_process_of_its_own(sample: Sample) -> None:
    process = start("identify", sample.path, "--json", LC_ALL="C")
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert json.loads(stdout)["cards"][0]["matches"][0]["card_id"] == sample.card_ids[0]
    assert stderr == ""


def test_a_reader_that_has_enough_is_no_error(blank_photo: Path) -> None:
    process = start("identify", blank_photo, "--json")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=120) == cli.BROKEN_PIPE


def test_the_command_starts_without_the_heavy_libraries() -> None:
    heavy = ("numpy", "cv2", "PIL", "onnxruntime", "rich")
    code = f"import sys, cardrec.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
