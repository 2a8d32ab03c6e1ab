"""The bundled network in integers on a simulated Hailo-8: near the CPU's vectors, and the same cards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_hailo import Platform, opened
from numpy.typing import NDArray
from quantised_network import rendered_cards

from cardrec import Catalog, Recognizer
from cardrec.backends.hailo import HailoEncoder
from cardrec.backends.hef import find_hef
from cardrec.backends.simulated.bundle import read_hef
from cardrec.embed import Embedder
from cardrec.encode import encode_in_order
from cardrec.model import Model
from cardrec.network import open_network
from cardrec.samples import read_samples
from cardrec.search import QuantisedVectors

LEAST_COSINE = 0.995
"""Between the network in 8-bit integers and in floats, on cards that it was not calibrated on: 0.999 was measured."""


@pytest.fixture(scope="module")
def device(quantised: Model) -> Iterator[HailoEncoder]:
    """The bundled network, quantised, on a simulated device."""
    with opened(quantised, Platform(), timeout_s=5) as encoder:
        yield encoder


def on_device(encoder: HailoEncoder, cards: NDArray[np.uint8]) -> list[QuantisedVectors]:
    answers: list[Any] = []
    encode_in_order(encoder, cards, np.copyto, lambda _, said: answers.append(said))
    return answers


def test_integers_are_those_of_the_network(device: HailoEncoder, quantised: Model, tmp_path: Path) -> None:
    cards = rendered_cards(6, seed=3)
    hef = read_hef(find_hef(quantised, "hailo8"))
    (tmp_path / "network.onnx").write_bytes(hef.onnx)
    network = open_network(tmp_path / "network.onnx", threads=1)
    for card, said in zip(cards, on_device(device, cards), strict=True):
        levels = np.round(network(card[None]) / np.array(hef.scales)) + np.array(hef.zero_points)
        assert isinstance(said, QuantisedVectors) and said.values.dtype == np.uint8
        assert np.array_equal(said.values, levels.clip(0, 255))
        assert (said.scale, said.zero_point) == (hef.scales[0], 128)


def test_vectors_are_near_those_of_the_cpu(device: HailoEncoder, embedder: Embedder) -> None:
    cards = rendered_cards(12, seed=4)
    cosines = (Embedder(device).encode(cards) * embedder.encode(cards)).sum(axis=1)
    assert cosines.min() >= LEAST_COSINE


def test_the_sample_photos_show_the_same_cards(device: HailoEncoder, recognizer: Recognizer) -> None:
    samples = read_samples()
    with Recognizer(encoder=device) as on_hailo:
        assert on_hailo.info()["backend"] == "hailo"
        for sample in samples:
            mine, theirs = (one.identify(sample.path, max_cards=9) for one in (on_hailo, recognizer))
            assert [card.status for card in mine.cards] == [card.status for card in theirs.cards]
            assert [_name(card) for card in mine.cards] == [_name(card) for card in theirs.cards]


def _name(card: Any) -> str | None:
    return card.matches[0].card_id if card.status == "match" else None


def test_a_catalog_built_on_the_device(
    device: HailoEncoder, card_folder: Path, photo_of_c3: Path, tmp_path: Path
) -> None:
    items: list[tuple[str, Path, dict[str, object]]] = [(path.stem, path, {}) for path in sorted(card_folder.iterdir())]
    Catalog.build(tmp_path / "own.cardrec", items, encoder=Embedder(device))
    with Recognizer(tmp_path / "own.cardrec", encoder=device) as recognizer:
        (card,) = recognizer.identify(photo_of_c3).cards
        assert card.matches[0].card_id == "c3"
