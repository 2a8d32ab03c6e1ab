"""The Hailo backend on a real device: `CARDREC_HAILO_MODEL=my-model pytest tests/hardware -m hardware -s`.

The bundle must have a network for the chip that is there. Where anything is missing, all is skipped with the reason.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from quantised_network import rendered_cards

from cardrec import hailo_facts
from cardrec.backends.hailo import HailoEncoder
from cardrec.backends.hailort import architecture_of, load
from cardrec.backends.hef import find_hef
from cardrec.backends.onnx import OnnxEncoder
from cardrec.encode import Encoder, encode_in_order, unit
from cardrec.errors import CardrecError
from cardrec.model import Model

pytestmark = pytest.mark.hardware

VARIABLE = "CARDREC_HAILO_MODEL"
FRAMES = 1000
OPENINGS = 20
LATENCY_MS = 20.0
"""Median of one card, sent and waited for; the original system took 15.2 ms, and estimates are 2 to 5."""
LEAST_COSINE, MEAN_COSINE = 0.9, 0.97
"""To ONNX Runtime, as `cardrec doctor` judges it."""


@pytest.fixture(scope="module")
def bundle() -> Model:
    if not hailo_facts.nodes():
        pytest.skip(f"no Hailo device: there is no {hailo_facts.DEVICES}/hailo0")
    if VARIABLE not in os.environ:
        pytest.skip(f"{VARIABLE} names no model bundle with a network for the chip")
    model = Model.load(Path(os.environ[VARIABLE]))
    try:
        find_hef(model, architecture_of(load()))
    except CardrecError as error:
        pytest.skip(str(error))
    return model


@pytest.fixture(scope="module")
def encoder(bundle: Model) -> Iterator[HailoEncoder]:
    opened = HailoEncoder(bundle)
    yield opened
    opened.close()


def median_ms(taken_s: list[float]) -> float:
    return statistics.median(taken_s) * 1e3


def test_latency_of_one_card(encoder: HailoEncoder) -> None:
    taken_s = []
    for _ in range(200):
        with encoder.slot() as slot:
            begun = time.perf_counter()
            slot.submit(1)
            slot.wait()
            taken_s.append(time.perf_counter() - begun)
    print(f"\none card: median {median_ms(taken_s):.2f} ms, 99 % {np.percentile(taken_s, 99) * 1e3:.2f} ms")
    assert median_ms(taken_s) < LATENCY_MS


def vectors_of(encoder: Encoder, pictures: NDArray[np.uint8], count: int) -> NDArray[np.float32]:
    """(count, dimension) of the pictures, again and again, several on their way at once."""
    answers: list[NDArray[np.float32]] = []

    def write(pixels: NDArray[np.uint8], group: list[int]) -> None:
        pixels[: len(group)] = pictures[[number % len(pictures) for number in group]]

    encode_in_order(encoder, range(count), write, lambda _, vectors: answers.append(unit(vectors)))
    return np.concatenate(answers)


def test_vectors_are_near_those_of_the_cpu(encoder: HailoEncoder, bundle: Model) -> None:
    pictures = rendered_cards(32, seed=0)
    cosines = (vectors_of(encoder, pictures, 32) * vectors_of(OnnxEncoder(bundle), pictures, 32)).sum(axis=1)
    print(f"\ncosine to ONNX Runtime: {cosines.min():.4f} at least, {cosines.mean():.4f} in the mean")
    assert cosines.min() >= LEAST_COSINE and cosines.mean() >= MEAN_COSINE


def test_a_thousand_frames(encoder: HailoEncoder) -> None:
    pictures = rendered_cards(16, seed=0)
    expected = vectors_of(encoder, pictures, 16)
    begun = time.perf_counter()
    answers = vectors_of(encoder, pictures, FRAMES)
    print(f"\n{FRAMES} frames: {FRAMES / (time.perf_counter() - begun):.0f} frames/s")
    assert len(answers) == FRAMES
    assert all(np.array_equal(vector, expected[number % 16]) for number, vector in enumerate(answers))


def test_reopening(bundle: Model, encoder: HailoEncoder) -> None:
    encoder.close()  # the last of this file
    taken_s = []
    for _ in range(OPENINGS):
        begun = time.perf_counter()
        HailoEncoder(bundle).close()
        taken_s.append(time.perf_counter() - begun)
    print(f"\nopened and closed {OPENINGS} times: median {median_ms(taken_s):.0f} ms")
