"""Runs `cardrec` in this process or Python in another, and says what the output must be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from click.testing import CliRunner, Result

from cardrec import cli


class Run:
    """`run("identify", path)` is `cardrec identify PATH`."""

    def __call__(self, *arguments: object) -> Result:
        return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def python(*arguments: str, simd: str) -> subprocess.CompletedProcess[str]:
    """A Python of its own, with that instruction set for the search."""
    environment = {**os.environ, "CARDREC_SIMD": simd}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def is_one_line_error(result: Result, code: int, *words: str) -> None:
    assert result.exit_code == code, result.stderr
    assert result.stdout == ""
    last = result.stderr.splitlines()[-1]
    assert last.startswith("cardrec: error: ")
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr
