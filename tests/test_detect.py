"""Cards are found where they are, and nothing where there is none."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
from detector_oracle import straightness
from numpy.typing import NDArray

from cardrec.detect import Detection, Detector, OutlineDetector
from cardrec.errors import InputError
from cardrec.image import Frame, load
from cardrec.quads import areas, covered, ordered
from cardrec.samples import read_samples

Picture = NDArray[np.uint8]
DETECTOR: Detector = OutlineDetector()


@pytest.fixture(scope="module")
def sample_photo() -> Picture:
    """The first bundled photo that shows one card."""
    known = next(sample for sample in read_samples() if len(sample.card_ids) == 1)
    return np.ascontiguousarray(load(known.path).pixels[:, :, ::-1])


def card(seed: int = 0, border: tuple[int, int, int] = (20, 20, 20)) -> Picture:
    """A drawn card, 504 x 704: border, frame, a picture of random shapes, a text box; its corners are square."""
    rng = np.random.default_rng(seed)
    face = np.full((704, 504, 3), border, np.uint8)
    cv2.rectangle(face, (26, 26), (477, 677), rng.integers(80, 220, 3).tolist(), -1)
    art = face[90:380, 60:444]
    art[:] = rng.integers(0, 256, 3)
    for _ in range(25):
        centre = (int(rng.integers(384)), int(rng.integers(290)))
        cv2.circle(art, centre, int(rng.integers(5, 60)), rng.integers(0, 256, 3).tolist(), -1)
    cv2.rectangle(face, (60, 420), (444, 640), (225, 230, 235), -1)
    for row in range(450, 630, 26):
        cv2.line(face, (75, row), (int(rng.integers(250, 430)), row), (40, 40, 40), 5)
    return face


def ground(kind: str, size_wh: tuple[int, int] = (1280, 720), seed: int = 1) -> Picture:
    rng = np.random.default_rng(seed)
    width, height = size_wh
    level = {"dark": 35, "light": 215}.get(kind, 130)
    noise = rng.normal(0, 1, (height, width, 1)).astype(np.float32)
    grain = cv2.GaussianBlur(noise, (0, 0), 4)[:, :, None] * 150
    noise = grain + noise * 8 if kind == "textured" else noise * 3
    return np.asarray(np.clip(level + noise + rng.integers(-20, 21, 3), 0, 255).astype(np.uint8))


def quad_at(
    centre: tuple[float, float], height: float, turn: float = 0, tilt: float = 0, axis: float = 0, focal: float = 1200
) -> NDArray[np.float32]:
    """Corners of a card around ``centre``, turned in the plane and tilted about an axis, all in degrees."""
    corners = np.array([[-31.5, -44, 0], [31.5, -44, 0], [31.5, 44, 0], [-31.5, 44, 0]])
    about = np.radians(tilt) * np.array([np.cos(np.radians(axis)), np.sin(np.radians(axis)), 0])
    rotation = cv2.Rodrigues(about)[0] @ cv2.Rodrigues(np.array([0, 0, np.radians(turn)]))[0]
    seen = corners @ rotation.T + [0, 0, focal * 88 / height]
    return np.asarray(focal * seen[:, :2] / seen[:, 2:] + centre, np.float32)


def lay(frame: Picture, quad: NDArray[np.float32], face: Picture) -> None:
    """Draws the card into the frame, four times supersampled at the edges."""
    height, width = frame.shape[:2]
    corners = np.array([[0, 0], [504, 0], [504, 704], [0, 704]], np.float32) - 0.5
    matrix = cv2.getPerspectiveTransform(corners, (quad - 0.5).astype(np.float32))
    size = cv2.contourArea(quad) ** 0.5 / 600
    soft = cv2.GaussianBlur(face, (0, 0), max(0.3, 0.5 / size))
    drawn = cv2.warpPerspective(soft, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    big = np.zeros((height * 4, width * 4), np.uint8)
    cv2.fillConvexPoly(big, np.round(quad * 4 - 0.5).astype(np.int32), 255)
    alpha = cv2.resize(big, (width, height), interpolation=cv2.INTER_AREA)[:, :, None].astype(np.float32) / 255
    frame[:] = (frame * (1 - alpha) + drawn * alpha).astype(np.uint8)


def photo(
    quads: list[NDArray[np.float32]], kind: str = "textured", size_wh: tuple[int, int] = (1280, 720), **options: Any
) -> Picture:
    frame = ground(kind, size_wh)
    for number, quad in enumerate(quads):
        lay(frame, quad, card(number, **options))
    blurred = cv2.GaussianBlur(frame, (0, 0), 0.7)
    return np.asarray(blurred)


def find(pixels: NDArray[Any], max_cards: int = 1) -> list[Detection]:
    return DETECTOR.detect(load(pixels), max_cards=max_cards)


def worst_corner_px(found: NDArray[np.float32], quad: NDArray[np.float32]) -> float:
    """Distance of the corner that is furthest off, whichever of the four comes first."""
    return min(float(np.hypot(*(np.roll(found, shift, axis=0) - quad).T).max()) for shift in range(4))


def iou(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    shared = covered(first, second) * areas(first[None])[0]
    return float(shared / (areas(first[None])[0] + areas(second[None])[0] - shared))


# one card


@pytest.mark.parametrize("kind", ["light", "dark", "textured"])
@pytest.mark.parametrize("turn", [0, 8, 37, 90, 135, 180, -60])
def test_one_card_at_any_turn(kind: str, turn: float) -> None:
    quad = quad_at((620, 350), 420, turn=turn)
    border = (225, 225, 230) if kind == "dark" else (25, 20, 20)
    found = find(photo([quad], kind, border=border))
    assert len(found) == 1
    assert worst_corner_px(found[0].corners_px, quad) < 2.0
    assert 0.5 <= found[0].score <= 1


@pytest.mark.parametrize("axis", [0, 45, 90, 160])
@pytest.mark.parametrize("tilt", [15, 35])
def test_a_tilted_card(tilt: float, axis: float) -> None:
    quad = quad_at((640, 360), 480, turn=12, tilt=tilt, axis=axis)
    found = find(photo([quad]))
    assert len(found) == 1
    assert iou(found[0].corners_px, quad) > 0.94


@pytest.mark.parametrize("height", [110, 200, 350, 660])
def test_near_and_far(height: float) -> None:
    quad = quad_at((640, 360), height, turn=4)
    found = find(photo([quad], "light"))
    assert len(found) == 1
    assert iou(found[0].corners_px, quad) > 0.97


def test_corners_are_found_to_a_fraction_of_a_pixel() -> None:
    errors = []
    for turn in range(0, 90, 10):
        quad = quad_at((620.3 + turn / 37, 350.7), 450, turn=turn)
        found = find(photo([quad], "light"))
        errors.append(worst_corner_px(found[0].corners_px, quad))
    assert np.median(errors) < 0.7  # of 322 pixels of card width; there is noise of 3 levels and blur


def test_the_card_is_meant_not_its_picture_or_text() -> None:
    quad = quad_at((640, 360), 600, turn=3)
    for border in ((20, 20, 20), (240, 240, 240), (40, 160, 220)):
        found = find(photo([quad], "textured", border=border), max_cards=5)
        assert len(found) == 1
        assert iou(found[0].corners_px, quad) > 0.95  # of its frame within the border: 0.82; of its picture: 0.45


@pytest.mark.parametrize("turn", [0, 30, 80, 100, 170, 200, 300])
def test_order_of_corners(turn: float) -> None:
    quad = quad_at((640, 360), 400, turn=turn)
    corners = find(photo([quad], "light"))[0].corners_px
    assert corners.shape == (4, 2)
    assert corners.dtype == np.float32
    top, right, bottom, left = (np.linalg.norm(corners[(i + 1) % 4] - corners[i]) for i in range(4))
    assert top + bottom < right + left
    first, second = corners[1] - corners[0], corners[2] - corners[1]
    assert first[0] * second[1] - first[1] * second[0] > 0  # clockwise, as y points down


def test_the_cards_own_top_comes_first(sample_photo: Picture) -> None:
    """What the network takes for the top is a guess, but a good one: the bundled photo upright and upside down."""
    upright = find(sample_photo)[0].corners_px
    turned = find(np.ascontiguousarray(sample_photo[::-1, ::-1]))[0].corners_px
    size = np.array(sample_photo.shape[1::-1])
    assert upright[:2, 1].mean() < upright[2:, 1].mean()
    assert np.abs(size - turned - upright).max() < 5


@pytest.mark.parametrize("size_wh", [(640, 480), (1920, 1080), (720, 1280), (3000, 4000)])
def test_sizes_of_frames(size_wh: tuple[int, int]) -> None:
    width, height = size_wh
    quad = quad_at((width * 0.48, height * 0.52), 0.5 * min(size_wh), turn=10)
    found = find(photo([quad], "light", size_wh))
    assert len(found) == 1
    assert worst_corner_px(found[0].corners_px, quad) < 0.02 * min(size_wh)


# several cards


@pytest.mark.parametrize("kind", ["light", "textured"])
def test_several_cards(kind: str) -> None:
    places = [(x, y) for y in (190, 530) for x in (180, 480, 780, 1080)]
    quads = [quad_at(place, 260, turn=7 * n - 20) for n, place in enumerate(places)]
    found = find(photo(quads, kind), max_cards=18)
    assert len(found) == 8
    for quad in quads:
        assert max(iou(one.corners_px, quad) for one in found) > 0.9
    assert all(first.score >= second.score for first, second in pairwise(found))
    assert all(first.doubt <= second.doubt for first, second in pairwise(found))
    assert all((one.doubt == 1) == (one.score <= 0.996) and (one.doubt > 0) == (one.score < 1) for one in found)


def test_max_cards_is_a_limit() -> None:
    quads = [quad_at((x, 360), 300) for x in (250, 640, 1030)]
    pixels = photo(quads, "light")
    assert [len(find(pixels, most)) for most in (1, 2, 3, 9)] == [1, 2, 3, 3]


@pytest.mark.parametrize("most", [0, -1])
def test_max_cards_must_be_positive(most: int) -> None:
    with pytest.raises(InputError, match=f"max_cards={most}"):
        find(ground("light"), most)


# no card


@pytest.mark.parametrize("kind", ["light", "dark"])
@pytest.mark.parametrize("most", [1, 18])
def test_empty_grounds(kind: str, most: int) -> None:
    for seed in range(5):
        assert find(ground(kind, seed=seed), most) == []


@pytest.mark.parametrize("most", [1, 18])
def test_empty_textured_grounds(most: int) -> None:
    """Strong texture may make up an outline now and then; but none that is as sure as a card's."""
    for seed in range(5):
        assert OutlineDetector(min_score=0.8).detect(load(ground("textured", seed=seed)), max_cards=most) == []


def test_other_shapes_are_no_cards() -> None:
    frame = ground("light")
    cv2.circle(frame, (250, 350), 150, (60, 40, 30), -1)
    cv2.rectangle(frame, (500, 200), (800, 500), (30, 60, 40), -1)  # a square
    cv2.rectangle(frame, (900, 100), (980, 650), (30, 40, 90), -1)  # a ruler
    assert find(frame, 18) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (2, 2, 3), (23, 23, 3), (16, 400, 4), (8, 40_000)])
def test_frames_too_small_for_a_card(shape: tuple[int, ...]) -> None:
    assert find(np.zeros(shape, np.uint8)) == []


@pytest.mark.parametrize("value", [0, 128, 255])
def test_flat_frames(value: int) -> None:
    assert find(np.full((720, 1280, 3), value, np.uint8), 18) == []


def test_noise() -> None:
    assert find(np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8), 18) == []


def test_very_wide_frames() -> None:
    assert find(np.broadcast_to(np.uint8(9), (1000, 40_000, 3)).copy(), 2) == []


# a scan


@pytest.mark.parametrize("size_wh", [(504, 704), (704, 504), (229, 320), (63, 88)])
def test_a_scan_is_a_card_from_border_to_border(size_wh: tuple[int, int]) -> None:
    face = card() if size_wh[0] < size_wh[1] else card().transpose(1, 0, 2)
    found = find(cv2.resize(np.ascontiguousarray(face), size_wh, interpolation=cv2.INTER_AREA))
    width, height = size_wh
    assert len(found) == 1
    border = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    assert iou(found[0].corners_px, border) > 0.8


def test_a_flat_scan_gives_the_exact_border() -> None:
    found = find(np.full((880, 630, 3), 90, np.uint8))
    np.testing.assert_array_equal(found[0].corners_px, [[0, 0], [630, 0], [630, 880], [0, 880]])
    assert (found[0].score, found[0].doubt) == (0.5, 0.0)


# kinds of arrays, threads, imports


def odd_views(pixels: Picture) -> dict[str, Any]:
    height, width = pixels.shape[:2]
    padded = np.zeros((height, width + 7, 3), np.uint8)
    padded[:, :width] = pixels
    return {
        "rgb view": pixels[:, :, ::-1],
        "crop": padded[:, :width],
        "flipped twice": np.ascontiguousarray(pixels[::-1, ::-1])[::-1, ::-1],
        "stepped": np.repeat(np.repeat(pixels, 2, axis=0), 2, axis=1)[::2, ::2],
        "column-major": np.asfortranarray(pixels),
        "BGRA": np.dstack([pixels, np.full((height, width), 255, np.uint8)]),
    }


@pytest.mark.parametrize("kind", ["rgb view", "crop", "flipped twice", "stepped", "column-major", "BGRA"])
def test_layouts_make_no_difference(kind: str) -> None:
    pixels = photo([quad_at((640, 360), 420, turn=10)], "light")
    array = odd_views(pixels)[kind]
    before = array.copy()
    array.flags.writeable = False
    expected, found = find(pixels), find(array)
    assert len(found) == 1
    wrong_colours = kind == "rgb view"
    np.testing.assert_allclose(found[0].corners_px, expected[0].corners_px, atol=2.0 if wrong_colours else 0.05)
    np.testing.assert_array_equal(array, before)


def test_grey_frames() -> None:
    quad = quad_at((640, 360), 420, turn=10)
    grey = cv2.cvtColor(photo([quad], "light"), cv2.COLOR_BGR2GRAY)
    for array in (grey, grey[:, :, None]):
        found = find(array)
        assert worst_corner_px(found[0].corners_px, quad) < 2


def test_threads_agree() -> None:
    frames = [load(photo([quad_at((500 + 40 * n, 360), 400, turn=20 * n)])) for n in range(4)]
    expected = [DETECTOR.detect(frame, max_cards=3) for frame in frames]
    start = threading.Barrier(4)

    def work(number: int) -> None:
        start.wait(30)
        for turn in range(6):
            n = (number + turn) % 4
            found = DETECTOR.detect(frames[n], max_cards=3)
            assert [one.score for one in found] == [one.score for one in expected[n]]
            for one, other in zip(found, expected[n], strict=True):
                np.testing.assert_array_equal(one.corners_px, other.corners_px)

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(work, number) for number in range(4)]:
            future.result(120)


def test_opencv_is_imported_only_when_used() -> None:
    program = (
        "import sys; from cardrec.detect import OutlineDetector; OutlineDetector(); sys.exit('cv2' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_detections_are_frozen() -> None:
    detection = Detection(np.zeros((4, 2), np.float32), 0.5)
    with pytest.raises(AttributeError):
        detection.score = 1.0  # type: ignore[misc]


def test_the_whole_frame_rule_needs_a_frame_of_a_cards_shape() -> None:
    assert DETECTOR.detect(Frame(np.full((880, 700), 90, np.uint8), "bgr", "<array>"), max_cards=1) == []


# the geometry of quads


def test_ordered_gives_one_order_for_all() -> None:
    quad = quad_at((640, 360), 400, turn=25)
    ways = [np.roll(way, shift, axis=0) for way in (quad, quad[::-1]) for shift in range(4)]
    for way in ordered(np.stack(ways)):
        np.testing.assert_array_equal(way, quad)


@pytest.mark.parametrize("axis", [0, 30, 60, 90])
def test_tilt_is_measured_whatever_the_axis(axis: float) -> None:
    for tilt in (0.0, 20.0, 35.0):
        quad = ordered(quad_at((640, 360), 50, turn=15, tilt=tilt, axis=axis, focal=50_000)[None])
        assert straightness(quad)[0] == pytest.approx(np.cos(np.radians(tilt)), abs=0.01)


def test_covered() -> None:
    square = np.array([[0, 0], [10, 0], [10, 10], [0, 10]], np.float32)
    assert covered(square, square + np.array([5, 0], np.float32)) == pytest.approx(0.5)
    assert covered(square, square + np.array([20, 0], np.float32)) == 0
    assert covered(square / 2, square) == pytest.approx(1)
