"""The doctor finds nothing wrong here, and whatever is broken becomes a finding with a remedy."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command import python

from cardrec import doctor, recognizer, samples
from cardrec import model as model_module
from cardrec.doctor import CHECKS, Finding, examine, render, run_check


def test_everything_is_in_order_here() -> None:
    findings = list(examine())
    assert [finding.name for finding in findings] == list(CHECKS)
    assert [finding for finding in findings if finding.status == "fail"] == []
    assert all(finding.remedy == "" for finding in findings if finding.status == "ok")


@pytest.mark.parametrize("name", ["model", "catalog"])
def test_the_fingerprint_is_named(name: str) -> None:
    assert model_module.Model.load().fingerprint in run_check(name).detail


def test_a_damaged_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copytree(model_module.BUNDLED, tmp_path / "model")
    network = tmp_path / "model" / "model.onnx"
    network.write_bytes(network.read_bytes()[:-1])
    monkeypatch.setattr(model_module, "BUNDLED", tmp_path / "model")
    for name in ("model", "catalog", "identify"):
        finding = run_check(name)
        assert finding.status == "fail"
        assert "model.onnx is damaged" in finding.detail
        assert finding.remedy


def test_a_missing_catalog(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(recognizer, "DEMO_CATALOG", tmp_path / "absent.cardrec")
    finding = run_check("catalog")
    assert finding.status == "fail"
    assert "absent.cardrec" in finding.detail


@pytest.mark.parametrize("text", [None, "", "{}", '[{"file": 1}]', "[]"])
def test_missing_or_damaged_samples(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None) -> None:
    monkeypatch.setattr(samples, "FOLDER", tmp_path)
    if text is not None:
        (tmp_path / "samples.json").write_text(text)
    assert run_check("identify").status == "fail"


def test_a_photo_of_another_card(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = samples.read_samples()
    known = next(each for each in entry if len(each.card_ids) == 1 and each.card_ids[0])
    monkeypatch.setattr(samples, "read_samples", lambda: [samples.Sample(known.path, ("another-card",))])
    finding = run_check("identify")
    assert finding.status == "fail"
    assert "another-card" in finding.detail


@pytest.mark.parametrize("name", ["numpy", "opencv", "pillow", "onnxruntime"])
def test_a_library_that_is_missing_or_too_old(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    module = {"opencv": "cv2", "pillow": "PIL"}.get(name, name)
    with monkeypatch.context() as patch:
        patch.setattr(f"{module}.__version__", "0.9.1.dev0")
        old = run_check(name)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, module, None)
        missing = run_check(name)
    assert (old.status, missing.status) == ("fail", "fail")
    assert "0.9.1" in old.detail
    assert "pip install" in old.remedy
    assert "pip install" in missing.remedy


def test_native_modules_that_are_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("cardrec._image")
    monkeypatch.setitem(sys.modules, "cardrec._image", None)
    finding = run_check("native")
    assert finding.status == "fail"
    assert "compiler" in finding.remedy


def test_a_python_that_was_not_tested_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "TESTED", ((3, 99),))
    assert run_check("python").status == "warn"


def test_a_library_that_exits_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave() -> Finding:
        raise SystemExit("bad CPU")

    monkeypatch.setitem(doctor.CHECKS, "simd", (leave, "another machine"))
    assert run_check("simd") == Finding("simd", "fail", "SystemExit: bad CPU", "another machine")


def run_doctor(*folders: Path, arguments: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """The doctor in a process of its own, with folders that hide the real libraries."""
    path = os.pathsep.join(
        [*map(str, folders), str(Path(doctor.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    )
    command = [sys.executable, "-m", *(arguments or ("cardrec.doctor",))]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, timeout=120, check=False
    )


def test_a_library_that_crashes_is_a_finding_and_the_rest_goes_on(tmp_path: Path) -> None:
    (tmp_path / "onnxruntime.py").write_text("import os\nprint('hello')\nos.abort()\n")
    done = run_doctor(tmp_path, arguments=("cardrec.cli", "doctor", "--json"))
    found = {finding["name"]: finding for finding in map(json.loads, done.stdout.splitlines())}
    assert list(found) == list(CHECKS)
    assert done.returncode == 3
    for name in ("onnxruntime", "model", "identify"):
        assert found[name]["status"] == "fail"
        assert "SIGABRT" in found[name]["detail"]
    assert found["native"]["status"] == "ok"
    assert found["catalog"]["status"] == "ok"


def test_a_library_that_hangs_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cv2.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(doctor, "TIMEOUT_S", 5.0)
    findings = list(examine(["python", "opencv"]))
    assert [finding.name for finding in findings] == ["python", "opencv"]
    assert "did not end" in findings[1].detail


def test_without_any_library(tmp_path: Path) -> None:
    for name in ("numpy", "cv2", "PIL", "onnxruntime", "click", "rich"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not here')\n")
    done = run_doctor(tmp_path)
    assert done.returncode == 3
    assert "Traceback" not in done.stdout + done.stderr
    assert "ok    python" in done.stdout
    assert len(re.findall(r"^fail +(?!hailo)", done.stdout, re.MULTILINE)) == 10
    assert len(re.findall(r"^\w+ +hailo", done.stdout, re.MULTILINE)) == 9  # what they say depends on the machine


def test_without_child_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "run", refuse)
    assert [finding.name for finding in examine(["cardrec", "python"])] == ["child", "cardrec", "python"]


def test_findings_as_text() -> None:
    assert render(Finding("python", "ok", "3.12")) == "ok    python         3.12"
    assert render(Finding("model", "fail", "gone", "get it")).splitlines()[1].strip() == "-> get it"
    assert render(Finding("hailo-firmware", "skip", "none")) == "skip  hailo-firmware none"


def test_an_instruction_set_that_is_not_there_is_named() -> None:
    done = python("-m", "cardrec.doctor", simd="mmx")
    assert done.returncode == 3
    assert "'mmx'" in done.stdout
    assert "unset CARDREC_SIMD" in done.stdout
    assert "ok    native" in done.stdout
