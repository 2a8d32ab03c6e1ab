"""Steps that take no time, as modules of their own: what a pipeline runs in its tests."""

from __future__ import annotations

import textwrap
from pathlib import Path

from training.pipeline.steps import Step

MODULE = """
import argparse, os, sys, time
from pathlib import Path
from fakes.shared import mark

parser = argparse.ArgumentParser()
parser.add_argument("source", type=Path)
parser.add_argument("--out", type=Path)
parser.add_argument("--text", default="")
parser.add_argument("--shared", default="made")
parser.add_argument("--leave", action="store_true")
parser.add_argument("--change", action="store_true")
parser.add_argument("--fail", type=int, default=0)
parser.add_argument("--wait", action="store_true")
parser.add_argument("--resume", type=Path)
options = parser.parse_args()
with open("runs.txt", "a") as runs:
    runs.write(f"NAME{' resumed' if options.resume else ''}\\n")
print("NAME prints", options.text)
files = sorted(options.source.rglob("*.txt")) if options.source.is_dir() else [options.source]
said = mark + options.text + "".join(file.read_text() for file in files)
if options.change:
    (options.source / "shared.txt").write_text("changed " + str(len(said)))
if options.leave:
    (options.source / "left.txt").write_text("a recipe, say")
if options.out:
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "checkpoint.pt").touch()
if options.wait:
    Path("waiting.pid").write_text(str(os.getpid()))
    while Path("wait").exists():
        time.sleep(0.01)
if options.fail:
    print("NAME can't go on", file=sys.stderr)
    sys.exit(options.fail)
if options.out and options.text != "nothing":
    (options.out / "result.txt").write_text(said)
    (options.out / "shared.txt").write_text(options.shared)
elif options.out:
    (options.out / "checkpoint.pt").unlink()
    options.out.rmdir()
"""

STEPS = (
    Step(name="first", command=("fakes.first",), positional=("source",), reads=("source",), writes=("out",)),
    Step(
        name="second",
        command=("fakes.second",),
        positional=("source",),
        reads=("source",),
        writes=("out",),
        resume=("--resume", "checkpoint.pt"),
    ),
    Step(name="changing", command=("fakes.changing",), positional=("source",), reads=("source",), writes=("source",)),
    Step(name="last", command=("fakes.last",), positional=("source",), reads=("source",), writes=("out",)),
)

CONFIG = """
run = "run"
[first]
source = "input"
out = "{run}/first"
[second]
source = "{run}/first"
out = "{run}/second"
[last]
source = "{run}/second"
out = "{run}/last"
"""

CHANGING = '[changing]\nsource = "{run}/first"\nchange = true\n'


def write_steps(folder: Path) -> Path:
    """The package of the steps' modules."""
    package = folder / "fakes"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "shared.py").write_text('mark = "."\n')
    for step in STEPS:
        (package / f"{step.name}.py").write_text(textwrap.dedent(MODULE).replace("NAME", step.name))
    (folder / "input").mkdir()
    (folder / "input/a.txt").write_text("a")
    (folder / "config.toml").write_text(CONFIG)
    return package
