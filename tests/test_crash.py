"""A writer killed at any moment leaves a catalog that opens and verifies, and that the next writer can change.

A fresh process forks one child for each moment: the child makes the change and kills itself (SIGKILL) just before its
n-th call of the file system, or on reaching its n-th line of cardrec's code; the parent then looks at what is left. The
same calls are made to fail with an OSError as well: then the old state, or the new one, must be all that is left.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from small_catalog import FakeEncoder, files_of, ids_in, item, items, make

from cardrec.catalog import Catalog
from cardrec.errors import CatalogError, CatalogFormatError

if TYPE_CHECKING:
    from types import FrameType

CALLS = ("open", "fsync", "replace", "unlink", "rmdir", "mkdir")
LINES_TRIED = 40
Change = Callable[[Path], object]


def _append(path: Path) -> None:
    with Catalog.open(path) as catalog:
        catalog.append(items(range(10, 13)), encoder=FakeEncoder(), near=None)


def _remove(path: Path) -> None:
    with Catalog.open(path) as catalog:
        catalog.remove(["card-1", "card-6"])


def _compact(path: Path) -> None:
    with Catalog.open(path) as catalog:
        catalog.compact()


def _overwrite(path: Path) -> None:
    Catalog.build(path, items(range(20, 23)), encoder=FakeEncoder(), overwrite=True, near=None, calibration=None)


def _build(path: Path) -> None:
    Catalog.build(path / "new", items(range(3)), encoder=FakeEncoder(), near=None, calibration=None)


CHANGES: dict[str, Change] = {
    "append": _append,
    "remove": _remove,
    "compact": _compact,
    "overwrite": _overwrite,
    "build": _build,
}


def _prepare(path: Path) -> None:
    """Two segments, one with tombstones."""
    make(path, 5)
    with Catalog.open(path) as catalog:
        catalog.append(items(range(5, 8)), encoder=FakeEncoder(), near=None)
        catalog.remove(["card-2"])


def _state(path: Path) -> list[str]:
    with Catalog.open(path) as catalog:
        catalog.verify()
        return ids_in(catalog)


# in the child


def _at_call(number: int, act: Callable[[], None]) -> None:
    """Do something just before the number-th call of the file system."""
    count = 0

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == number:
                act()
            return function(*arguments, **options)

        return wrapped

    for name in CALLS:
        setattr(os, name, wrap(getattr(os, name)))


def _at_line(number: int, act: Callable[[], None]) -> None:
    """Do something on reaching the number-th line of cardrec's code."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        if "cardrec" not in frame.f_code.co_filename:
            return None
        if event == "line":
            count += 1
            if count == number:
                act()
        return trace

    sys.settrace(trace)


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _fail() -> None:
    raise OSError(28, "No space left on device")


def _child(
    arrange: Callable[[int, Callable[[], None]], None], number: int, act: Callable[[], None], change: Change, path: Path
) -> int:
    """Fork; returns the signal that killed the child, -1 if it failed with an OSError, 0 if it came to its end."""
    process = os.fork()
    if process == 0:
        code = 3
        try:
            arrange(number, act)
            change(path)
            code = 0
        except OSError:
            code = 1
        finally:
            os._exit(code)
    _, status = os.waitpid(process, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status)
    if os.WEXITSTATUS(status) == 3:
        raise AssertionError(f"{change} raised something else than an OSError at moment {number}")
    return -os.WEXITSTATUS(status)


# in the parent of the children


def run(name: str, scratch: Path) -> None:
    """Try all moments of one change."""
    setattr(os, "fsync", lambda _: None)  # noqa: B010 - what a killed process wrote stays written: spare the disk
    template, path = scratch / "template", scratch / "catalog"
    _prepare(template)
    change, check = CHANGES[name], _check_build if name == "build" else _check
    old = _state(template)
    shutil.copytree(template, path)
    change(path)
    new = _state(path / "new") if name == "build" else _state(path)
    tried = 0
    for arrange, act, moments in (
        (_at_call, _kill, range(1, 10_000)),
        (_at_call, _fail, range(1, 10_000)),
        (_at_line, _kill, _some_lines(change, template, path)),
    ):
        for number in moments:
            shutil.rmtree(path)
            shutil.copytree(template, path)
            ended = _child(arrange, number, act, change, path)
            check(path, old, new)
            tried += 1
            if ended == 0 and isinstance(moments, range):  # past the last call
                break
    assert tried > LINES_TRIED + 30, tried
    sys.stdout.write(f"{name}: {tried} moments\n")


def _some_lines(change: Change, template: Path, path: Path) -> list[int]:
    """Moments spread at random over all lines that the change runs through."""
    shutil.rmtree(path)
    shutil.copytree(template, path)
    total = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal total
        if "cardrec" not in frame.f_code.co_filename:
            return None
        total += event == "line"
        return trace

    sys.settrace(trace)
    change(path)
    sys.settrace(None)
    return random.Random(0).sample(range(1, total), LINES_TRIED)


def _check(path: Path, old: list[str], new: list[str]) -> None:
    state = _state(path)
    assert state in (old, new), state
    with Catalog.open(path) as catalog:  # the next writer
        catalog.append([item(50)], encoder=FakeEncoder(), near=None)
        catalog.compact()
        catalog.verify()
        assert ids_in(catalog) == sorted([*state, "card-50"])
    assert len(list((path / "segments").iterdir())) == 1  # nothing is left lying about
    assert {each.name for each in path.iterdir()} == {"catalog.json", "catalog.lock", "segments"}
    assert len(list(next((path / "segments").iterdir()).iterdir())) == 6


def _check_build(path: Path, old: list[str], new: list[str]) -> None:
    assert _state(path) == old  # its neighbour
    try:
        assert _state(path / "new") == new
    except (FileNotFoundError, CatalogFormatError):
        assert not (path / "new/catalog.json").exists()
        _build(path)
        assert _state(path / "new") == new
    assert len(list((path / "new/segments").iterdir())) == 1


@pytest.mark.parametrize("name", CHANGES)
def test_killed_at_every_step(name: str, tmp_path: Path) -> None:
    code = f"import test_crash, pathlib; test_crash.run({name!r}, pathlib.Path({str(tmp_path)!r}))"
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": _python_path()}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert name in done.stdout


def _python_path() -> str:
    here = Path(__file__).parent
    return os.pathsep.join([str(here), str(here.parent), os.environ.get("PYTHONPATH", "")])


def test_a_real_writer_in_another_process_holds_the_lock(tmp_path: Path) -> None:
    """A writer in another process keeps a second one out; killed, it lets go of the lock by itself."""
    path = make(tmp_path / "catalog", 5)
    code = (
        "import sys, pathlib, time, small_catalog as s\n"
        "from cardrec.catalog import Catalog\n"
        "def slow():\n"
        "    yield s.item(30)\n"
        "    print('busy', flush=True)\n"
        "    time.sleep(60)\n"
        f"Catalog.open({str(path)!r}).append(slow(), encoder=s.FakeEncoder())\n"
    )
    environment = {**os.environ, "PYTHONPATH": _python_path()}
    before = files_of(path)
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"busy\n"
        with Catalog.open(path) as catalog:
            with pytest.raises(CatalogError, match="another writer"):
                catalog.remove(["card-1"])
            assert catalog.search(np.ones(catalog.dimension), 9)[0].shape == (1, 5)
        writer.kill()
    assert before.items() <= files_of(path).items()
    with Catalog.open(path) as catalog:
        catalog.remove(["card-1"])
        assert ids_in(catalog) == ["card-0", "card-2", "card-3", "card-4"]
    assert len(list((path / "segments").iterdir())) == 1
