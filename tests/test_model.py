"""The model bundle: a sound one opens, each kind of damage is refused with the file's name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cardrec.errors import ModelError
from cardrec.model import BUNDLED, PREPROCESSING, Model, preprocessing_hash

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    shutil.copytree(BUNDLED, tmp_path / "model")
    return tmp_path / "model"


def change(bundle: Path, how: Change) -> None:
    details = json.loads((bundle / "model.json").read_text())
    how(details)
    (bundle / "model.json").write_text(json.dumps(details))


def test_bundled_model_is_sound() -> None:
    model = Model.load()
    assert model.dimension == 768
    assert model.preprocessing_hash == preprocessing_hash()
    assert model.details["preprocessing"] == dict(PREPROCESSING)
    assert 0 < model.calibration["min_score"] < 1


def test_missing_folder_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"absent.model\.json does not exist"):
        Model.load(tmp_path / "absent")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"model"', "\x00"])
def test_not_an_object(bundle: Path, text: str) -> None:
    (bundle / "model.json").write_text(text)
    with pytest.raises(ModelError, match=r"model\.json"):
        Model.load(bundle)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (lambda d: d.pop("fingerprint"), "fingerprint"),
        (lambda d: d.update(format=2), "format 2"),
        (lambda d: d.update(format=True), "format"),
        (lambda d: d.update(dimension="768"), "dimension"),
        (lambda d: d.update(dimension=0), "dimension 0"),
        (lambda d: d.update(dimension=10**30), "outside"),
        (lambda d: d.update(file="../model.onnx"), "not a file of the bundle"),
        (lambda d: d.update(file="other.onnx"), "not a file of the bundle"),
        (lambda d: d.update(sha256="0" * 64), "SHA-256"),
        (lambda d: d.update(fingerprint="0" * 32), "fingerprint"),
        (lambda d: d.update(preprocessing_hash="0" * 64), "another preprocessing"),
        (lambda d: d["preprocessing"].update(color="bgr"), "disagree"),
        (lambda d: d.update(calibration={"min_score": float("nan")}), "finite"),
        (lambda d: d.update(calibration={"min_score": "high"}), "finite"),
    ],
)
def test_damaged_description(bundle: Path, how: Change, message: str) -> None:
    change(bundle, how)
    with pytest.raises(ModelError, match=message):
        Model.load(bundle)


def test_damaged_network(bundle: Path) -> None:
    network = bundle / "model.onnx"
    content = bytearray(network.read_bytes())
    content[len(content) // 2] ^= 1
    network.write_bytes(content)
    with pytest.raises(ModelError, match="damaged"):
        Model.load(bundle)


def test_network_behind_a_link_is_refused(bundle: Path, tmp_path: Path) -> None:
    (bundle / "model.onnx").rename(tmp_path / "elsewhere.onnx")
    (bundle / "model.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(ModelError, match="not a file of the bundle"):
        Model.load(bundle)
