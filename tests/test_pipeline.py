"""The pipeline: what runs, what does not, and what is left after failures, kills and changes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pipeline_steps import CHANGING, CONFIG, STEPS, write_steps

from cardrec.catalog import Catalog
from training.pipeline.__main__ import main
from training.pipeline.code import PACKAGES

ALL = ["first", "second", "last"]
WAIT_S = 60


class Place:
    """A folder with fake steps, a config and a run."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.said = ""

    def run(self, *given: str, code: int = 0) -> list[str]:
        """Runs the pipeline; gives the names of the steps that ran."""
        (self.folder / "runs.txt").unlink(missing_ok=True)
        self.said = ""
        try:
            main(["--config", "config.toml", *given], STEPS)
            ended = 0
        except SystemExit as error:
            ended = error.code if isinstance(error.code, int) else 1
            self.said = str(error.code)
        printed = self._capsys.readouterr()
        self.said += printed.out + printed.err
        assert ended == code, self.said
        return self.ran()

    def ran(self) -> list[str]:
        runs = self.folder / "runs.txt"
        return runs.read_text().splitlines() if runs.exists() else []

    def status(self, name: str) -> str:
        """What the table says of a step."""
        line = [line for line in self.said.splitlines() if line.startswith(f"{name} ")][-1]
        return line.removeprefix(name).strip()

    def configure(self, change: Callable[[str], str]) -> None:
        path = self.folder / "config.toml"
        path.write_text(change(path.read_text()))

    def start(self) -> subprocess.Popen[bytes]:
        """The pipeline as a process of its own, whose second step waits; returns when it does."""
        self.configure(lambda text: text.replace('out = "{run}/second"', 'out = "{run}/second"\nwait = true'))
        (self.folder / "wait").touch()
        script = (  # a job in a shell's background is started with Ctrl-C ignored, and so are its children
            "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
            "from pathlib import Path; from pipeline_steps import STEPS; from training.pipeline.__main__ import main;"
            "from training.pipeline.code import PACKAGES; PACKAGES['fakes'] = Path('fakes').absolute();"
            "main(steps=STEPS)"
        )
        process = subprocess.Popen([sys.executable, "-c", script, "--config", "config.toml"], stdout=subprocess.DEVNULL)
        until(lambda: bool(self.waiting()))
        return process

    def waiting(self) -> int:
        """The process of the waiting step; 0 if there is none."""
        path = self.folder / "waiting.pid"
        text = path.read_text() if path.exists() else ""
        return int(text) if text and alive(int(text)) else 0


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Place:
    package = write_steps(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(PACKAGES, "fakes", package)
    here = Path(__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (tmp_path, here, here / "tests"))))
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # pytest's own stays
    return Place(tmp_path, capsys)


def test_every_step_runs_once(place: Place) -> None:
    assert place.run() == ALL
    assert (place.folder / "run/last/result.txt").exists()
    assert [place.status(name).split()[0] for name in ALL] == ["done"] * 3
    assert "it never ran" in place.status("first")
    assert place.run() == []
    assert [place.status(name) for name in ALL] == ["up to date"] * 3


def _append(path: Path) -> None:
    path.write_text(path.read_text() + "#")


def _replace_in_place(path: Path) -> None:
    """Other bytes, as many, under the same times."""
    status = path.stat()
    path.write_text("z" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES: dict[str, tuple[Callable[[Path], object], list[str], str]] = {
    "input": (lambda here: (here / "input/a.txt").write_text("b"), ALL, "input changed"),
    "input, times kept": (lambda here: _replace_in_place(here / "input/a.txt"), ALL, "input changed"),
    "new input": (lambda here: (here / "input/sub.txt").write_text("b"), ALL, "input changed"),
    "input gone": (lambda here: shutil.copy(here / "input/a.txt", here / "input/b.txt"), ALL, "input changed"),
    "hidden input": (lambda here: (here / "input/.b.txt").write_text("b"), [], "up to date"),
    "touched input": (lambda here: os.utime(here / "input/a.txt"), [], "up to date"),
    "output altered": (lambda here: (here / "run/second/result.txt").write_text("b"), ["second"], "was altered"),
    "output missing": (lambda here: (here / "run/second/result.txt").unlink(), ["second"], "is missing"),
    "outputs gone": (lambda here: shutil.rmtree(here / "run/second"), ["second"], "is missing"),
    "its module": (lambda here: _append(here / "fakes/second.py"), ["second"], "its code changed"),
    "a module of all": (lambda here: (here / "fakes/shared.py").write_text("mark = '.'"), ALL, "its code changed"),
    "settings": (
        lambda here: (here / "config.toml").write_text(CONFIG.replace("[last]", 'text = "x"\n[last]')),
        ["second", "last"],
        "its settings changed",
    ),
    "another step's settings": (
        lambda here: (here / "config.toml").write_text(CONFIG + "[changing]\nsource = 'input'\n"),
        ["changing"],
        "it never ran",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_only_what_changed_runs_again(place: Place, name: str) -> None:
    change, expected, why = CHANGES[name]
    place.run()
    change(place.folder)
    assert place.run("--dry-run") == []
    foreseen = [step for step in (*ALL, "changing") if f"\n{step} " in place.said and "would run" in place.status(step)]
    assert set(expected) <= set(foreseen)  # and those that read what is made again, which may come out the same
    assert place.run() == expected
    assert why in (place.status(expected[0]) if expected else place.status("first"))
    assert place.run() == []


def test_a_step_that_makes_the_same_again_wakes_no_other(place: Place) -> None:
    place.run()
    assert place.run("--force", "first") == ["first"]
    assert "forced" in place.status("first")


def test_a_step_may_change_what_another_made(place: Place) -> None:
    place.configure(lambda text: text + CHANGING)
    assert place.run() == ["first", "second", "changing", "last"]
    shared = place.folder / "run/first/shared.txt"
    changed = shared.read_text()
    assert changed.startswith("changed")
    assert place.run() == []
    shared.write_text("someone else")
    assert place.run() == ["first", "changing"]
    assert shared.read_text() == changed
    assert place.run() == []
    (place.folder / "input/a.txt").write_text("aa")
    assert place.run() == ["first", "second", "changing", "last"]
    assert place.run() == []
    place.configure(lambda text: text.replace("[second]", 'shared = "otherwise"\n[second]'))
    assert place.run() == ["first", "second", "changing", "last"]
    for _ in range(3):  # the last time it finds what it is going to write
        assert place.run("--force", "changing") == ["changing"]
    assert place.run() == []


def test_a_step_that_changes_what_no_step_made(place: Place) -> None:
    (place.folder / "input/shared.txt").write_text("from elsewhere")
    place.configure(lambda _: 'run = "run"\n' + CHANGING.replace("{run}/first", "input"))
    assert place.run() == ["changing"]
    assert place.run() == []
    (place.folder / "input/shared.txt").write_text("from elsewhere")
    assert place.run() == ["changing"]


def test_after_a_failure_it_goes_on_where_it_was(place: Place) -> None:
    place.configure(lambda text: text.replace("[last]", "fail = 7\n[last]"))
    assert place.run(code=1) == ["first", "second"]
    assert place.status("second").startswith("failed") and "exit code 7; run/logs/second.log" in place.status("second")
    assert place.status("last") == "not reached"
    log = (place.folder / "run/logs/second.log").read_text()
    assert "second prints" in log and "second can't go on" in log and "exit code 7" in log
    assert place.run(code=1) == ["second resumed"] and "it failed" in place.said
    place.configure(lambda text: text.replace("fail = 7\n", ""))
    assert place.run() == ["second", "last"]  # with other settings there is nothing to go on from


def test_an_optional_step_may_fail(place: Place) -> None:
    place.configure(lambda text: text.replace("[second]", "[changing]\nsource = 'input'\n[second]"))
    place.configure(lambda text: text.replace("[last]", "fail = 7\noptional = true\n[last]"))
    place.configure(lambda text: text.replace('source = "{run}/second"', 'source = "{run}/first"'))
    assert place.run() == ["first", "second", "changing", "last"]
    assert place.status("second").startswith("failed") and place.status("last").startswith("done")
    assert place.run() == ["second resumed"]


def test_what_a_failed_step_leaves_wakes_none_before_it(place: Place) -> None:
    left = CHANGING.replace("change = true", "leave = true\nfail = 3\noptional = true")
    place.configure(lambda text: text + left)
    assert place.run() == ["first", "second", "changing", "last"]
    assert place.run() == ["changing"]
    (place.folder / "run/first/left.txt").unlink()
    assert place.run() == ["changing"]


def test_a_step_that_does_not_make_what_it_should(place: Place) -> None:
    place.configure(lambda text: text.replace("[last]", 'text = "nothing"\n[last]'))
    assert place.run(code=1) == ["first", "second"]
    assert "run/second does not exist" in place.status("second")
    assert place.run(code=1) == ["second"]


def test_what_is_not_there_is_named(place: Place) -> None:
    shutil.rmtree(place.folder / "input")
    assert place.run(code=1) == []
    assert "first reads input, which does not exist; see [first]" in place.said


def test_a_killed_pipeline_leaves_its_step_to_finish_and_keeps_others_out(place: Place) -> None:
    process = place.start()
    process.kill()
    process.wait()
    assert place.waiting()
    assert place.run(code=1) == [] and "a step that one left behind, is at work" in place.said
    os.kill(place.waiting(), signal.SIGKILL)
    until(lambda: not place.waiting())
    (place.folder / "wait").unlink()
    assert place.run() == ["second resumed", "last"]
    assert "it was interrupted" in place.said
    assert place.run() == []


@pytest.mark.parametrize(("how", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_pipeline_stops_its_step(place: Place, how: signal.Signals, code: int) -> None:
    process = place.start()
    process.send_signal(how)
    assert process.wait(WAIT_S) == code
    until(lambda: not place.waiting())
    (place.folder / "wait").unlink()
    assert place.run() == ["second resumed", "last"]


def test_a_killed_step_runs_again(place: Place) -> None:
    process = place.start()
    os.kill(place.waiting(), signal.SIGKILL)
    assert process.wait(WAIT_S) == 1
    (place.folder / "wait").unlink()
    assert place.run() == ["second resumed", "last"]


def test_forced_steps_start_over(place: Place) -> None:
    place.configure(lambda text: text.replace("[last]", "fail = 7\n[last]"))
    place.run(code=1)
    assert place.run("--force", "second", code=1) == ["second"]


def test_some_of_the_steps(place: Place) -> None:
    assert place.run("--only", "first") == ["first"]
    assert place.status("second") == "left out"
    assert place.run("--only", "last", "--dry-run", code=1) == [] and "run/second, which does not exist" in place.said
    assert place.run("--from", "second") == ["second", "last"]
    assert place.status("first") == "left out"
    (place.folder / "input/a.txt").write_text("b")
    assert place.run("--from", "second") == []
    assert place.run("--only", "first", "last") == ["first"]
    for option in ("--only", "--from", "--force", "--accept"):
        assert place.run(option, "third", code=1) == [] and "'third' is no step of the config" in place.said


def test_what_is_there_may_be_accepted(place: Place) -> None:
    place.run()
    _append(place.folder / "fakes/first.py")
    assert place.run("--accept", "first") == []
    assert place.status("first") == "accepted"
    assert place.run() == []
    shutil.rmtree(place.folder / "run/second")
    assert place.run("--accept", "second", code=1) == [] and "run/second does not exist" in place.said


def test_a_dry_run_changes_nothing(place: Place) -> None:
    assert place.run("--dry-run") == []
    assert [place.status(name).split("  ")[0] for name in ALL] == ["would run"] * 3
    assert "run/first is made anew" in place.status("second")
    assert not (place.folder / "run/pipeline.json").exists()


def test_a_damaged_state_is_named(place: Place) -> None:
    place.run()
    state = place.folder / "run/pipeline.json"
    for text in ("", "[]", '{"format": 2}', json.dumps({"format": 1, "steps": {"first": {}}})):
        state.write_text(text)
        assert place.run(code=1) == [] and "pipeline.json is no state of a pipeline" in place.said
    state.unlink()
    (place.folder / "run/pipeline-files.json").write_text("[1]")
    assert place.run() == ALL


def test_cards_are_prepared_and_indexed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real commands, on pictures of cards."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    scans = tmp_path / "scans"
    scans.mkdir()
    for seed in range(5):
        pixels = np.random.default_rng(seed).integers(0, 256, (160, 112, 3), np.uint8)
        Image.fromarray(pixels).save(scans / f"set-{seed}.png")
    config = tmp_path / "config.toml"
    config.write_text(f"""
run = "{tmp_path}/run"
[prepare]
source = "{scans}"
out = "{{run}}/cards"
[index]
source = "{{run}}/cards/cards.jsonl"
catalog = "{{run}}/catalog"
overwrite = true
""")
    main(["--config", str(config)])
    state = json.loads((tmp_path / "run/pipeline.json").read_text())["steps"]
    assert [state[name]["status"] for name in ("prepare", "index")] == ["done", "done"]
    with Catalog.open(tmp_path / "run/catalog") as catalog:
        assert len(catalog) == 5
    before = (tmp_path / "run/pipeline.json").read_bytes()
    main(["--config", str(config)])
    assert (tmp_path / "run/pipeline.json").read_bytes() == before
    (scans / "set-4.png").unlink()
    main(["--config", str(config)])
    with Catalog.open(tmp_path / "run/catalog") as catalog:
        assert len(catalog) == 4
