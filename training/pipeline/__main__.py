"""The command line."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

import training.pipeline
from training.failure import Failure, one_line
from training.pipeline.config import Pipeline, read_pipeline
from training.pipeline.run import Choice, Line, run_pipeline
from training.pipeline.state import locked
from training.pipeline.steps import STEPS, Step

COMMAND = "python -m training.pipeline"
FAILED, TERMINATED = 1, 143


def main(given: Sequence[str] | None = None, steps: Sequence[Step] = STEPS) -> None:
    options = _options(given)
    signal.signal(signal.SIGTERM, _terminated)
    with one_line(COMMAND):
        pipeline = read_pipeline(options.config, steps)
        choice = Choice(
            chosen=_chosen(pipeline, options.only, options.begin),
            force=_known(pipeline, options.force),
            accept=_known(pipeline, options.accept),
            dry=options.dry_run,
        )
        lines: list[Line] = []
        with locked(pipeline.run) as lock:
            try:
                lines.extend(run_pipeline(pipeline, choice, lock))
            finally:
                _tell(lines)
    bad = {line.name for line in lines if line.status == "failed"}
    if bad - {task.name for task in pipeline.tasks if task.optional}:
        raise SystemExit(FAILED)


def _options(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=COMMAND,
        description=training.pipeline.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, required=True, help="such as training/configs/pipeline.toml")
    several = partial(parser.add_argument, action="extend", nargs="+", metavar="STEP", default=[])
    several("--only", help="leave the other steps out")
    parser.add_argument("--from", dest="begin", metavar="STEP", help="leave out the steps before this one")
    several("--force", help="run these even if nothing has changed")
    several("--accept", help="count these as done, as they are: their files are there")
    parser.add_argument("--dry-run", action="store_true", help="say what would run, and why")
    return parser.parse_args(given)


def _known(pipeline: Pipeline, names: Iterable[str]) -> list[str]:
    known = [task.name for task in pipeline.tasks]
    for name in names:
        if name not in known:
            raise Failure(f"{name!r} is no step of the config; it has {', '.join(known)}")
    return list(names)


def _chosen(pipeline: Pipeline, only: list[str], begin: str | None) -> list[str]:
    chosen = _known(pipeline, only) or [task.name for task in pipeline.tasks]
    if begin is None:
        return chosen
    names = [task.name for task in pipeline.tasks]
    return [name for name in chosen if names.index(name) >= names.index(_known(pipeline, [begin])[0])]


def _tell(lines: Iterable[Line]) -> None:
    """The table of what became of each step."""
    print()
    for line in lines:
        print(f"{line.name:<12} {line.status:<12} {_clock(line.seconds):>9}  {line.why}".rstrip(), flush=True)


def _clock(seconds: float) -> str:
    if not seconds:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{seconds:.1f} s" if seconds < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _terminated(*_: object) -> NoReturn:
    raise SystemExit(TERMINATED)


if __name__ == "__main__":
    main()
