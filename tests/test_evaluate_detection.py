"""The measurement of a detector: what counts as found, poor, missed and false, and the command's way through frames."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cardrec.detect import Detection
from cardrec.image import Frame, load
from cardrec.quads import iou, ordered
from training.detection_data import face_paths, ground_paths
from training.detection_frames import (
    DECK_COUNT,
    DECK_SEED,
    GROUPS,
    MANY,
    Part,
    Shot,
    empty,
    photograph,
    photos,
    plain,
    simulated,
    table,
)
from training.detection_scoring import NO_QUADS, Assignment, assign, corner_error, effective_count, summarise
from training.detection_sheets import FOUND_BGR, IGNORED_BGR, TRUE_BGR, Sheets, caption, tile
from training.evaluate_detection import evaluate, heading, line, measure, rows
from training.label_photos import read_labels
from training.render import deck
from training.retrieval import wilson

Floats = NDArray[np.float64]

CARD = np.array([[0, 0], [63, 0], [63, 88], [0, 88]], np.float64)
SQUARE = np.array([[0, 0], [10, 0], [10, 10], [0, 10]], np.float32)


def moved(x: float, y: float = 0, card: Floats = CARD) -> Floats:
    return np.asarray(card + np.array([x, y]))


def aside(overlap: float, card: Floats = CARD) -> Floats:
    """The card moved sideways until it has this IoU with itself."""
    return moved(63 * (1 - overlap) / (1 + overlap), card=card)


TWO = np.stack([CARD, moved(100)])


def result_of(iou_of_cards: list[float], false: int = 0) -> Assignment:
    return Assignment(np.array(iou_of_cards), np.full(len(iou_of_cards), 0.01), false)


@pytest.mark.parametrize(("shift", "expected"), [(0.0, 1.0), (5.0, 1 / 3), (10.0, 0.0), (50.0, 0.0)])
def test_iou_is_intersection_over_union(shift: float, expected: float) -> None:
    assert iou(SQUARE, SQUARE + np.array([shift, 0], np.float32)) == pytest.approx(expected, abs=1e-5)


def test_iou_of_a_square_and_the_same_turned_by_45_degrees() -> None:
    """Their common part is a regular octagon of side 10 (sqrt 2 - 1): 100 (2 sqrt 2 - 2)."""
    turned = np.float32(10 / np.sqrt(2)) * np.array([[0, -1], [1, 0], [0, 1], [-1, 0]], np.float32) + np.float32(5)
    common = 100 * (2 * np.sqrt(2) - 2)
    assert iou(SQUARE, turned) == pytest.approx(common / (200 - common), abs=1e-5)


def test_perfect_outlines_in_another_order() -> None:
    result = assign(TWO[::-1], TWO)
    np.testing.assert_allclose(result.iou, 1, atol=1e-6)
    np.testing.assert_allclose(result.corner_error, 0, atol=1e-9)
    assert result.false == 0


def test_nothing_found_and_nothing_to_find() -> None:
    nothing = assign(NO_QUADS, TWO)
    assert nothing.iou.tolist() == [0, 0] and np.isnan(nothing.corner_error).all() and nothing.false == 0
    false = assign(TWO, NO_QUADS)
    assert false.iou.shape == (0,) and false.false == 2


def test_the_better_of_two_detections_has_the_card_and_the_other_is_false() -> None:
    result = assign(np.stack([aside(0.8), aside(0.95), moved(100)]), TWO)
    np.testing.assert_allclose(result.iou, [0.95, 1], atol=1e-5)
    assert result.false == 1


def test_a_detection_is_one_card_only_and_the_best_pair_goes_first() -> None:
    """The first detection lies 0.9 on the first card and 0.7 on the second, on top of which there is a worse one."""
    near = aside(0.7, aside(0.9))
    result = assign(np.stack([aside(0.9), aside(0.6, near)]), np.stack([CARD, near]))
    np.testing.assert_allclose(result.iou, [0.9, 0.6], atol=1e-5)
    alone = assign(aside(0.9)[None], np.stack([CARD, near]))
    np.testing.assert_allclose(alone.iou, [0.9, 0], atol=1e-5)
    assert result.false == alone.false == 0


@pytest.mark.parametrize(("overlap", "taken"), [(0.501, True), (0.499, False)])
def test_half_an_overlap_makes_it_that_card(overlap: float, taken: bool) -> None:
    result = assign(aside(overlap)[None], CARD[None])
    assert (result.iou[0] > 0, np.isfinite(result.corner_error[0]), result.false == 0) == (taken, taken, taken)


@pytest.mark.parametrize("threshold", [0.85, 0.9])
def test_found_poor_and_missed_around_the_threshold(threshold: float) -> None:
    ious = [1.0, threshold + 0.002, threshold - 0.002, 0.502, 0.498]
    frames = [assign(aside(each)[None], CARD[None]) for each in ious]
    row = summarise(frames, [1.0] * 5, threshold=threshold)
    assert (row.frames, row.cards, row.found, row.poor, row.missed, row.false) == (5, 5, 2, 2, 1, 1)


def test_ignored_cards_are_neither_missed_nor_false() -> None:
    ignored = moved(200)[None]
    found = np.stack([CARD, ignored[0], aside(0.7, ignored[0]), moved(400)])
    result = assign(found, CARD[None], ignored)
    assert result.iou.tolist() == pytest.approx([1]) and result.false == 1
    assert assign(CARD[None], CARD[None], ignored).iou.tolist() == pytest.approx([1])


def test_a_detection_of_an_ignored_card_does_not_count_for_the_one_it_overlaps() -> None:
    back = aside(0.6)
    assert assign(back[None], CARD[None], back[None]).iou.tolist() == [0]


CROSSED = np.array([[32.2, 45.6], [40.9, 3.0], [59.8, 64.7], [-15.0, 106.2]])
"""OpenCV's intersection of this with `CARD` would be larger than either."""


@pytest.mark.parametrize("bad", [CROSSED, CARD[[0, 2, 1, 3]], np.full((4, 2), np.nan), CARD * 0])
def test_what_is_no_convex_quad_is_false(bad: Floats) -> None:
    result = assign(np.stack([bad, CARD]), CARD[None])
    assert result.iou.tolist() == pytest.approx([1]) and result.false == 1


def test_corner_error_in_widths_either_way_up() -> None:
    wide = CARD * [2, 1]
    off = moved(12.6, card=wide)
    assert corner_error(off, wide) == pytest.approx(0.1)
    assert corner_error(off[[2, 3, 0, 1]], wide) == pytest.approx(0.1)
    assert corner_error(wide[[1, 2, 3, 0]], wide) == pytest.approx((63 * 2 + 88) / 2 / 126)


def test_corner_error_takes_the_mean_of_top_and_bottom() -> None:
    taper = np.array([[10, 0], [50, 0], [60, 80], [0, 80]], np.float64)
    assert corner_error(moved(0, 5, taper), taper) == pytest.approx(5 / 50)


def test_effective_count_of_independent_cards_is_their_number() -> None:
    assert effective_count([1, 0] * 50, [1] * 100) == 100


def test_effective_count_of_frames_that_fare_alike_is_their_number() -> None:
    assert effective_count([8, 0] * 50, [8] * 100) == pytest.approx(100)


def test_effective_count_between() -> None:
    """By hand: p = 1/2; h - p m = 1, -1, 2, -2; v = 4/3 * 10 / 16^2; p (1 - p) / v = 4.8."""
    assert effective_count([3, 1, 4, 0], [4] * 4) == pytest.approx(4.8)


def test_effective_count_is_at_most_the_number_of_cards() -> None:
    assert effective_count([2, 2, 2], [4, 4, 4]) == 12


@pytest.mark.parametrize(
    ("hits", "cards", "expected"),
    [([2, 4, 0], [2, 4, 0], 36 / 20), ([0, 0], [3, 1], 16 / 10), ([1], [3], 1), ([1, 0], [3, 0], 1)],
)
def test_effective_count_where_nothing_tells_the_spread(hits: list[int], cards: list[int], expected: float) -> None:
    assert effective_count(hits, cards) == pytest.approx(expected)


def test_intervals_cover_the_truth_where_cards_of_a_frame_fare_alike() -> None:
    """Frames of 8 cards, each frame with its own chance, 0.8 in the mean; as if independent, far fewer would cover."""
    rng = np.random.default_rng(5)
    covers = []
    for _ in range(400):
        hits = rng.binomial(8, rng.beta(1.6, 0.4, 60))
        ranges = (wilson(hits.sum() / 480 * n, n) for n in (effective_count(list(hits), [8] * 60), 480))
        covers.append([low <= 0.8 <= high for low, high in ranges])
    aware, naive = np.mean(covers, axis=0)
    assert 0.91 < aware < 0.98 and naive < 0.85


def test_summary_of_errors_leaves_out_what_was_missed() -> None:
    errors = np.array([0.01, 0.03, np.nan])
    row = summarise([Assignment(np.array([0.98, 0.8, 0]), errors, 2), result_of([], 0)], [3.0, 5.0], threshold=0.9)
    assert (row.median_iou, row.median_corner_error, row.median_ms) == pytest.approx((0.89, 0.02, 4.0))
    assert row.p95_corner_error == pytest.approx(0.029)
    assert (row.false, row.frames_with_false) == (2, 1)
    assert row.found_interval == pytest.approx(wilson(1 / 3, 1))
    assert row.with_false_interval == pytest.approx(wilson(1, 2))


def test_summary_without_cards_or_frames() -> None:
    row = summarise([result_of([], 1), result_of([])], [1.0, 1.0], threshold=0.9)
    assert (row.cards, row.found_interval, row.median_iou, row.false) == (0, None, None, 1)
    assert "-" in line("no card", row) and len(line("no card", row)) == len(heading())
    none = summarise([], [], threshold=0.9)
    assert (none.frames, none.found_interval, none.with_false_interval, none.median_ms) == (0, None, None, None)
    assert len(line("none", none)) == len(heading())


class Told:
    """A detector that knows the truth of each frame, as a detector would say it, or says nothing."""

    def __init__(self, answers: dict[int, NDArray[np.float32]]) -> None:
        self.answers = answers
        self.asked: list[int] = []

    def detect(self, frame: Frame, *, max_cards: int) -> list[Detection]:
        self.asked.append(max_cards)
        quads = self.answers.get(int(frame.pixels.sum()), NO_QUADS)
        return [Detection(np.asarray(quad, np.float32), 1.0) for quad in ordered(quads)]


@pytest.fixture(scope="module")
def two_frames() -> tuple[Part, dict[int, NDArray[np.float32]]]:
    """Two frames of rendered cards, one of them at any turn, and their truth by the sum of their pixels."""
    cards = deck(DECK_COUNT, seed=DECK_SEED)
    jobs = [
        partial(photograph, GROUPS[1], n, cards[3 * n : 3 * n + 2], None, turn) for n, turn in ((0, 180.0), (1, None))
    ]
    truth = {int(shot.frame.pixels.sum()): shot.quads_px for shot in (job() for job in jobs)}
    return Part("easy, several", jobs, 20), truth


def test_the_truth_scores_100_per_cent(two_frames: tuple[Part, dict[int, NDArray[np.float32]]], tmp_path: Path) -> None:
    part, truth = two_frames
    detector = Told(truth)
    row = evaluate(detector, [part], map, tmp_path)["easy, several"]
    assert (row.frames, row.cards, row.found, row.poor, row.missed, row.false) == (2, 4, 4, 0, 0, 0)
    assert row.median_iou == pytest.approx(1, abs=1e-4)
    assert row.p95_corner_error == pytest.approx(0, abs=1e-4)
    assert detector.asked == [20, 20] and not list(tmp_path.iterdir())


def test_nothing_scores_0_per_cent_and_is_drawn(
    two_frames: tuple[Part, dict[int, NDArray[np.float32]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part, _ = two_frames
    row = evaluate(Told({}), [part], map, tmp_path)["easy, several"]
    assert (row.cards, row.found, row.poor, row.missed, row.false) == (4, 0, 0, 4, 0)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2 and len(set(map(len, printed))) == 1 and " 0.0 (0.0-" in printed[1]
    sheet = cv2.imread(str(tmp_path / "easy-several-1.png"))
    assert sheet is not None and sheet.shape == (3 * 290, 4 * 480, 3)
    assert sheet[:290, 480:960].any() and not sheet[290:].any()


def test_frames_are_the_same_each_time_and_differ_from_one_another() -> None:
    face = deck(1, seed=DECK_SEED)
    same, again, other = (photograph(GROUPS[0], n, face, None, None) for n in (3, 3, 4))
    assert np.array_equal(same.frame.pixels, again.frame.pixels) and np.array_equal(same.quads_px, again.quads_px)
    assert not np.array_equal(same.frame.pixels, other.frame.pixels)
    assert len({group.seed for group in GROUPS}) == len({group.name for group in GROUPS}) == len(GROUPS)


def files(folder: Path, names: Iterable[str]) -> None:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The development data's layout, its pictures empty: what is drawn doesn't depend on them."""
    files(tmp_path / "cards/pocket-en", (f"A1-{n}.jpg" for n in range(60)))
    files(tmp_path / "cards/pocket-de", (f"A1-{n}.jpg" for n in range(60)))
    files(tmp_path / "cards/redemption", (f"card-{n}.jpg" for n in range(400)))
    files(tmp_path / "backgrounds/textures", (f"Wood{n}.png" for n in range(60)))
    (tmp_path / "cards/redemption-same.csv").write_text("a,b\n")
    return tmp_path


def test_simulated_frames_show_what_no_training_sees(data: Path) -> None:
    unseen, grounds = set(face_paths(data, held=True)), set(ground_paths(data, held=True))
    for group, part in zip(GROUPS, simulated(data, 90), strict=True):
        drawn = [cast("partial[Shot]", job).args for job in part.jobs]
        assert part.max_cards == (1 if part.name.endswith("one card") else MANY)
        assert {len(faces) for _, _, faces, _, _ in drawn} == set(range(group.cards[0], group.cards[1] + 1))
        paths = [face for _, _, faces, _, _ in drawn for face in faces if isinstance(face, Path)]
        games = [path.parent.name.split("-")[0] for path in paths]
        everything = sum(len(faces) for _, _, faces, _, _ in drawn)
        assert all(0.2 < games.count(game) / everything < 0.48 for game in ("pocket", "redemption"))
        assert set(paths) <= unseen and {ground for *_, ground, _ in drawn} <= {None, *grounds}
        for procedural in (True, False):
            turns = [turn for *_, ground, turn in drawn if (ground is None) == procedural]
            assert len(turns) == (30 if procedural else 60) and turns.count(180.0) * 3 == len(turns)


def test_more_frames_begin_with_the_same(data: Path) -> None:
    few, more = (simulated(data, frames)[3].jobs for frames in (5, 20))
    assert [cast("partial[Shot]", job).args for job in few] == [cast("partial[Shot]", job).args for job in more[:5]]


def test_every_ground_is_looked_at_plain_and_as_a_table(data: Path) -> None:
    for part in empty(data):
        assert {cast("partial[Shot]", job).args[0].stem for job in part.jobs} == {f"Wood{n}" for n in range(60)}
        assert (len(part.jobs), part.max_cards) == (60, MANY)


def test_grounds_without_cards_count_what_is_found_on_them(tmp_path: Path) -> None:
    path = tmp_path / "wood.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8))
    shots = [plain(path), table(path, 0), table(path, 1)]
    assert [shot.frame.size_wh for shot in shots] == [(128, 128), (1280, 720), (1280, 720)]
    sums = [int(shot.frame.pixels.sum()) for shot in shots]
    assert len(set(sums)) == 3
    jobs = [partial(plain, path), partial(table, path, 0), partial(table, path, 1)]
    detector = Told({sums[1]: TWO.astype(np.float32)})
    row = evaluate(detector, [Part("no card", jobs, 20)], map, None)["no card"]
    assert (row.frames, row.cards, row.false, row.frames_with_false) == (3, 0, 2, 1)


def labelled(folder: Path) -> Part:
    """A photo with a whole card, a cut one and a back, one without cards, read from a file of labels."""
    flat = {name: ",".join(f"{value:.1f}" for value in moved(x).ravel()) for name, x in PLACES.items()}
    lines = ["file,x0,y0,x1,y1,x2,y2,x3,y3,visible"]
    lines += [f"magic-000.png,{flat[name]},{name}" for name in PLACES] + ["magic-001.png,,,,,,,,,none"]
    (folder / "photos.csv").write_text("\n".join(lines) + "\n")
    for number in range(2):
        cv2.imwrite(str(folder / f"magic-00{number}.png"), np.full((100, 400, 3), 40 + number, np.uint8))
    (part,) = photos(folder, read_labels(folder / "photos.csv"))
    return part


PLACES = {"whole": 0, "cut": 100, "back": 200}


@pytest.mark.parametrize("seen", [(), ("whole",), ("cut",), ("whole", "cut", "back"), ("back",)])
def test_photos_report_whole_cards_and_others_apart(tmp_path: Path, seen: tuple[str, ...]) -> None:
    part = labelled(tmp_path)
    first, second = (job() for job in part.jobs)
    assert (first.visible, second.visible) == (("whole", "cut", "back"), ())
    outlines = np.array([aside(0.87, moved(PLACES[name])) for name in seen], np.float32).reshape(-1, 4, 2)
    detector = Told({int(first.frame.pixels.sum()): outlines, int(second.frame.pixels.sum()): outlines[:1]})
    summaries = rows(part, measure(detector, part, map))
    assert list(summaries) == ["magic", "magic, cut"]
    whole, cut = summaries["magic"], summaries["magic, cut"]
    assert (whole.frames, whole.cards, whole.found) == (2, 1, int("whole" in seen))
    assert (cut.frames, cut.cards, cut.found, cut.false) == (1, 1, int("cut" in seen), None)
    assert whole.false == min(1, len(seen))  # the one on the photo without cards
    assert json.dumps({"found": whole.found, "interval": whole.found_interval})


def test_a_tile_shows_outlines_in_their_colours() -> None:
    grey = load(np.zeros((540, 960, 3), np.uint8))
    places = np.array([CARD * 3 + [x, 100] for x in (50, 350, 650)], np.float32)
    shot = Shot("magic-007", grey, places[:2], ("whole", "back"))
    picture = tile(shot, places[2:], result_of([0.5], 1))[20:]
    for place, ink in zip(places, (TRUE_BGR, IGNORED_BGR, FOUND_BGR), strict=True):
        middle_of_left = int(place[0, 0] / 2), int((place[0, 1] + place[3, 1]) / 4)
        near: NDArray[Any] = picture[middle_of_left[1], middle_of_left[0] - 2 : middle_of_left[0] + 3]
        strongest = near[near.astype(int).sum(axis=1).argmax()].astype(int)
        assert np.abs(strongest / strongest.max() - np.array(ink) / max(ink)).max() < 0.05
    assert caption(shot, result_of([0.93, 0.0], 1)) == "magic-007: IoU 0 93, 1 false"
    rgb = replace(grey, pixels=np.full((54, 96, 3), (255, 0, 0), np.uint8), color="rgb")
    assert tile(replace(shot, frame=rgb), NO_QUADS, result_of([]))[250, 100].tolist() == [0, 0, 255]


def test_sheets_stop_after_the_last(tmp_path: Path) -> None:
    sheets = Sheets(tmp_path, "hard, one card")
    shot = Shot("x", load(np.zeros((72, 128), np.uint8)), NO_QUADS, ())
    for _ in range(100):
        sheets.add(shot, NO_QUADS, result_of([]))
    sheets.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"hard-one-card-{n}.png" for n in range(1, 7)]
