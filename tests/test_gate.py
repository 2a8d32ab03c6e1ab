"""The latency gate: what it says of times, and all of it on a small package without native code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from git_repository import NEEDS_GIT, Repository
from refusals import refusal

from benchmarks import gate, gate_builds, gate_rounds
from benchmarks.gate_judge import FINE, INCONCLUSIVE, SLOWER, Judged, Repeat, exit_code, judge, table, verdict_of
from training.failure import Failure

NOISY = Repeat(10.0, 11.5, 10.0)
QUICK, SLOW = Repeat(10.0, 10.5, 11.4), Repeat(10.0, 9.5, 11.6)


@pytest.mark.parametrize(
    ("repeats", "verdict"),
    [
        ([QUICK] * 3, "fine"),
        ([SLOW, QUICK, QUICK], "fine"),
        ([SLOW, QUICK, SLOW], "slower"),
        ([SLOW] * 3, "slower"),
        ([QUICK, NOISY, QUICK], "fine"),
        ([SLOW, NOISY, SLOW], "slower"),
        ([SLOW, NOISY, QUICK], "inconclusive"),  # the third one would decide
        ([QUICK, NOISY, NOISY], "inconclusive"),
        ([NOISY] * 5, "inconclusive"),
        ([], "inconclusive"),
        ([NOISY, QUICK, NOISY, QUICK], "fine"),
        ([SLOW, NOISY, QUICK, QUICK], "fine"),
        ([SLOW, NOISY, QUICK, SLOW], "slower"),
        ([QUICK, QUICK, QUICK, SLOW, SLOW], "fine"),  # three decide, not the best two of five
    ],
)
def test_two_of_three_repeats_that_count_decide(repeats: list[Repeat], verdict: str) -> None:
    assert verdict_of(repeats, 3) == verdict


@pytest.mark.parametrize(("again_ms", "counts"), [(8.99, False), (9.0, True), (11.0, True), (11.01, False)])
def test_a_repeat_counts_if_base_is_as_fast_as_itself(again_ms: float, counts: bool) -> None:
    assert Repeat(10.0, again_ms, 10.0).counts is counts


def test_the_limit_itself_is_fine() -> None:
    assert verdict_of([Repeat(100.0, 100.0, 115.0)] * 3, 3) == "fine"
    assert verdict_of([Repeat(100.0, 100.0, 115.1)] * 3, 3) == "slower"


def test_what_is_accepted_has_to_be_slower_to_be_told() -> None:
    reasons = {"encode": "a larger network (1234567)"}
    assert judge("encode", [SLOW] * 3, 3, reasons) == Judged("encode", "accepted", reasons["encode"], [SLOW] * 3)
    assert judge("encode", [QUICK] * 3, 3, reasons).verdict == "fine"
    assert judge("detect", [SLOW] * 3, 3, reasons).verdict == "slower"


def test_exit_codes() -> None:
    fine, slower, unclear = (Judged("detect", verdict) for verdict in ("fine", "slower", "inconclusive"))
    assert exit_code([fine, Judged("open", "accepted"), Judged("stream", "not in base")]) == FINE
    assert exit_code([fine, unclear]) == INCONCLUSIVE
    assert exit_code([unclear, slower, fine]) == SLOWER
    assert exit_code([fine, Judged("open", "not in head")]) == SLOWER


def test_the_table_shows_each_repeat_and_brackets_what_does_not_count() -> None:
    text = table([judge("detect", [SLOW, NOISY, SLOW], 3, {}), Judged("stream", "not in base", "no such thing")])
    head, detect, stream = text.splitlines()
    assert " ".join(detect.split()) == "detect 10,000 11,600 1.160 (1.00) 1.160 0.950 (1.15) 0.950 slower"
    assert head.index("verdict") == detect.index("slower") == stream.index("not in base: no such thing")


def test_rounds_give_the_shortest_times() -> None:
    rounds: list[gate_rounds.Times] = [
        {"open": {"base": 3.0, "again": 2.0, "head": 4.0}, "stream": {"base": "none", "again": "none", "head": 1.0}},
        {"open": {"base": 2.5, "again": 2.1, "head": 5.0}, "stream": {"base": "none", "again": "none", "head": 2.0}},
    ]
    assert gate_rounds.shortest(rounds) == {
        "open": {"base": 2.5, "again": 2.0, "head": 4.0},
        "stream": {"base": "none", "again": "none", "head": 1.0},
    }


PACKAGE = {
    "pyproject.toml": '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
    '[project]\nname = "cardrec"\nversion = "0"\n[tool.setuptools]\npackages = ["cardrec"]\n',
    "setup.py": "from setuptools import setup\nsetup()\n",
    "cardrec/__init__.py": """
class CardrecError(Exception): pass
class Model:
    fingerprint = "first"
    load = classmethod(lambda cls: cls)
""",
    "cardrec/image.py": """
import numpy
class load:
    def __init__(self, what): self.pixels = numpy.zeros((720, 1280, 3), numpy.uint8)
""",
    "cardrec/samples.py": "import pathlib\ndef sample_photos(): return [pathlib.Path('desk.jpg')]\n",
    "cardrec/detect.py": """
import numpy
class OutlineDetector:
    def detect(self, frame, max_cards): return [self]
    corners_px = numpy.zeros((4, 2), numpy.float32)
""",
    "cardrec/rectify.py": "import time\ndef whole(frame, out): time.sleep(0.001)\n",
}
"""A cardrec of which only the resize takes time: 1 ms of sleep."""
SLOWER_RESIZE = "import time\ndef whole(frame, out): time.sleep(0.0014)\n"


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the builds are kept: it takes seconds to make one."""
    return tmp_path_factory.mktemp("builds")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.delenv("CARDREC_BASE", raising=False)
    made = Repository(tmp_path / "checkout")
    made.commit("The package", **PACKAGE)
    return made


def run(repository: Repository, builds: Path, *more: str) -> int:
    before = signal.getsignal(signal.SIGTERM)
    try:
        quick = ["--rounds", "1", "--keep", str(builds), *more]
        return gate.main([*quick, "--only", "resize", "rectify"], repository.folder)
    finally:
        signal.signal(signal.SIGTERM, before)


@NEEDS_GIT
def test_a_slower_change_fails_until_its_commit_says_so(
    repository: Repository, builds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = {"cardrec/rectify.py": SLOWER_RESIZE + "def rectify(frame, quads, out): pass\n"}
    repository.write(**changed, **{"cardrec/__init__.py": PACKAGE["cardrec/__init__.py"].replace("first", "second")})
    file = repository.folder.parent / "gate.json"
    assert run(repository, builds, "--json", str(file)) == SLOWER
    said = capsys.readouterr().out
    assert "FAILED: over 1.15 of base's time: resize\n" in said and "'Accept-Slower: resize - reason'" in said
    assert "the working tree differs" in said and "the model changed, from first to second" in said
    resize, rectify = json.loads(file.read_text())["stages"]
    assert resize["verdict"] == "slower" and len(resize["repeats"]) >= 3 and 1.2 < resize["repeats"][0]["ratio"] < 1.6
    assert rectify["verdict"] == "not in base" and "ImportError" in rectify["reason"]

    repository.commit("Slower\n\nAccept-Slower: resize - it is right now")
    assert run(repository, builds, "--repeats", "1") == FINE
    assert f"accepted: it is right now ({repository.git('rev-parse', '--short', 'HEAD')})" in capsys.readouterr().out


@NEEDS_GIT
def test_the_same_code_is_fine_and_need_not_be_measured(
    repository: Repository, builds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.commit("A note", **{"notes.md": "nothing that is built"})
    assert run(repository, builds, "--skip-equal") == FINE
    assert "byte for byte" in capsys.readouterr().out
    assert (
        run(repository, builds, "--accept", "resize", "--repeats", "1") == SLOWER
    )  # for want of a rectify, which base lacks as well
    said = capsys.readouterr().out
    assert "FAILED: rectify can't be measured in head" in said
    assert next(line for line in said.splitlines() if line.startswith("resize")).endswith("fine")


@NEEDS_GIT
def test_a_side_that_cannot_be_built(
    repository: Repository, builds: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of base it decides nothing, of head it is a failure."""
    repository.commit("Broken", **{"setup.py": "raise SystemExit('error: no compiler')\n"})
    repository.write(**{"setup.py": PACKAGE["setup.py"]})
    assert run(repository, builds) == INCONCLUSIVE
    assert "INCONCLUSIVE: base can't be built here: error: no compiler" in capsys.readouterr().out
    broken = gate_builds.BuildError("error: no compiler")
    monkeypatch.setattr(gate, "install_both", lambda trees, _: dict.fromkeys(trees, broken))
    refusal(lambda: print(run(repository, builds)), "head can't be built: error: no compiler", command=gate.COMMAND)


@NEEDS_GIT
def test_another_folder_is_not_taken_for_builds(repository: Repository, tmp_path: Path) -> None:
    repository.write(**{"cardrec/rectify.py": SLOWER_RESIZE})
    for side in ("base", "head"):
        (tmp_path / side).mkdir()
        (tmp_path / side / "mine.txt").write_text("mine")
    refusal(lambda: print(run(repository, tmp_path)), "no build of this gate", "--keep", command=gate.COMMAND)
    assert (tmp_path / "head" / "mine.txt").read_text() == "mine"


@NEEDS_GIT
def test_nothing_to_compare_with_is_no_alarm(
    repository: Repository, builds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(repository, builds) == FINE
    assert "nothing to compare with: HEAD has no commit before it here" in capsys.readouterr().out


@NEEDS_GIT
def test_a_base_that_is_not_there_is_a_wrong_command(
    repository: Repository, builds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(repository, builds, "--base", "no-such-branch") == gate.WRONG_COMMAND
    line = capsys.readouterr().err
    assert line.startswith(f"{gate.COMMAND}: --base no-such-branch: no such commit") and line.count("\n") == 1


@NEEDS_GIT
def test_without_time_nothing_is_said(repository: Repository, builds: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repository.commit("A note", **{"notes.md": "nothing that is built"})
    assert run(repository, builds, "--within", "0") == INCONCLUSIVE
    assert "too busy to tell of resize rectify" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [["--rounds", "0"], ["--only", "everything"], ["--accept", "nothing"]])
def test_wrong_words_are_a_wrong_command(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        gate.main(wrong)
    assert stopped.value.code == 2


def test_a_worker_that_ends_says_why(tmp_path: Path) -> None:
    side = gate_builds.Installed(Path(sys.executable), tmp_path, tmp_path)
    with (
        gate_rounds.Worker(side, tmp_path / "no-scene", None) as worker,
        pytest.raises(gate_rounds.WorkerError, match=r"FileNotFoundError: .*frame\.npy"),
    ):
        worker.about()


def test_a_worker_with_another_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "worker.py"
    script.write_text('print(\'{"package": "/elsewhere/cardrec"}\', flush=True)\ninput()\n')
    monkeypatch.setattr(gate_rounds, "WORKER", script)
    side = gate_builds.Installed(Path(sys.executable), tmp_path, tmp_path)
    with gate_rounds.Worker(side, tmp_path, None) as worker, pytest.raises(gate_rounds.WorkerError, match="/elsewhere"):
        worker.about()


def test_builds_that_fail_end_with_what_the_compiler_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def command(text: str, status: int = 1) -> list[str]:
        return [sys.executable, "-c", f"import sys; print({text!r}); sys.exit({status})"]

    said = "building\ncsrc/a.cpp:3:1: error: expected ';'\nerror: command g++ failed\nERROR: Failed building wheel"
    failed = gate_builds._run({"base": command(said), "head": command(said, 0)})
    assert {name: str(error) for name, error in failed.items()} == {"base": "csrc/a.cpp:3:1: error: expected ';'"}
    with pytest.raises(Failure, match="disk is full"):
        gate_builds._run({"head": command("fatal error: writing to a.o: No space left on device")})
    monkeypatch.setattr(gate_builds, "BUILD_S", 0.2)
    assert str(gate_builds._run({"base": ["sleep", "30"]})["base"]) == "not done in 0.2 s"


def test_catalogs_of_the_same_bytes_are_read_by_both(tmp_path: Path) -> None:
    base, head = (gate_builds.Installed(Path("python"), Path("cardrec"), tmp_path / side) for side in ("base", "head"))
    for side in (base, head):
        (side.catalogs / "a.cardrec").mkdir(parents=True)
        (side.catalogs / "a.cardrec" / "codes.npy").write_text("same")
    shared = {"base": base, "head": head._replace(catalogs=base.catalogs)}
    assert gate_builds.with_shared_catalogs(base, head) == shared
    (head.catalogs / "a.cardrec" / "codes.npy").write_text("diff")
    assert gate_builds.with_shared_catalogs(base, head) == {"base": base, "head": head}
    (head.catalogs / "a.cardrec" / "codes.npy").write_text("same")
    (head.catalogs / "a.cardrec" / "more.npy").touch()
    assert gate_builds.with_shared_catalogs(base, head) == {"base": base, "head": head}


@NEEDS_GIT
def test_ending_it_leaves_no_file_and_no_process(repository: Repository, tmp_path: Path) -> None:
    """SIGTERM, as CI sends it, in the middle of a build."""
    forever = "import time\nopen({!r}, 'w').close()\ntime.sleep(100)\n"
    repository.write(**{"setup.py": forever.format(str(tmp_path / "building"))})
    program = "import sys; from pathlib import Path; from benchmarks import gate; gate.main([], Path(sys.argv[1]))"
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    process = subprocess.Popen([sys.executable, "-c", program, str(repository.folder)], cwd=gate.ROOT, env=environment)
    while not (tmp_path / "building").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()
    assert process.wait(30) == 143
    assert list(temporary.glob("cardrec-gate-*")) == []
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not any(str(temporary).encode() in command for command in running)
