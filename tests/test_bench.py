"""`cardrec bench`: what it measures, what its reports hold, and what a comparison of two of them says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import Run, is_one_line_error, lines
from PIL import Image

from cardrec import bench, bench_report, machine
from cardrec.bench_report import changes, differences, read_report
from cardrec.errors import InputError
from cardrec.samples import Sample
from cardrec.types import Card, Match

STAGES = ("detect", "rectify", "encode", "search", "total", "host")
SHORT = ("--repeats", 3, "--threads", 1)


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """A report of this machine."""
    result = Run()("bench", "--stream", *SHORT, "--json")
    assert result.exit_code == 0, result.stderr
    (measured,) = lines(result)
    return measured


@pytest.fixture
def write(tmp_path: Path, report: dict[str, Any]) -> Callable[..., Path]:
    """Writes that report with some stages' times multiplied, and other values in place of its own."""

    def made(*, faster: float = 1.0, **values: object) -> Path:
        spent = {stage: {name: ms / faster for name, ms in shares.items()} for stage, shares in report["ms"].items()}
        path = tmp_path / "before.json"
        path.write_text(json.dumps(report | {"ms": spent} | values))
        return path

    return made


def test_a_report_says_what_was_measured_on_what(report: dict[str, Any]) -> None:
    assert tuple(report["ms"]) == STAGES
    for spent in report["ms"].values():
        assert 0 < spent["p50"] <= spent["p95"] <= spent["p99"]
    assert report["ms"]["host"]["p50"] < report["ms"]["total"]["p50"]
    assert report["machine"] == machine.describe() and report["machine"]["cores"] >= 1
    assert report["versions"]["numpy"] == np.__version__
    assert set(report["versions"]) == {"cardrec", "python", "numpy", "onnxruntime", "opencv"}
    assert report["threads"] == 1 and report["backend"] == "onnx"
    assert report["frame"]["size_wh"] == [1280, 720] and len(report["frame"]["sha256"]) == 64
    assert report["catalog"] == {"cards": 1000} and len(report["model"]["fingerprint"]) == 32
    assert report["stream"]["frames_per_second"] > 0


def test_the_bundled_photos_are_answered_in_the_same_run(report: dict[str, Any]) -> None:
    seen = report["accuracy"]
    assert seen["photos"] == 8
    assert seen["right"] == 8 - len(seen["wrong"]) >= 6


def test_another_catalog_has_no_accuracy(run: Run, tmp_path: Path, tiny_catalog: Path) -> None:
    Image.new("L", (30, 900), 200).save(tmp_path / "grey.png")
    result = run("bench", tmp_path / "grey.png", "--repeats", 1, "--catalog", tiny_catalog)
    assert result.exit_code == 0, result.stderr
    assert "not measured: the bundled photos show cards of the demo catalog" in result.stdout


def test_the_table_has_every_stage(run: Run) -> None:
    result = run("bench", "--stages", "--repeats", 1)
    assert result.exit_code == 0 and result.stderr == ""
    for stage in ("detect", "rectify", "encode", "search", "total", "all but detect and model"):
        assert f"\n {stage} " in result.stdout
    assert machine.cpu_name() in result.stdout and "bundled photos answered right: " in result.stdout


def test_a_simulated_npu(run: Run) -> None:
    result = run("bench", "--stream", "--repeats", 5, "--simulate-npu", 2, "--in-flight", 2, "--json")
    assert result.exit_code == 0
    (measured,) = lines(result)
    assert measured["backend"] == "simulated NPU, 2 ms a card"
    assert measured["ms"]["encode"]["p50"] >= 2
    assert 0 < measured["ms"]["host"]["p50"] < measured["ms"]["total"]["p50"]
    assert measured["stream"]["in_flight"] == 2
    assert 0 < measured["stream"]["frames_per_second"] <= 1010 / 2
    assert "simulated NPU alone: 500.0" in run("bench", "--stream", "--repeats", 1, "--simulate-npu", 2).stdout


def photo_of(*card_ids: str | None) -> Sample:
    return Sample(Path("photo.jpg"), card_ids)


def answer(status: Any, *card_ids: str) -> Card:
    group = tuple(Match(card_id, 0.9, 0, {}) for card_id in card_ids)
    return Card(np.zeros((4, 2), np.float32), 1.0, group, status, 0.9, group)


@pytest.mark.parametrize(
    ("shown", "answers", "right"),
    [
        (["a"], [answer("match", "a")], True),
        (["a"], [answer("match", "b")], False),
        (["a"], [answer("unknown")], False),
        (["a"], [], False),
        (["a"], [answer("ambiguous", "b", "a")], True),
        (["a"], [answer("ambiguous", "b", "c")], False),
        ([None], [answer("unknown")], True),
        ([None], [answer("match", "a")], False),
        ([], [], True),
        ([], [answer("match", "a")], False),
        (["a", None, "b"], [answer("match", "b"), answer("unknown"), answer("match", "a")], True),
        (["a", None, "b"], [answer("match", "b"), answer("match", "c"), answer("match", "a")], False),
    ],
)
def test_what_is_a_right_answer(shown: list[str | None], answers: list[Card], *, right: bool) -> None:
    assert bench.is_right(photo_of(*shown), answers) is right


def test_much_faster_than_then_is_no_failure(run: Run, write: Callable[..., Path]) -> None:
    result = run("bench", *SHORT, "--compare", write(faster=0.01))
    assert result.exit_code == 0, result.stderr
    assert "median ms then" in result.stdout
    assert "slower" not in result.stderr


def test_much_slower_than_then_fails(run: Run, write: Callable[..., Path]) -> None:
    path = write(faster=100.0)
    result = run("bench", *SHORT, "--compare", path)
    assert result.exit_code == 1
    assert "cardrec: warning: slower than 1.15 times as long as then: detect (" in result.stderr
    assert run("bench", *SHORT, "--compare", path, "--limit", 1e6).exit_code == 0


def test_a_comparison_as_json(run: Run, write: Callable[..., Path], report: dict[str, Any]) -> None:
    path = write(faster=100.0, stream={"in_flight": 3, "frames_per_second": 0.001})
    result = run("bench", "--stream", *SHORT, "--compare", path, "--json")
    assert result.exit_code == 1
    (measured,) = lines(result)
    assert set(measured["compared"]["ratios"]) == {*STAGES, "stream"}
    assert measured["compared"]["slower"] == list(STAGES)
    now, then = measured["ms"]["total"]["p50"], report["ms"]["total"]["p50"] / 100
    assert measured["compared"]["ratios"]["total"] == pytest.approx(now / then, rel=1e-3)


def test_other_conditions_are_a_warning(run: Run, write: Callable[..., Path]) -> None:
    path = write(faster=0.01, machine={"cpu": "Cray-1\x1b[31m", "cores": 1}, threads=7)
    result = run("bench", *SHORT, "--compare", path)
    assert result.exit_code == 0
    warning = result.stderr.strip()
    assert warning.startswith("cardrec: warning: not the same in both: processor (Cray-1") and "\n" not in warning
    assert "threads (7 then, 1 now)" in warning and "architecture (not said then" in warning and "\x1b" not in warning


def test_differences_are_named(report: dict[str, Any]) -> None:
    assert differences(report, report) == []
    other = report | {"model": {"fingerprint": "f" * 32}, "versions": None, "accuracy": {"right": 0}}
    names = [text.partition(" (")[0] for text in differences(other, report)]
    versions = ["cardrec", "python", "numpy", "onnxruntime", "opencv"]
    assert names == [*versions, "model", "bundled photos answered right"]
    assert "model (ffffffff... then" in differences(other, report)[5]


def test_changes_leave_out_what_took_no_time(report: dict[str, Any]) -> None:
    nothing = {"p50": 0.0, "p95": 0.0}
    then = {"ms": {"detect": {"p50": 2.0, "p95": 4.0}, "encode": nothing, "gone": {"p50": 1.0, "p95": 1.0}}}
    now = {"ms": {"detect": {"p50": 3.0, "p95": 4.0}, "encode": {"p50": 1.0, "p95": 1.0}}}
    (change,) = changes(then, now)
    assert (change.stage, change.ratio, change.p95_ms) == ("detect", 1.5, (4.0, 4.0))
    with pytest.raises(InputError, match="no stage in common"):
        changes({"ms": {"encode": nothing}}, now)
    assert [each.stage for each in changes(report, report)] == [*STAGES, "stream"]


def of_this(**values: object) -> str:
    return json.dumps({"kind": "cardrec bench", "format": 1} | values)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["holds no report", "cardrec bench --json > before.json"]),
        ("{", ["holds no report"]),
        ("\xff\xfe", ["holds no report"]),
        ("[" * 100_000, ["holds no report"]),
        ("[1]", ["holds no report"]),
        ('{"ms": {}}', ["holds no report"]),
        (of_this(format="1"), ["holds no report"]),
        (of_this(kind="pytest"), ["holds no report"]),
        (of_this(format=99), ["has format 99", "reads up to 1", "update cardrec"]),
        (of_this(), ["is damaged"]),
        (of_this(ms={"detect": 3}), ["is damaged"]),
        (of_this(ms={"detect": {"p50": 1}}), ["is damaged"]),
        (of_this(ms={"detect": {"p50": 1, "p95": -1}}), ["is damaged"]),
        (of_this(ms={"detect": {"p50": True, "p95": 1}}), ["is damaged"]),
        (of_this(ms={"detect": {"p50": float("nan"), "p95": 1}}), ["is damaged"]),
        (of_this(ms={}, stream=3), ["is damaged"]),
        (of_this(ms={"other": {"p50": 1, "p95": 1}}), ["no stage in common"]),
        (of_this(ms={}) + " " * bench_report.MOST_BYTES, ["holds no report"]),
    ],
)
def test_what_is_no_report_is_refused(run: Run, tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "before.json"
    path.write_bytes(text.encode("latin-1"))
    is_one_line_error(run("bench", *SHORT, "--compare", path), 2, *words)


def test_files_that_can_not_be_read_are_refused(run: Run, tmp_path: Path) -> None:
    is_one_line_error(run("bench", "--compare", tmp_path / "none.json"), 2, "none.json can't be read (No such file")
    is_one_line_error(run("bench", "--compare", tmp_path), 2, "can't be read (Is a directory)")


def test_a_limit_needs_something_to_compare_with(run: Run) -> None:
    is_one_line_error(run("bench", "--limit", 2), 2, "--limit needs --compare FILE")


def test_a_report_of_a_later_cardrec_is_read(write: Callable[..., Path]) -> None:
    assert read_report(write(news={"unheard": 1}))["news"] == {"unheard": 1}


def test_a_board_is_named_where_the_processor_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "PROC", tmp_path)
    board = (
        "processor\t: 0\nCPU part\t: 0xd0b\n\nSerial\t\t: 10000000deadbeef\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n"
    )
    (tmp_path / "cpuinfo").write_text(board)
    assert machine.cpu_name() == "Raspberry Pi 5 Model B Rev 1.0"
    (tmp_path / "cpuinfo").write_text(f"model name\t: Xeon 9\n{board}")
    assert machine.cpu_name() == "Xeon 9"
    (tmp_path / "cpuinfo").unlink()
    assert machine.cpu_name()
