"""The fictional deck: the same everywhere, varied, with reprints and twins that share what they should."""

from __future__ import annotations

import csv
import hashlib
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.render import CardSpec, deck, main, render, render_back
from training.render_art import SUBJECTS, paint
from training.render_easel import Easel, generator
from training.render_scenes import SCENES
from training.render_text import Face, set_line, set_paragraph

HEIGHT_PX = 176
DECK = deck(500, seed=3)


def digest(specs: list[CardSpec]) -> str:
    pixels = b"".join(render(spec, height_px=HEIGHT_PX).tobytes() for spec in specs)
    return hashlib.sha256(pixels).hexdigest()


def apart(a: CardSpec, b: CardSpec) -> float:
    """The mean difference of two cards, in grey levels."""
    return float(np.abs(render(a, height_px=HEIGHT_PX).astype(int) - render(b, height_px=HEIGHT_PX)).mean())


def original_of(twin: CardSpec) -> CardSpec:
    return next(spec for spec in DECK if spec.card_id == twin.card_id.removesuffix("-vx"))


def pairs_of_reprints() -> list[tuple[CardSpec, CardSpec]]:
    first: dict[int, CardSpec] = {}
    english = [spec for spec in DECK if spec.language == "en"]
    pairs = [(first.setdefault(spec.art_seed, spec), spec) for spec in english]
    return [(a, b) for a, b in pairs if a is not b]


def test_another_process_draws_the_same_bytes() -> None:
    code = "from tests.test_render import DECK, digest; print(digest(DECK[:6]))"
    root = Path(__file__).parents[1]
    for hash_seed in ("1", "2"):
        there = subprocess.run(
            [sys.executable, "-c", code],
            cwd=root, env={"PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert there.returncode == 0, there.stderr
        assert there.stdout.strip() == digest(DECK[:6])


@pytest.mark.parametrize("count", [0, 1, 97, 100])
def test_shorter_deck_begins_the_longer(count: int) -> None:
    assert deck(count, seed=3) == DECK[:count]


def test_seeds_make_other_decks() -> None:
    assert {spec.art_seed for spec in deck(100, seed=4)}.isdisjoint(spec.art_seed for spec in DECK)


def test_ids_are_unique_file_names() -> None:
    ids = [spec.card_id for spec in deck(3000, seed=3)]
    assert len(set(ids)) == 3000
    assert all(re.fullmatch(r"[a-z0-9]+-\d{3}(-vx)?", card_id) for card_id in ids)


def test_sets_number_their_cards() -> None:
    for code in {spec.set for spec in DECK}:
        numbers = [spec.number for spec in DECK if spec.set == code and spec.language == "en"]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) <= next(spec.set_size for spec in DECK if spec.set == code)


def test_shares_of_reprints_and_twins() -> None:
    specs = deck(3000, seed=5)
    twins = sum(spec.language == "vx" for spec in specs)
    arts = {spec.art_seed for spec in specs}
    reprints = len(specs) - twins - len(arts)
    assert 0.06 < twins / 3000 < 0.1
    assert 0.06 < reprints / 3000 < 0.1


def test_no_set_prints_a_picture_twice() -> None:
    printed = [(spec.art_seed, spec.set) for spec in DECK if spec.language == "en"]
    assert len(set(printed)) == len(printed)


def test_reprints_share_the_picture_and_differ() -> None:
    pairs = pairs_of_reprints()
    assert {a.frame_seed == b.frame_seed for a, b in pairs} == {True, False}
    for a, b in pairs[:8]:
        assert (a.name, a.layout) == (b.name, b.layout)
        assert a.set != b.set
        assert apart(a, b) > 0
    same_frame = [(a, b) for a, b in pairs if a.frame_seed == b.frame_seed and a.layout in (0, 2, 3, 9)]
    for a, b in same_frame[:4]:
        window = np.s_[40:60, 30:90]
        np.testing.assert_array_equal(render(a, height_px=HEIGHT_PX)[window], render(b, height_px=HEIGHT_PX)[window])


def test_twins_differ_in_their_text_only() -> None:
    twins = [spec for spec in DECK if spec.language == "vx"]
    for twin in twins[:8]:
        original = original_of(twin)
        assert (twin.number, twin.set, twin.art_seed, twin.frame_seed, twin.rarity) == (
            original.number, original.set, original.art_seed, original.frame_seed, original.rarity,
        )  # fmt: skip
        assert twin.name != original.name
        assert twin.name.isascii()
        changed = np.abs(render(twin).astype(int) - render(original)).max(2) > 8
        assert 0 < changed.mean() < 0.2


@pytest.mark.parametrize("height_px", [176, 320, 352, 704])
def test_size_and_type(height_px: int) -> None:
    for pixels in (render(DECK[0], height_px=height_px), render_back(height_px=height_px)):
        assert pixels.shape == (height_px, round(height_px * 63 / 88), 3)
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous


def test_every_layout_and_style_draws() -> None:
    layouts = {spec.layout: spec for spec in DECK}
    assert len(layouts) == 14
    for spec in layouts.values():
        assert render(spec, height_px=HEIGHT_PX).std() > 15


def test_a_card_looks_the_same_at_any_size() -> None:
    for spec in DECK[:6]:
        large = cv2.resize(render(spec, height_px=704), (252, 352), interpolation=cv2.INTER_AREA).astype(int)
        small = render(spec, height_px=352).astype(int)
        blurred = [cv2.blur(image.astype(np.float32), (15, 15)) for image in (large, small)]
        assert np.abs(blurred[0] - blurred[1]).mean() < 8, spec.card_id


def test_neighbours_differ() -> None:
    fresh = [spec for spec in DECK[:60] if spec.language == "en"]
    for a, b in pairwise(fresh[:20]):
        assert apart(a, b) > 12, (a.card_id, b.card_id)


def test_corners_are_the_border() -> None:
    pixels = render(DECK[0])
    assert (pixels[[0, 0, -1, -1], [0, -1, 0, -1]] == pixels[0, 0]).all()


def test_back_looks_the_same_upside_down() -> None:
    back = render_back()
    np.testing.assert_array_equal(back, back[::-1, ::-1])


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: str(scene.__name__))
def test_scenes_fill_the_picture(scene: Callable[[Easel], None]) -> None:
    easel = Easel(generator(1, 2), 1.3, 90)
    scene(easel)
    assert np.isfinite(easel.pixels).all()
    assert easel.pixels.std() > 0.02


@pytest.mark.parametrize("kind", sorted(SUBJECTS))
def test_pictures_of_any_shape(kind: str) -> None:
    for seed, aspect in enumerate((0.38, 0.7, 1.0, 2.6)):
        assert paint(seed, aspect=aspect, height_px=64, kind=kind).shape == (64, round(aspect * 64), 3)


def test_text_keeps_to_its_box() -> None:
    assert set_line("A name much too long for its plate", 30, Face(bold=0.05, slant=0.2), most_px=120).shape[1] <= 120
    long = ["word " * 60]
    assert set_paragraph(long, 30, 200, 150).shape == (150, 200)


def test_command_line_writes_a_readable_manifest(tmp_path: Path) -> None:
    main([str(tmp_path / "deck"), "--count", "5", "--seed", "3", "--height", "176"])
    with (tmp_path / "deck" / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["card_id", "image", "name", "set", "number", "language", "game", "rarity"]
    assert [row["card_id"] for row in rows] == [spec.card_id for spec in DECK[:5]]
    for row, spec in zip(rows, DECK, strict=False):
        image = cv2.imread(str(tmp_path / "deck" / row["image"]))
        assert image is not None
        assert image.shape == (176, 126, 3)
        assert np.abs(image[..., ::-1].astype(int) - render(spec, height_px=176)).mean() < 12
