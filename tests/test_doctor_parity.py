"""The device beside ONNX Runtime on the bundled photos: the same, nearly the same, another network, or none at all."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hailo_machine import Machine, found
from numpy.typing import NDArray

import cardrec.embed
from cardrec import doctor_parity
from cardrec.doctor import Finding, run_check
from cardrec.encode import SlottedEncoder
from cardrec.errors import DeviceBusy, DeviceError, DeviceUnavailable, ModelError
from cardrec.model import Model
from cardrec.search import QuantisedVectors

real_open_encoder = cardrec.embed.open_encoder

Alter = Any
"""Takes (n, dimension) unit vectors, gives what the device would."""


class Device(SlottedEncoder):
    """An encoder that gives ONNX Runtime's vectors, altered; a slot holds three cards, and there is one."""

    name, capacity = "hailo", 3

    def __init__(self, alter: Alter) -> None:
        self.model = Model.load()
        self._onnx = real_open_encoder(backend="onnx")
        self._alter = alter
        self.pixels = np.zeros((self.capacity, 224, 224, 3), np.uint8)
        super().__init__([self])

    def submit(self, count: int) -> None:
        with self._onnx.slot() as slot:
            slot.pixels[:count] = self.pixels[:count]
            slot.submit(count)
            self._vectors = slot.wait()

    def wait(self) -> Any:
        return self._alter(self._vectors)

    def settle(self) -> None:
        """Nothing is on its way."""

    def close(self) -> None:
        self._onnx.close()


@pytest.fixture(scope="module")
def crops() -> Any:
    return doctor_parity._golden_crops()


@pytest.fixture
def parity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crops: Any) -> Any:
    """Makes the device's encoder alter the vectors, or fail to open."""
    monkeypatch.setenv("HAILORT_LOGGER_PATH", "NONE")
    Machine(tmp_path, monkeypatch).complete()
    monkeypatch.setattr(doctor_parity, "_golden_crops", lambda: crops)

    def open_with(alter: Alter | Exception) -> None:
        def open_encoder(model: object = None, *, backend: str = "auto", threads: int = 0) -> object:
            if backend == "onnx":
                return real_open_encoder(backend="onnx")
            if isinstance(alter, Exception):
                raise alter
            return Device(alter)

        monkeypatch.setattr(cardrec.embed, "open_encoder", open_encoder)

    return open_with


def turned(vectors: NDArray[np.float32], cosine: float) -> NDArray[np.float32]:
    """The vectors, each turned away by an angle with that cosine; not towards other cards."""
    generator = np.random.default_rng(5)
    away = generator.standard_normal(vectors.shape)
    away -= (away * vectors).sum(axis=1, keepdims=True) * vectors
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    return np.asarray(cosine * vectors + np.sqrt(1 - cosine**2) * away, np.float32)


def in_8_bits(vectors: NDArray[np.float32]) -> QuantisedVectors:
    scale = float(np.abs(vectors).max()) / 127
    return QuantisedVectors((np.rint(vectors / scale) + 128).clip(0, 255).astype(np.uint8), scale, 128)


def agreement(finding: Finding) -> tuple[int, int]:
    """How many best matches are the same, of how many."""
    numbers = re.search(r"(\d+) of (\d+) best matches", finding.detail)
    assert numbers
    return int(numbers[1]), int(numbers[2])


def agrees(finding: Finding) -> None:
    same, clear = agreement(finding)
    assert same == clear >= 8  # the photos show a dozen cards of the demo catalog, two of them much alike


def test_a_device_that_computes_the_same(parity: Any) -> None:
    parity(lambda vectors: vectors)
    agrees(found("hailo-parity", "ok", "1.0000 in the mean of"))


def test_a_device_that_gives_integers(parity: Any) -> None:
    parity(in_8_bits)
    agrees(found("hailo-parity", "ok", "0.99"))


@pytest.mark.parametrize(("cosine", "status"), [(0.99, "ok"), (0.96, "warn"), (0.92, "warn"), (0.85, "fail")])
def test_how_far_apart_device_and_cpu_are(parity: Any, cosine: float, status: str) -> None:
    parity(lambda vectors: turned(vectors, cosine))
    agrees(found("hailo-parity", status, f"{cosine:.4f} at least"))


def test_a_device_that_mistakes_cards(parity: Any) -> None:
    first = iter([True])
    parity(lambda vectors: turned(vectors, -1.0) if next(first, False) else vectors)
    same, clear = agreement(found("hailo-parity", "fail", "--backend onnx"))
    assert 0 < same < clear


def test_one_mistaken_card_is_a_failure_however_near_the_vectors() -> None:
    cosines = np.array([0.99, 0.98], np.float32)
    assert doctor_parity._judged("hailo-parity", cosines, 9, 10).status == "fail"
    assert doctor_parity._judged("hailo-parity", cosines, 10, 10).status == "ok"


def test_a_device_that_gives_no_numbers(parity: Any) -> None:
    parity(lambda vectors: np.full_like(vectors, np.nan))
    assert run_check("hailo-parity").status == "fail"


@pytest.mark.parametrize(
    ("error", "status", "word"),
    [
        (ModelError("no HEF for hailo8l"), "skip", "see hailo-hef"),
        (DeviceBusy("the Hailo is held by another process"), "warn", "fuser"),
        (DeviceUnavailable("no device"), "fail", "see the other findings"),
        (DeviceError("HAILO_TIMEOUT"), "fail", "HAILO_TIMEOUT"),
    ],
)
def test_a_device_that_can_not_be_opened(parity: Any, error: Exception, status: str, word: str) -> None:
    parity(error)
    found("hailo-parity", status, word)
