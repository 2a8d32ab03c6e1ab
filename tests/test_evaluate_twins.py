"""The measurement of what twins are: the model finds what photos were drawn by, and a small run."""

from __future__ import annotations

import numpy as np
import pytest
from pictures import card_picture

from cardrec import Embedder
from training.data import CardImage
from training.evaluate_twins import bound, photographed, table


def test_the_bound_follows_from_slope_and_noise() -> None:
    rng = np.random.default_rng(0)
    cosines = 1 - rng.uniform(0.0011, 0.0049, 20_000)
    gaps = 1 - cosines
    leads = 0.9 * gaps + 0.02 * np.sqrt(2 * gaps) * rng.normal(size=len(gaps))
    least, slope, noise = bound(cosines, leads)
    assert [slope, noise] == pytest.approx([0.9, 0.02], rel=0.02)
    at_bound = 0.9 * (1 - least) + 0.02 * np.sqrt(2 * (1 - least)) * rng.normal(size=100_000)
    assert (at_bound > 0).mean() == pytest.approx(0.8, abs=0.01)


def test_copies_lead_in_no_photo(embedder: Embedder) -> None:
    rgb = [np.ascontiguousarray(card_picture(seed)[:, :, ::-1]) for seed in (0, 1, 1)]
    cards = [CardImage(f"cards/{n}", f"cards/{n}", pixels) for n, pixels in enumerate(rgb)]
    vectors = embedder.encode([card.pixels for card in cards])
    cosines, leads = photographed(cards, vectors, embedder, 2, 0.3)
    assert cosines == pytest.approx(np.ones(4), abs=1e-5)
    assert leads == pytest.approx(np.zeros(4), abs=1e-6)
    assert table(cosines, leads).splitlines()[2:] == ["| 0.999999 | 4 | 0.0 % |"]
