"""Annotated pictures: the outline lies on the card, text stays inside, any size and shape of picture will do."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import cardrec
from cardrec import draw, draw_labels
from cardrec.draw import COLORS_RGB, annotate, annotate_tracks
from cardrec.draw_labels import Label
from cardrec.errors import InputError
from cardrec.labels import answer, printable, say_error, title, track_answer
from cardrec.track import Track
from cardrec.types import Card, Color, Match, Result, Status, Timings

TIMINGS = Timings(1.0, 1.0, 1.0, 1.0, 4.0)


def match(name: str | None, card_id: str = "id-1", score: float = 0.9) -> Match:
    return Match(card_id, score, 0, {} if name is None else {"name": name})


def card(box: tuple[float, float, float, float], name: str = "Ember", status: Status = "match") -> Card:
    left, top, right, bottom = box
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
    matches = (match(name), match(name + " II", "id-2", 0.5))
    return Card(corners, 0.9, matches, status, 0.97)


def result(size_wh: tuple[int, int], *cards: Card) -> Result:
    return Result(0, size_wh, cards, TIMINGS)


def lay_out(cards: list[Card], size_wh: tuple[int, int]) -> list[Label]:
    return draw_labels.lay_out([draw._card(each) for each in cards], size_wh)


def blank(width: int, height: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 128, np.uint8)


@pytest.mark.parametrize("status", list(COLORS_RGB))
def test_outline_is_on_the_card_in_the_colour_of_its_status(status: Status) -> None:
    picture = blank(1280, 720)
    drawn = annotate(picture, result((1280, 720), card((400, 100, 800, 660), status=status)), color="rgb")
    for x, y in ((600, 659), (400, 400), (799, 400)):
        assert tuple(drawn[y, x]) == COLORS_RGB[status]
    assert (drawn[300:600, 450:750] == 128).all(), "the inside of the card stays visible"
    assert (picture == 128).all(), "the caller's array is not drawn into"


@pytest.mark.parametrize("color", ["nv12", "i420"])
def test_luma_and_chroma_are_drawn_into_as_bgr(color: Color) -> None:
    array = np.full((720, 640), 128, np.uint8)
    array[:480] = 16 + 110 * 219 // 255  # a grey of 110
    drawn = annotate(array, result((640, 480), card((100, 100, 300, 400))), color=color)
    assert drawn.shape == (480, 640, 3)
    assert np.abs(drawn[460, 600].astype(int) - 110).max() <= 1
    assert tuple(drawn[399, 200][::-1]) == COLORS_RGB["match"]


def test_colour_order_is_the_callers() -> None:
    given = result((640, 480), card((100, 100, 300, 400)))
    bgr = annotate(blank(640, 480), given)
    rgb = annotate(blank(640, 480), given, color="rgb")
    assert np.array_equal(bgr, rgb[:, :, ::-1])
    assert bgr.flags.c_contiguous


@pytest.mark.parametrize("shape", [(60, 80), (60, 80, 1), (60, 80, 3), (60, 80, 4)])
def test_grey_and_alpha_become_three_channels(shape: tuple[int, ...]) -> None:
    drawn = annotate(np.full(shape, 128, np.uint8), result((80, 60), card((10, 10, 50, 55))))
    assert drawn.shape == (60, 80, 3)


def test_strided_arrays_keep_their_pixels() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)[::-1, ::2]
    assert np.array_equal(annotate(picture, result((30, 40)))[-1], picture[-1])


def test_files_are_read_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(blank(40, 30)).save(tmp_path / "turned.jpg", exif=exif)
    assert annotate(tmp_path / "turned.jpg", result((30, 40))).shape == (40, 30, 3)


def test_what_load_refuses_is_refused() -> None:
    with pytest.raises(InputError):
        annotate(np.zeros((4, 4, 3), np.float32), result((4, 4)))


@pytest.mark.parametrize("size_wh", [(1, 1), (7, 5), (40, 300), (320, 240), (1280, 720), (3000, 4000), (5000, 200)])
@pytest.mark.parametrize("name", ["A", "Ünter den Linden, " * 30, "中文名", "", "\x1b[31mred"])
def test_labels_stay_inside_at_any_size(size_wh: tuple[int, int], name: str) -> None:
    width, height = size_wh
    boxes = [
        (0.0, 0.0, width, height),
        (-50.0, -50.0, width / 3, height / 2),
        (width - 3.0, height - 3.0, width + 90.0, height + 90.0),
    ]
    labels = lay_out([card(box, name) for box in boxes], size_wh)
    for label in labels:
        left, top, right, bottom = label.box
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert label.font_px >= draw_labels.SMALLEST_FONT_PX
        for line in label.lines:
            assert draw_labels._width(line, label.font_px) <= right - left - label.font_px // 2
    if min(size_wh) >= 200:
        assert len(labels) == 3, "a picture with room has all its labels"
    drawn = annotate(blank(width, height), result(size_wh, *(card(box, name) for box in boxes)))
    assert drawn.shape == (height, width, 3)


@pytest.mark.parametrize("size_wh", [(640, 480), (1280, 720), (4608, 2592)])
def test_text_grows_with_the_picture(size_wh: tuple[int, int]) -> None:
    width, height = size_wh
    (label,) = lay_out([card((width * 0.3, height * 0.1, width * 0.7, height * 0.9))], size_wh)
    assert height / 40 <= label.font_px <= height / 15


def test_labels_of_nine_cards_do_not_cover_each_other() -> None:
    cards = [card((x, y, x + 150, y + 205), f"Card {x} {y}") for y in (20, 255, 490) for x in (300, 520, 740)]
    labels = lay_out(cards, (1280, 720))
    assert len(labels) == 9
    for place, one in enumerate(labels):
        for other in labels[place + 1 :]:
            assert draw_labels._overlap(one.box, other.box) == 0


def test_no_card_is_said() -> None:
    (label,) = lay_out([], (640, 480))
    assert label.lines == ("no card found",)
    assert lay_out([], (3, 3)) == []


def test_corners_far_away_or_not_finite_are_harmless() -> None:
    far = card((-1e9, -1e9, 1e9, 1e9))
    odd = Card(np.full((4, 2), np.nan, np.float32), 0.1, (), "unknown", 0.0)
    assert annotate(blank(64, 48), result((64, 48), far, odd)).shape == (48, 64, 3)


def test_without_a_full_font_accents_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draw_labels, "FONTS", ())
    draw_labels._font.cache_clear()
    try:
        assert draw_labels._spelled("Glühwürmchen, groß — 中", 14) == "Gluhwurmchen, gross ? ?"
        assert annotate(blank(320, 240), result((320, 240), card((90, 40, 200, 200)))).shape == (240, 320, 3)
    finally:
        draw_labels._font.cache_clear()


def test_the_same_result_gives_the_same_picture() -> None:
    given = result((640, 480), card((100, 60, 400, 460)))
    digests = {hashlib.sha256(annotate(blank(640, 480), given).tobytes()).hexdigest() for _ in range(2)}
    assert len(digests) == 1


def test_public_names() -> None:
    assert cardrec.annotate is annotate
    assert cardrec.annotate_tracks is annotate_tracks
    assert callable(cardrec.sample_photos)


@pytest.mark.parametrize(
    ("status", "names", "expected"),
    [
        ("match", ("Ember", "Moss"), "Ember"),
        ("match", (None,), "id-0"),
        ("unknown", ("Ember",), "not in the catalog"),
        ("unknown", (), "not in the catalog"),
        ("ambiguous", ("Ember",), "Ember, or another"),
        ("ambiguous", ("Ember", "Moss"), "Ember, or Moss"),
        ("ambiguous", ("Ember", "Ember"), "Ember (id-0 or id-1)"),
    ],
)
def test_answers(status: Status, names: tuple[str | None, ...], expected: str) -> None:
    matches = tuple(match(name, f"id-{place}") for place, name in enumerate(names))
    assert answer(Card(np.zeros((4, 2), np.float32), 1.0, matches, status, 0.5)) == expected


def track(
    box: tuple[float, float, float, float],
    status: Status,
    *,
    named: bool,
    last_s: float = 2.0,
    read_as: Status = "match",
) -> Track:
    best = card(box, status=read_as)
    return Track(7, best, best.corners_px, 5, 1.0, last_s, best.matches[0] if named else None, status, 0.987)


@pytest.mark.parametrize("status", list(COLORS_RGB))
def test_a_track_that_is_to_be_seen_has_a_whole_outline_in_the_colour_of_its_status(status: Status) -> None:
    """By the track's status: its frames' readings, here matches, change nothing."""
    drawn = annotate_tracks(
        blank(1280, 720), [track((400, 100, 800, 660), status, named=status == "match")], 2.0, color="rgb"
    )
    assert all(tuple(drawn[400, x]) == COLORS_RGB[status] for x in (400, 799))
    assert all(tuple(drawn[659, x]) == COLORS_RGB[status] for x in range(405, 796))


def test_a_track_under_a_hand_is_dashed_where_it_was_seen_last() -> None:
    seen, hidden = (
        annotate_tracks(blank(1280, 720), [track((400, 150, 800, 710), "match", named=True)], time_s, color="rgb")
        for time_s in (2.0, 2.4)
    )
    sides = [seen[709, 400:801], hidden[709, 400:801]]
    coloured = [(side == COLORS_RGB["match"]).all(axis=1) for side in sides]
    assert coloured[0][5:-5].all()
    assert 0.4 < coloured[1].mean() < 0.75
    assert coloured[1][:20].all() and coloured[1][-20:].all(), "corners are drawn"
    assert int((np.diff(coloured[1].astype(int)) == 1).sum()) >= draw._DASHES - 1


@pytest.mark.parametrize(
    ("status", "named", "read_as", "lines"),
    [
        ("match", True, "unknown", ("Ember", "card 7: match 99%")),
        ("unknown", False, "ambiguous", ("not in the catalog", "card 7: unknown 99%")),
        ("ambiguous", False, "match", ("not identified yet", "card 7: ambiguous")),
        ("ambiguous", False, "unknown", ("not identified yet", "card 7: ambiguous")),
        ("ambiguous", False, "ambiguous", ("Ember, or Ember II", "card 7: ambiguous")),
    ],
)
def test_what_is_written_to_a_track(status: Status, named: bool, read_as: Status, lines: tuple[str, str]) -> None:
    given = track((0, 0, 60, 80), status, named=named, read_as=read_as)
    assert draw._track(given, 2.0).lines == lines
    assert track_answer(given) == lines[0]
    assert draw._track(given, 2.44).lines == (lines[0], "card 7: unseen 0.4 s")


def test_text_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[2J\nb\u202ec") == "a\ufffd[2J b\ufffdc"
    assert title(match("x\x07")) == "x\ufffd"


def test_errors_in_words() -> None:
    assert say_error(FileNotFoundError(2, "No such file or directory", "a.jpg")) == "a.jpg: No such file or directory"
    assert say_error(OSError("odd")) == "odd"
    assert say_error(KeyError()) == "KeyError"
