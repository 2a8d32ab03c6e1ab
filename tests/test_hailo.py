"""The Hailo backend on a simulated device: its answers, its memory, and the networks that it takes."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_hailo import (
    DIMENSION,
    Platform,
    answer,
    encode,
    in_flight,
    integers,
    opened,
    right,
    tiny_compiled,
    tiny_model,
    write,
)
from numpy.typing import NDArray

from cardrec.backends.hailo import SLOTS, HailoEncoder
from cardrec.backends.simulated import write_bundle
from cardrec.encode import encode_in_order
from cardrec.errors import DeviceError, InputError, ModelError
from cardrec.model import Model
from cardrec.search import unit_vectors


@pytest.fixture
def platform() -> Platform:
    return Platform()


def test_each_card_gets_its_own_answer(tiny: Model, platform: Platform) -> None:
    with opened(tiny, platform) as encoder:
        assert (encoder.name, encoder.capacity, encoder.architecture) == ("hailo", 1, "hailo8")
        for first in range(0, 60, 3):
            numbers = range(first, first + 3)
            assert right(in_flight(encoder, numbers), numbers)


def test_answers_outlive_their_slot(tiny: Model, platform: Platform) -> None:
    with opened(tiny, platform, slots=1) as encoder:
        kept = [encode(encoder, number) for number in range(5)]
    assert right(kept, range(5))


@pytest.mark.parametrize("slots", [1, 2, 3, 5])
def test_cards_of_a_frame_overlap(tiny: Model, slots: int) -> None:
    platform = Platform(latency_ms=30)
    numbers, answers = list(range(8)), []
    with opened(tiny, platform, slots=slots, timeout_s=2) as encoder:
        encode_in_order(
            encoder,
            numbers,
            lambda pixels, group: write(pixels, group[0]),
            lambda _, said: answers.append(integers(said)),
        )
    assert right(answers, numbers)
    assert platform.most_in_flight == min(slots, 4)  # the queue's depth


def test_memory_and_bindings_are_made_once(tiny: Model, platform: Platform) -> None:
    with opened(tiny, platform) as encoder:
        in_flight(encoder, range(SLOTS))  # outputs are made when a slot is first used
        memory = [(slot.pixels.ctypes.data, slot._output.ctypes.data) for slot in encoder._all]
        assert len(memory) == SLOTS and not any(address % mmap.PAGESIZE for pair in memory for address in pair)
        for first in range(0, 30, 3):
            in_flight(encoder, range(first, first + 3))
        assert memory == [(slot.pixels.ctypes.data, slot._output.ctypes.data) for slot in encoder._all]
    assert (platform.bindings_made, platform.configured, platform.opens, platform.jobs) == (SLOTS, 1, 1, 34)


def test_pixels_are_what_the_device_reads(tiny: Model, platform: Platform) -> None:
    with opened(tiny, platform) as encoder, encoder.slot() as slot:
        assert slot.pixels.shape == (1, 224, 224, 3) and slot.pixels.dtype == np.uint8
        assert slot.pixels.flags.c_contiguous and slot.pixels.flags.writeable


@pytest.mark.parametrize("count", [0, 2, -1, 16])
def test_a_slot_holds_one_card(tiny: Model, platform: Platform, count: int) -> None:
    with opened(tiny, platform) as encoder, encoder.slot() as slot, pytest.raises(ValueError, match=f"{count} cards"):
        slot.submit(count)


def test_nothing_submitted_gives_no_answer(tiny: Model, platform: Platform) -> None:
    with opened(tiny, platform, slots=1) as encoder:
        encode(encoder, 1)
        with encoder.slot() as slot:  # whose last answer was another's
            with pytest.raises(ValueError, match="nothing was submitted"):
                slot.wait()
            slot.submit(1)
            slot.wait()
            with pytest.raises(ValueError, match="nothing was submitted"):
                slot.wait()


def test_submitting_twice_is_refused(tiny: Model) -> None:
    platform = Platform(latency_ms=100)
    with opened(tiny, platform) as encoder, encoder.slot() as slot:
        write(slot.pixels, 1)
        slot.submit(1)
        with pytest.raises(ValueError, match="submitted twice"):
            slot.submit(1)
        assert right([integers(slot.wait())], [1])


@pytest.mark.parametrize(
    "options",
    [
        {"slots": 0},
        {"slots": -1},
        {"timeout_s": 0},
        {"timeout_s": -1},
        {"timeout_s": np.nan},
        {"timeout_s": np.inf},
        {"multi_process_service": True},
    ],
)
def test_impossible_settings(tiny: Model, platform: Platform, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="="):
        HailoEncoder(tiny, platform=platform, **options)
    assert platform.opens == 0


def compile_tiny(folder: Path, **changes: Any) -> Model:
    model = tiny_model(folder / "plain")
    return write_bundle(model, folder / "compiled", tiny_compiled(model, **changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input_shape": (3, 224, 224)}, r"takes \[3, 224, 224\]"),
        ({"input_shape": (225, 224, 3)}, r"takes \[225, 224, 3\]"),
        ({"input_shape": (224, 224, 1)}, r"expected \[224, 224, 3\] NHWC UINT8"),
        ({"input_order": "NCHW"}, "NCHW UINT8; expected"),
        ({"input_type": "UINT16"}, "NHWC UINT16; expected"),
        ({"input_type": "FLOAT32"}, "NHWC FLOAT32; expected"),
        ({"outputs": 2}, "1 inputs and 2 outputs"),
        ({"scales": (), "zero_points": ()}, "can't be used"),
        ({"scales": (1.0, 2.0), "zero_points": (0.0, 0.0)}, "can't be used"),
        ({"scales": (0.0,)}, "can't be used"),
        ({"scales": (-1.0,)}, "can't be used"),
        ({"scales": (float("nan"),)}, "can't be used"),
        ({"scales": (float("inf"),)}, "can't be used"),
        ({"zero_points": (0.5,)}, "can't be used"),
        ({"zero_points": (float("inf"),)}, "can't be used"),
    ],
)
def test_a_network_that_takes_or_gives_something_else(
    tmp_path: Path, platform: Platform, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ModelError, match=words), opened(compile_tiny(tmp_path, **changes), platform):
        pass
    platform.in_order()
    assert platform.configured == 0


def test_a_network_of_another_dimension(tmp_path: Path, platform: Platform) -> None:
    model = tiny_model(tmp_path / "plain")
    hef = tiny_compiled(model)
    wrong = write_bundle(model, tmp_path / "wrong", type(hef)(hef.onnx, "hailo8", 47, (1.0,), (128.0,)))
    with pytest.raises(ModelError, match=f"expected {DIMENSION}, as model.json says"), opened(wrong, platform):
        pass
    platform.in_order()


def vector_of(bundle: Model, platform: Platform, number: int) -> Any:
    with opened(bundle, platform) as encoder, encoder.slot() as slot:
        write(slot.pixels, number)
        slot.submit(1)
        return slot.wait()


def floats(number: int) -> NDArray[np.float32]:
    return unit_vectors(answer(number).astype(np.float64) - 128)


def test_16_bit_outputs(tmp_path: Path, platform: Platform) -> None:
    bundle = compile_tiny(tmp_path, output_type="UINT16", scales=(1 / 200,), zero_points=(32768.0,))
    vector = vector_of(bundle, platform, 4)
    assert vector.dtype == np.float32 and vector.shape == (1, DIMENSION)
    assert np.abs(vector - floats(4)).max() < 1e-6


def test_a_scale_for_each_number(tmp_path: Path, platform: Platform) -> None:
    scales = np.linspace(0.5, 2.0, DIMENSION)
    zero_points = np.arange(100.0, 100.0 + DIMENSION)
    bundle = compile_tiny(tmp_path, scales=tuple(scales), zero_points=tuple(zero_points))
    levels = np.clip(np.round((answer(4) - 128.0) / scales) + zero_points, 0, 255)
    assert np.abs(vector_of(bundle, platform, 4) - unit_vectors((levels - zero_points) * scales)).max() < 1e-6


def test_equal_scales_for_each_number_are_one(tmp_path: Path, platform: Platform) -> None:
    bundle = compile_tiny(tmp_path, scales=(1.0,) * DIMENSION, zero_points=(128.0,) * DIMENSION)
    assert np.array_equal(integers(vector_of(bundle, platform, 4)), answer(4))


@pytest.mark.parametrize("zero_point", [-20.0, 300.0])
def test_a_zero_point_that_no_byte_reaches(tmp_path: Path, platform: Platform, zero_point: float) -> None:
    bundle = compile_tiny(tmp_path, scales=(2.0,), zero_points=(zero_point,))
    levels = np.clip(np.round((answer(4) - 128.0) / 2) + zero_point, 0, 255)
    assert np.abs(vector_of(bundle, platform, 4) - unit_vectors(levels - zero_point)).max() < 1e-6


def test_float_outputs_are_asked_for_as_bytes(tmp_path: Path, platform: Platform) -> None:
    bundle = compile_tiny(tmp_path, output_type="FLOAT32")
    assert np.array_equal(integers(vector_of(bundle, platform, 4)), answer(4))


def test_an_answer_of_zeros_is_an_error(tiny: Model, platform: Platform) -> None:
    with opened(tiny, platform, slots=1) as encoder:
        with encoder.slot() as slot:
            slot.pixels[...] = 128
            slot.submit(1)
            with pytest.raises(DeviceError, match=r"vector of zeros.*cardrec doctor"):
                slot.wait()
        assert right([encode(encoder, 1)], [1])
    assert platform.configured == 1
