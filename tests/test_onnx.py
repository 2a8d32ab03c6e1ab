"""The ONNX Runtime backend: slots, batches, and vectors that stay what they were."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cardrec import encode as encoding
from cardrec.backends.onnx import CAPACITY, SLOTS, OnnxEncoder
from cardrec.embed import open_encoder
from cardrec.encode import unit
from cardrec.errors import DeviceTimeout, ModelError
from cardrec.model import BUNDLED, Model, fingerprint_of


@pytest.fixture(scope="module")
def encoder() -> Iterator[OnnxEncoder]:
    opened = OnnxEncoder(Model.load(), threads=1)
    yield opened
    opened.close()


def crops(count: int, seed: int = 0) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 7, 7, 3), dtype=np.uint8)
    return coarse.repeat(32, axis=1).repeat(32, axis=2)


def encode(encoder: OnnxEncoder, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    with encoder.slot() as slot:
        slot.pixels[: len(pixels)] = pixels
        slot.submit(len(pixels))
        return unit(slot.wait())


@pytest.mark.parametrize("count", [1, 2, 3, CAPACITY])
def test_batches_agree_with_single_cards(encoder: OnnxEncoder, count: int) -> None:
    pixels = crops(count)
    together = encode(encoder, pixels)
    alone = np.concatenate([encode(encoder, one[None]) for one in pixels])
    assert together.shape == (count, encoder.model.dimension) and together.dtype == np.float32
    assert np.abs(together - alone).max() < 1e-4


def test_vectors_outlive_the_next_run(encoder: OnnxEncoder) -> None:
    first = encode(encoder, crops(4, seed=1))
    kept = first.copy()
    for seed in range(2, 2 + 2 * SLOTS):
        encode(encoder, crops(4, seed=seed))
    assert np.array_equal(first, kept)


def test_input_is_page_aligned_and_stays_in_place(encoder: OnnxEncoder) -> None:
    with encoder.slot() as slot:
        assert slot.pixels.shape == (CAPACITY, 224, 224, 3) and slot.pixels.flags.c_contiguous
        assert slot.pixels.ctypes.data % 4096 == 0
        before = slot.pixels.ctypes.data
        slot.submit(1)
        slot.wait()
        assert slot.pixels.ctypes.data == before


@pytest.mark.parametrize("count", [0, -1, CAPACITY + 1])
def test_impossible_counts_are_refused(encoder: OnnxEncoder, count: int) -> None:
    with encoder.slot() as slot, pytest.raises(ValueError, match=str(count)):
        slot.submit(count)


def test_waiting_for_a_slot_has_a_bound(encoder: OnnxEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "SLOT_TIMEOUT_S", 0.05)
    held = [encoder.slot() for _ in range(SLOTS)]
    for slot in held:
        slot.__enter__()
    with pytest.raises(DeviceTimeout, match="busy"), encoder.slot():
        pass
    for slot in held:
        slot.__exit__(None, None, None)
    assert encode(encoder, crops(1)).shape == (1, encoder.model.dimension)


def broken(path: Path, dimension: int = 768) -> Model:
    return Model("broken", path, dimension, fingerprint_of("", ""), "", {}, {})


def test_a_file_that_is_no_network_is_a_model_error(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a network")
    with pytest.raises(ModelError, match=r"model\.onnx can't be loaded"):
        OnnxEncoder(broken(tmp_path / "model.onnx"))


def test_a_network_of_another_shape_is_a_model_error() -> None:
    with pytest.raises(ModelError, match="expected one uint8 input"):
        OnnxEncoder(broken(BUNDLED / "model.onnx", dimension=512))


def test_auto_is_onnx() -> None:
    assert open_encoder(backend="auto").name == "onnx"
