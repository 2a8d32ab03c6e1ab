"""Hailo's Dataflow Compiler: found, and driven through its Python API or its commands.

It is closed, for Linux on x86-64, and in no package registry. It may live in a Python of its own: the one named, this
one, or the one that its command `hailo` starts with.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cardrec.rectify import INPUT_SIZE
from training.hailo_graph import INPUT

__all__ = ["Compiler", "Job", "find_compiler"]

WORKER = Path(__file__).with_name("hailo_worker.py")
NAME = "cardrec"
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Job:
    """A network to compile, in a folder of its own that the compiler may write into.

    Attributes:
        folder: holds `network.onnx` and `network.alls`.
        calibration: the set.
        architecture: of the chip.
        end: last node.
    """

    folder: Path
    calibration: Path
    architecture: str
    end: str

    @property
    def onnx(self) -> Path:
        return self.folder / "network.onnx"

    @property
    def script(self) -> Path:
        return self.folder / "network.alls"

    @property
    def har(self) -> Path:
        """The optimised network."""
        return self.folder / "optimised.har"


@dataclass(frozen=True, slots=True)
class Compiler:
    """How to reach it.

    Attributes:
        python: that has `hailo_sdk_client`; None, if none was found.
        command: `hailo`; None, if it is not there or not wanted.
    """

    python: str | None
    command: str | None

    @property
    def emulates(self) -> bool:
        """Whether the quantised network can be run before it is compiled: the commands alone can't."""
        return self.python is not None

    def optimise(self, job: Job) -> str:
        """Translates and quantises the network; returns what the compiler printed.

        Raises:
            ValueError: it failed; the message has its last lines.
        """
        if self.command is None:
            return self._worker(
                job,
                "optimise",
                onnx=str(job.onnx),
                name=NAME,
                start=INPUT,
                end=job.end,
                shape=[1, 3, INPUT_SIZE, INPUT_SIZE],
                script=str(job.script),
                calibration=str(job.calibration),
            )
        parsed = job.folder / "parsed.har"
        chip = ["--hw-arch", job.architecture]
        nodes = ["--start-node-names", INPUT, "--end-node-names", job.end]
        log = run_command(
            job.folder,
            [self.command, "parser", "onnx", job.onnx, *chip, "--net-name", NAME, "--har-path", parsed, *nodes, "-y"],
        )
        script = ["--calib-set-path", job.calibration, "--model-script", job.script]
        return log + run_command(
            job.folder, [self.command, "optimize", parsed, *chip, *script, "--output-har-path", job.har]
        )

    def emulate(self, job: Job, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, dimension) of (n, 224, 224, 3) RGB pictures, as the quantised network says it.

        Raises:
            ValueError: it failed, or gave something else.
        """
        given, said = job.folder / "pictures.npy", job.folder / "answers.npy"
        np.save(given, pictures)
        self._worker(job, "emulate", pictures=str(given), answers=str(said))
        answers: NDArray[np.float32] = np.load(said)
        if len(answers) != len(pictures) or not np.isfinite(answers).all():
            raise ValueError(
                f"the emulator gave {answers.shape} numbers for {len(pictures)} pictures, or not finite ones"
            )
        return answers

    def compile(self, job: Job) -> bytes:
        """The HEF.

        Raises:
            ValueError: it failed, or wrote none.
        """
        out = job.folder / "out"
        out.mkdir()
        if self.command is None:
            self._worker(job, "compile", hef=str(out / f"{NAME}.hef"))
        else:
            run_command(
                job.folder, [self.command, "compiler", job.har, "--hw-arch", job.architecture, "--output-dir", out]
            )
        written = list(out.glob("*.hef"))
        if len(written) != 1:
            raise ValueError(f"the compiler ended well, but wrote {len(written)} HEF files; one was expected")
        return written[0].read_bytes()

    def _worker(self, job: Job, step: str, **more: Any) -> str:
        about = job.folder / "job.json"
        about.write_text(
            json.dumps({"step": step, "architecture": job.architecture, "har": str(job.har), **more}), encoding="utf-8"
        )
        return run_command(job.folder, [self.python, WORKER, about])


def run_command(folder: Path, command: list[Any]) -> str:
    """Runs it in the folder, since the compiler leaves logs where it is; what it prints is shown, kept and returned.

    Raises:
        ValueError: it failed; the message has its last lines.
    """
    words = [str(word) for word in command]
    process = subprocess.Popen(
        words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    kept = []
    with process:
        for line in process.stdout or ():
            kept.append(line)
            print(f"  {line}", end="", file=sys.stderr, flush=True)
    if process.returncode:
        said = " | ".join(line.strip() for line in kept[-_SHOWN:] if line.strip())
        what = f"Hailo's compiler failed ({_ended(process.returncode)})"
        raise ValueError(f"{what}: {said or 'it said nothing'}")
    return "".join(kept)


def _ended(code: int) -> str:
    if code == -9:
        return "killed, as for memory: it wants 16 GB and more"
    return f"exit code {code}" if code > 0 else f"signal {-code}"


def find_compiler(python: str | None = None, *, commands: bool = False) -> Compiler | None:
    """The compiler that is there; None if there is none.

    Args:
        python: interpreter that has it; None: this one, or the one that `hailo` starts with.
        commands: use the commands even where there is the API.

    Raises:
        ValueError: the named interpreter does not have it, or commands were asked for and are not there.
    """
    command = shutil.which("hailo")
    if python is not None and not _has_api(python):
        raise ValueError(f"{python} has no hailo_sdk_client; name the Python that the compiler was installed into")
    if commands and command is None:
        raise ValueError(
            "the command hailo is not on the PATH; activate the compiler's environment, or drop --commands"
        )
    candidates = [python] if python else [sys.executable, *([_shebang(command)] if command else [])]
    found = next((each for each in candidates if each and _has_api(each)), None)
    if found is None and command is None:
        return None
    compiler = Compiler(found, command)
    return compiler if commands or found is None else replace(compiler, command=None)


def _has_api(python: str) -> bool:
    test = "import importlib.util, sys; sys.exit(importlib.util.find_spec('hailo_sdk_client') is None)"
    try:
        return subprocess.run([python, "-c", test], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _shebang(command: str) -> str | None:
    """The interpreter that a script starts with."""
    with Path(command).open("rb") as file:
        line = file.readline(4096)
    return line[2:].decode(errors="replace").strip().split(" ")[0] if line.startswith(b"#!") else None
