"""The augmentation that runs on a GPU, here on the CPU, against the one that workers run."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
from test_training_data import picture  # noqa: E402
from torch import Generator, Tensor  # noqa: E402

from training import augment, phash  # noqa: E402
from training.augment_torch import _Dice, _homographies, _rounded, photo_batch, samples  # noqa: E402
from training.settings import Phase  # noqa: E402


def batch(count: int, side: int = 154) -> Tensor:
    return torch.from_numpy(np.stack([cv2.resize(picture(seed), (side, side)) for seed in range(count)]))


def seeded(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def test_photos_are_seeded_and_shaped() -> None:
    cards = batch(6)
    first, again, other = (
        photo_batch(cards, 128, seeded()),
        photo_batch(cards, 128, seeded()),
        photo_batch(cards, 128, seeded(1)),
    )
    assert first.shape == (6, 128, 128, 3) and first.dtype == torch.uint8
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_photos_are_upright_and_as_hard_as_those_of_the_workers() -> None:
    cards = batch(24)
    hashes = phash.phash(list(cards.numpy()))
    photos = photo_batch(cards, 128, seeded()).numpy()
    others = [augment.photo(card, 128, np.random.default_rng(n)) for n, card in enumerate(cards.numpy())]
    on_device, by_workers = ((phash.phash(list(p)) * hashes).mean(axis=1) for p in (photos, others))
    mirrored = (phash.phash([p[:, ::-1] for p in photos]) * hashes).mean(axis=1)
    assert np.mean(on_device > mirrored) > 0.9
    assert abs(np.median(on_device) - np.median(by_workers)) < 0.15
    assert abs(photos.mean() - np.mean(others)) < 20


def test_without_strength_a_photo_is_the_card() -> None:
    cards = batch(4)
    small = np.stack([cv2.resize(card, (128, 128), interpolation=cv2.INTER_AREA) for card in cards.numpy()])
    photos = photo_batch(cards, 128, seeded(), 0.0).numpy().astype(float)
    factor = photos.mean(axis=(1, 2, 3)) / small.mean(axis=(1, 2, 3))
    assert np.abs(factor - np.exp(-0.05)).max() < 0.03  # the mean exposure
    assert np.abs(photos - small * factor[:, None, None, None]).mean() < 3


def test_a_share_of_the_samples_is_clean() -> None:
    cards = batch(40)
    near = torch.nn.functional.interpolate(
        cards.permute(0, 3, 1, 2).float(), (128, 128), mode="bilinear", antialias=True
    )
    shown = samples(cards, Phase(size=128, clean_share=0.5), 0.5, seeded()).permute(0, 3, 1, 2).float()
    clean = (shown - near).abs().mean(dim=(1, 2, 3)) < 16
    assert 10 <= int(clean.sum()) <= 30


def test_homographies_map_four_points() -> None:
    square = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    moved = square + 0.1 * torch.randn(5, 4, 2, generator=seeded())
    matrices = _homographies(moved, square.expand_as(moved))
    points = torch.cat([moved, torch.ones(5, 4, 1)], dim=2) @ matrices.mT
    assert torch.allclose(points[..., :2] / points[..., 2:], square.expand_as(moved), atol=1e-4)


@pytest.mark.parametrize("quality", [35, 50, 90])
def test_brightness_is_rounded_as_jpeg_does(quality: int) -> None:
    from training.augment_torch import _LUMA

    grey = cv2.cvtColor(picture(3, (152, 96)), cv2.COLOR_RGB2GRAY)
    grey = np.clip(grey + np.random.default_rng(0).normal(0, 8, grey.shape), 0, 255).astype(np.uint8)
    coded = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    expected = np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), float)
    scale = 50 / quality if quality < 50 else 2 - quality / 50
    steps = (torch.tensor(_LUMA).float() * scale).round().clamp(min=1)[None, None]
    given = (_rounded(torch.from_numpy(grey).float()[None, None] - 128, steps) + 128).clamp(0, 255)[0, 0].numpy()
    off = np.abs(given - expected)
    assert off.mean() < 0.6 and np.quantile(off, 0.99) < 6, (off.mean(), np.quantile(off, [0.5, 0.9, 0.99, 1]))


def test_chances_are_kept() -> None:
    dice = _Dice(20_000, seeded())
    assert float(dice.happens(0.3).float().mean()) == pytest.approx(0.3, abs=0.02)
    assert float(dice.even(2, 4).mean()) == pytest.approx(3, abs=0.05)
