"""Who chooses the Hailo backend: `auto` where it works, saying once where it does not; `hailo` never falls back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_hailo import Platform, install, tiny_model

import cardrec.embed
from cardrec.embed import open_encoder
from cardrec.errors import DeviceBusy, DeviceUnavailable, ModelError
from cardrec.model import Model


@pytest.fixture
def platform() -> Platform:
    return Platform()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    cardrec.embed._say_once.cache_clear()
    caplog.set_level(logging.INFO, logger="cardrec")
    return lambda: [record.getMessage() for record in caplog.records]


def chosen(model: Model, backend: str) -> str:
    encoder = open_encoder(model, backend=backend, threads=1)
    encoder.close()
    return encoder.name


def test_auto_takes_the_device(
    tiny: Model, platform: Platform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log: Callable[[], list[str]]
) -> None:
    install(monkeypatch, tmp_path / "dev", platform)
    assert [chosen(tiny, backend) for backend in ("auto", "hailo", "onnx")] == ["hailo", "hailo", "onnx"]
    assert log() == []
    platform.in_order()


def test_auto_falls_back_and_says_it_once(
    tiny: Model, platform: Platform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log: Callable[[], list[str]]
) -> None:
    install(monkeypatch, tmp_path / "dev", platform)
    platform.taken = True
    assert [chosen(tiny, "auto") for _ in range(3)] == ["onnx"] * 3
    (line,) = log()
    assert "runs on the CPU" in line and "another process holds" in line
    with pytest.raises(DeviceBusy, match="another process holds"):
        chosen(tiny, "hailo")


def test_auto_without_a_network_for_the_chip(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log: Callable[[], list[str]]
) -> None:
    install(monkeypatch, tmp_path / "dev", platform)
    model = tiny_model(tmp_path / "plain")
    assert chosen(model, "auto") == "onnx" and len(log()) == 1
    with pytest.raises(ModelError, match="none for any chip"):
        chosen(model, "hailo")


def test_no_device_and_no_library(
    tiny: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log: Callable[[], list[str]]
) -> None:
    install(monkeypatch, tmp_path / "dev", None)
    assert [chosen(tiny, "auto") for _ in range(2)] == ["onnx"] * 2
    assert log() == ["there is no Hailo device: the model runs on the CPU"]
    with pytest.raises(DeviceUnavailable, match=r"apt install dkms hailo-all.*--system-site-packages"):
        chosen(tiny, "hailo")


def test_a_library_without_a_device(
    tiny: Model, platform: Platform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, tmp_path / "dev", platform)
    platform.plugged = False
    with pytest.raises(DeviceUnavailable, match="no Hailo device here"):
        chosen(tiny, "hailo")
    assert chosen(tiny, "auto") == "onnx"
