"""What training and evaluation are built from, as far as it needs no torch: data, augmentation, hash."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from training import augment, data, phash


def picture(seed: int, size_wh: tuple[int, int] = (150, 210)) -> NDArray[np.uint8]:
    """A smooth random picture, (H, W, 3) uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    return cv2.resize(coarse, size_wh, interpolation=cv2.INTER_CUBIC).astype(np.uint8)


@pytest.mark.parametrize("size", [128, 224])
@pytest.mark.parametrize("how", [augment.photo, augment.clean])
def test_augmentation_is_seeded_and_shaped(size: int, how: object) -> None:
    make = getattr(augment, how.__name__)  # type: ignore[attr-defined]
    for seed in range(20):
        first, again = (make(picture(1), size, np.random.default_rng(seed)) for _ in range(2))
        assert first.shape == (size, size, 3) and first.dtype == np.uint8
        assert np.array_equal(first, again)


def test_photo_keeps_the_card_recognisable_and_upright() -> None:
    card = picture(2)
    upright = phash.phash([card])[0]
    crops = [augment.photo(card, 224, np.random.default_rng(seed), 0.7) for seed in range(40)]
    agreement = phash.phash(crops) @ upright / 256
    mirrored = phash.phash([crop[:, ::-1] for crop in crops]) @ upright / 256
    assert np.median(agreement) > 0.35
    assert np.mean(agreement > mirrored) > 0.95


def test_clean_is_the_area_average() -> None:
    card = picture(3, (448, 448))
    made = augment.clean(card, 224, np.random.default_rng(0)).astype(int)
    exact = card.reshape(224, 2, 224, 2, 3).mean(axis=(1, 3))
    assert np.corrcoef(made.ravel(), exact.ravel())[0, 1] > 0.99


def test_pairs_are_joined_transitively() -> None:
    faces = data.same_faces([("b", "a"), ("c", "b"), ("x", "y")])
    assert faces["a"] == faces["b"] == faces["c"] != faces["x"] == faces["y"]


def test_split_is_by_face_and_by_prefix(tmp_path: Path) -> None:
    for name in [f"A1-{n}" for n in range(60)] + [f"B1-{n}" for n in range(10)]:
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture(0, (40, 56)))
    (tmp_path / "same.csv").write_text("a,b\n" + "".join(f"A1-{n},A1-{n + 1}\n" for n in range(0, 60, 2)))
    cards = data.load_folder(tmp_path, duplicates=tmp_path / "same.csv")
    source = {"folder": str(tmp_path), "prefixes": ["A1-"]}
    train, unseen = data.split(cards, source, 0.3)
    assert len(train) + len(unseen) == 70 and len(train) > 20
    assert not {card.face for card in train} & {card.face for card in unseen}
    assert sum("/B1-" in card.card_id for card in unseen) == 10
    assert data.split(cards[::-1], source, 0.3)[0] == train[::-1]


def test_unreadable_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8nothing")
    with pytest.raises(ValueError, match=r"broken\.jpg"):
        data.load_folder(tmp_path)


def test_hash_finds_a_scaled_and_darkened_picture() -> None:
    cards = [picture(seed) for seed in range(30)]
    darker = [(cv2.resize(card, (90, 120)) * 0.7).astype(np.uint8) for card in cards]
    assert phash.nearest(phash.phash(darker), phash.phash(cards)).tolist() == list(range(30))
