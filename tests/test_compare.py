"""The second look's core: which printing, whether it is the card at all, whatever the light and the outline."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cardrec.compare import COARSE_SIDE, FINE_SIDES, Comparison, Reference, compare, side_for
from cardrec.errors import InputError
from training.render import CardSpec, deck, render
from training.render_words import to_vx
from training.simulate import simulate_crop

Picture = NDArray[np.uint8]
SIDE = 224


def square(picture: Picture, side: int = SIDE) -> Picture:
    return np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def drawn(spec: CardSpec) -> Picture:
    return square(render(spec, height_px=320), 320)


CARDS = [spec for spec in deck(40, seed=3) if spec.language == "en"]
CARD, OTHER, THIRD = CARDS[0], CARDS[3], CARDS[7]
VARIANTS = {
    "language": replace(CARD, language="vx", name=to_vx(CARD.name)),
    "set": replace(CARD, set_seed=CARD.set_seed + 1, set="zzz"),
    "number": replace(CARD, number=CARD.number + 57),
}


@pytest.fixture(scope="module")
def faces() -> dict[str, Picture]:
    specs = {"card": CARD, "other": OTHER, "third": THIRD, **VARIANTS}
    return {name: drawn(spec) for name, spec in specs.items()}


@pytest.fixture(scope="module")
def references(faces: dict[str, Picture]) -> dict[str, Reference]:
    return {name: Reference(face) for name, face in faces.items()}


def photo(face: Picture, seed: int, *, error: float = 0.02, side: int = SIDE) -> Picture:
    """A hard photo of a rendered card, cut out with an outline that is a little off."""
    card = np.asarray(cv2.resize(face, (229, 320), interpolation=cv2.INTER_AREA), np.uint8)
    rng = np.random.default_rng(seed)
    return simulate_crop(card, rng=rng, level="hard", corner_error=error, size=side, height_px=(400, 400))


def test_a_picture_is_like_itself_and_like_no_other(
    faces: dict[str, Picture], references: dict[str, Reference]
) -> None:
    found = compare(square(faces["card"]), [references["other"], references["card"], references["third"]])
    assert found.likeness[1] > 0.9
    assert max(found.likeness[0], found.likeness[2]) < 0.5
    assert found.evidence.argmax() == 1


@pytest.mark.parametrize("name", ["language", "set"])
def test_printings_that_share_their_art(faces: dict[str, Picture], references: dict[str, Reference], name: str) -> None:
    pair = [references["card"], references[name]]
    right = [
        compare(photo(faces[shown], seed), pair).evidence.argmax() == place
        for place, shown in enumerate(("card", name))
        for seed in range(6)
    ]
    assert sum(right) >= 11


def test_a_collectors_number_alone_is_told_in_a_clean_picture(
    faces: dict[str, Picture], references: dict[str, Reference]
) -> None:
    pair = [references["card"], references["number"]]
    assert compare(square(faces["card"], 320), pair).evidence.argmax() == 0
    assert compare(square(faces["number"], 320), pair).evidence.argmax() == 1


def test_equal_references_have_equal_evidence(faces: dict[str, Picture]) -> None:
    found = compare(photo(faces["card"], 1), [Reference(faces["card"]), Reference(faces["card"])])
    assert found.evidence[0] == found.evidence[1]
    assert found.likeness[0] == found.likeness[1]


def test_known_cards_and_strangers_are_told_apart(faces: dict[str, Picture], references: dict[str, Reference]) -> None:
    known = [compare(photo(faces["card"], seed), [references["card"]]).likeness[0] for seed in range(8)]
    wrong = [references["other"], references["third"]]
    strangers = [compare(photo(faces["card"], seed), wrong).likeness.max() for seed in range(8)]
    assert min(known) > max(strangers)


@pytest.mark.parametrize("change", ["darker", "brighter", "gradient", "shadow", "haze"])
def test_light_changes_little(faces: dict[str, Picture], references: dict[str, Reference], change: str) -> None:
    values = square(faces["card"]).astype(np.float64)
    ramp = np.linspace(0.3, 1, SIDE)[None, :, None]
    changed = {
        "darker": values * 0.35,
        "brighter": values * 0.6 + 60,
        "gradient": values * ramp,
        "shadow": np.where(np.arange(SIDE)[:, None, None] < 100, values * 0.4, values),
        "haze": values * 0.5 + 100,
    }[change]
    found = compare(changed.clip(0, 255).astype(np.uint8), [references["other"], references["card"]])
    assert found.likeness[1] > 0.8
    assert found.evidence.argmax() == 1


@pytest.mark.parametrize("shift", [(6, 0), (0, -6), (5, 5), (-7, 4)])
def test_outlines_that_are_off(
    faces: dict[str, Picture], references: dict[str, Reference], shift: tuple[int, int]
) -> None:
    """Shifted by up to 3 % of the side, and a little larger."""
    matrix = np.array([[1.03, 0.01, shift[0]], [-0.01, 1.0, shift[1]]])
    moved = cv2.warpAffine(square(faces["card"]), matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    found = compare(np.asarray(moved, np.uint8), [references["other"], references["card"]])
    assert found.likeness[1] > 0.75
    assert found.likeness[0] < 0.5


def test_glare_and_a_finger_do_not_decide(faces: dict[str, Picture], references: dict[str, Reference]) -> None:
    crop = square(faces["language"]).copy()
    cv2.circle(crop, (60, 70), 45, (255, 255, 255), -1)
    crop[150:, 180:] = (190, 140, 120)
    found = compare(crop, [references["card"], references["language"], references["other"]])
    assert found.evidence.argmax() == 1
    assert found.likeness[1] > 0.6


@pytest.mark.parametrize("side", [1, 8, 40, COARSE_SIDE, *FINE_SIDES])
def test_any_size(faces: dict[str, Picture], references: dict[str, Reference], side: int) -> None:
    found = compare(square(faces["card"], side), [references["card"], references["other"]])
    assert np.isfinite(found.evidence).all()
    assert (np.abs(found.likeness) <= 1.01).all()
    assert side < 40 or found.evidence.argmax() == 0


@pytest.mark.parametrize("value", [0, 128, 255])
def test_plain_pictures_are_like_nothing(references: dict[str, Reference], value: int) -> None:
    plain = np.full((SIDE, SIDE, 3), value, np.uint8)
    assert compare(plain, [references["card"]]).likeness[0] < 0.2
    assert compare(plain, [Reference(plain)]).likeness[0] < 0.2


def test_grey_frames(faces: dict[str, Picture], references: dict[str, Reference]) -> None:
    grey = np.asarray(cv2.cvtColor(square(faces["card"]), cv2.COLOR_RGB2GRAY), np.uint8)
    alone, colour = (compare(crop, [references["card"]]) for crop in (grey, square(faces["card"])))
    assert alone.likeness[0] == colour.likeness[0]
    assert compare(np.dstack([grey] * 3), [references["card"]]).likeness[0] > 0.9


def test_no_candidates(faces: dict[str, Picture]) -> None:
    found = compare(faces["card"], [])
    assert isinstance(found, Comparison)
    assert found.likeness.shape == found.evidence.shape == (0,)


@pytest.mark.parametrize(
    "picture",
    [np.zeros((8, 9, 3), np.uint8), np.zeros((8, 8, 3), np.float32), np.zeros((8, 8, 4), np.uint8), "path", None],
)
def test_what_is_no_square_picture(references: dict[str, Reference], picture: object) -> None:
    with pytest.raises(InputError, match="side, side"):
        compare(picture, [references["card"]])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="side, side"):
        Reference(picture)  # type: ignore[arg-type]


def test_the_side_never_exceeds_the_frames_pixels() -> None:
    assert side_for(0.0) == COARSE_SIDE
    assert side_for(1e9) == max(FINE_SIDES)
    for height_px in (120, 149, 200, 300, 426):
        assert COARSE_SIDE <= side_for(height_px) <= height_px


def test_equal_calls_give_equal_answers(faces: dict[str, Picture], references: dict[str, Reference]) -> None:
    crop = photo(faces["card"], 5)
    once, again = (compare(crop, [references["card"], references["language"]]) for _ in range(2))
    np.testing.assert_array_equal(once.evidence, again.evidence)
