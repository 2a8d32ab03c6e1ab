"""Simulated photos: the truth is exact, cards are never mirrored, equal generators give equal frames."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from training import simulate_scene
from training.simulate import SimulatedFrame, procedural_background, simulate_crop, simulate_frame
from training.simulate_background import BACKGROUND_KINDS
from training.simulate_levels import LEVELS, Level, Look
from training.simulate_objects import LARGEST_COVER, cover_edge, hand_behind
from training.simulate_scene import Camera, aim, lay_out

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLACK = np.zeros((720, 1280, 3), np.uint8)
FLAWLESS = Look(
    tilt_deg=(0.0, 40.0), turn_deg=180.0, fill=(0.5, 0.95), overlap=0.0, exposure=(1.0, 1.0), tint=0.0, gradient=0.0,
    vignette=0.0, lamp=0.0, shadow=0.0, glare=0.0, glare_gain=(0.0, 0.0), sheen=0.0, sleeve=0.0, haze=(0.0, 0.0),
    cover=0.0, hold=0.0, defocus=(0.0, 0.0), motion=0.0, motion_length=(0.0, 0.0), noise=(0.0, 0.0), blotch=0.0,
    sharpen=0.0, jpeg=(100.0, 100.0),
)  # fmt: skip
LEVEL_NAMES: tuple[Level, ...] = ("easy", "hard", "page")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def checkerboard() -> NDArray[np.uint8]:
    """A 252x352 card of 7 x 11 squares of 36 x 32 px, its first square red, RGB."""
    dark = (np.arange(352)[:, None] // 32 + np.arange(252)[None] // 36) % 2 == 0
    card = np.where(dark[..., None], 30, 225).astype(np.uint8).repeat(3, axis=2)
    card[:32, :36] = (220, 30, 30)
    return card


def plain(value: int = 255) -> NDArray[np.uint8]:
    return np.full((352, 252, 3), value, np.uint8)


def inner_crossings(quad_px: NDArray[np.float32]) -> NDArray[np.float32]:
    """(60, 2) where the checkerboard's inner crossings must be, in edge coordinates."""
    card = np.asarray([(0, 0), (252, 0), (252, 352), (0, 352)], np.float32)
    x, y = np.meshgrid(np.arange(1, 7) * 36.0, np.arange(1, 11) * 32.0)
    crossings = np.column_stack([x.ravel(), y.ravel()])[None]
    return np.asarray(cv2.perspectiveTransform(crossings, cv2.getPerspectiveTransform(card, quad_px))[0], np.float32)


def rectified(frame: SimulatedFrame, quad_px: NDArray[np.float32]) -> NDArray[np.uint8]:
    card = np.asarray([(0, 0), (252, 0), (252, 352), (0, 352)], np.float32) - np.float32(0.5)
    warp = cv2.getPerspectiveTransform(quad_px - np.float32(0.5), card)
    return np.asarray(cv2.warpPerspective(frame.pixels, warp, (252, 352))[..., ::-1], np.uint8)


@pytest.mark.parametrize("seed", range(12))
def test_quads_are_exact(seed: int) -> None:
    frame = simulate_frame([checkerboard()], rng=rng(seed), level=FLAWLESS, background=BLACK)
    expected = inner_crossings(frame.quads_px[0])
    grey = cv2.cvtColor(frame.pixels, cv2.COLOR_BGR2GRAY)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 50, 0.001)
    found = cv2.cornerSubPix(grey, (expected - 0.5)[:, None].copy(), (5, 5), (-1, -1), criteria)[:, 0] + 0.5
    errors = np.linalg.norm(found - expected, axis=1)[1:]  # the first crossing touches the red square
    assert errors.max() < 0.3
    assert np.abs((found - expected)[1:].mean(axis=0)).max() < 0.05


@pytest.mark.parametrize("seed", range(6))
def test_rectified_card_is_the_card_upright(seed: int) -> None:
    card = checkerboard()
    frame = simulate_frame([card], rng=rng(seed), level=replace(FLAWLESS, fill=(0.9, 0.95)), background=BLACK)
    seen = rectified(frame, frame.quads_px[0])
    inside = np.s_[12:-12, 12:-12]
    assert np.abs(seen[inside].astype(int) - card[inside]).mean() < 12
    assert seen[16, 18, 0] > 150
    assert seen[16, 18, 2] < 100


def test_the_edge_of_a_card_lies_on_its_quad() -> None:
    frame = simulate_frame([plain()], rng=rng(3), level=replace(FLAWLESS, tilt_deg=(0.0, 0.0)), background=BLACK)
    quad = frame.quads_px[0]
    area = cv2.contourArea(quad)
    corners = (4 - np.pi) * 3.0**2 / (63 * 88)
    assert frame.pixels[..., 1].sum() / 255 == pytest.approx(area * (1 - corners), rel=0.004)


@pytest.mark.parametrize("level", LEVEL_NAMES)
def test_frames_are_sound(level: Level) -> None:
    for seed in range(6):
        frame = simulate_frame(
            [checkerboard()] * (seed + 1), rng=rng(seed), level=level, size_wh=(640, 360), max_turn_deg=180
        )
        assert frame.pixels.shape == (360, 640, 3)
        assert frame.pixels.dtype == np.uint8
        assert frame.quads_px.shape == (seed + 1, 4, 2)
        assert frame.quads_px.dtype == np.float32
        assert sorted(frame.indices) == list(range(seed + 1))
        assert (frame.quads_px >= 0).all()
        assert (frame.quads_px <= (640, 360)).all()
        for quad in frame.quads_px:
            assert cv2.contourArea(quad, oriented=True) > 0, "mirrored"
            assert cv2.isContourConvex(quad)


@pytest.mark.parametrize("level", LEVEL_NAMES)
def test_equal_generators_give_equal_frames(level: Level) -> None:
    first, second = (
        simulate_frame([checkerboard(), plain(90)], rng=rng(5), level=level, size_wh=(320, 240)) for _ in range(2)
    )
    assert np.array_equal(first.pixels, second.pixels)
    assert np.array_equal(first.quads_px, second.quads_px)
    other = simulate_frame([checkerboard(), plain(90)], rng=rng(6), level=level, size_wh=(320, 240))
    assert not np.array_equal(first.pixels, other.pixels)


def test_inputs_are_left_alone() -> None:
    card, background = checkerboard(), procedural_background((320, 240), rng())
    kept = card.copy(), background.copy()
    simulate_frame([card], rng=rng(1), level="hard", size_wh=(320, 240), background=background)
    assert np.array_equal(card, kept[0])
    assert np.array_equal(background, kept[1])


def test_no_card_gives_a_table() -> None:
    for level in LEVEL_NAMES:
        frame = simulate_frame([], rng=rng(), level=level, size_wh=(320, 240))
        assert frame.quads_px.shape == (0, 4, 2)
        assert frame.indices.shape == (0,)


def test_turn_stays_in_its_range() -> None:
    for seed in range(20):
        look = replace(FLAWLESS, tilt_deg=(0.0, 0.0))
        frame = simulate_frame(
            [plain()], rng=rng(seed), level=look, size_wh=(160, 120), max_turn_deg=10, background=BLACK
        )
        x, y = frame.quads_px[0][1] - frame.quads_px[0][0]
        assert abs(np.degrees(np.arctan2(y, x))) <= 10.01


def test_fill_is_the_share_of_the_frame() -> None:
    for seed in range(10):
        look = replace(FLAWLESS, fill=(0.6, 0.6))
        frame = simulate_frame([plain()] * 3, rng=rng(seed), level=look, size_wh=(640, 360), background=BLACK)
        points = frame.quads_px.reshape(-1, 2)
        assert (np.ptp(points, axis=0) / (640, 360)).max() == pytest.approx(0.6, abs=0.005)


@pytest.mark.parametrize("limit", [0.0, 0.2])
def test_cards_overlap_no_more_than_allowed(limit: float) -> None:
    for seed in range(10):
        placed = lay_out([(63, 88)] * 6, rng(seed), aspect=1.6, turn_deg=180, overlap=limit)
        for n, card in enumerate(placed):
            quads = [p.corners_mm.astype(np.float32) for p in placed[n + 1 :]]
            covered = sum(cv2.intersectConvexConvex(card.corners_mm.astype(np.float32), q)[0] for q in quads)
            assert covered <= limit * 63 * 88 + 1e-3


def test_fingers_leave_four_fifths_of_each_card() -> None:
    quad = np.asarray([(200, 100), (400, 110), (390, 390), (190, 380)], np.float64)
    grid = np.stack(np.meshgrid(np.linspace(190, 400, 60), np.linspace(100, 390, 80)), axis=-1).reshape(-1, 2)
    inside = np.asarray([cv2.pointPolygonTest(quad.astype(np.float32), p, False) >= 0 for p in grid.tolist()])
    found = 0
    for seed in range(30):
        thumb, fingers = hand_behind(quad, rng(seed), 3.1)
        items = [item for item in (thumb, cover_edge(quad[None], rng(seed), 3.1)) if item is not None]
        assert fingers
        found += len(items)
        for item in items:
            assert item.covers(grid[inside]).mean() <= LARGEST_COVER + 0.02
    assert found > 20


@pytest.mark.parametrize("kind", BACKGROUND_KINDS)
def test_backgrounds(kind: str) -> None:
    picture = procedural_background((200, 120), rng(2), kind)
    assert picture.shape == (120, 200, 3)
    assert picture.dtype == np.uint8
    assert picture.std() > 0.5
    assert np.array_equal(picture, procedural_background((200, 120), rng(2), kind))
    procedural_background((17, 33), rng(2), kind)


def test_backgrounds_of_any_size_cover_the_frame() -> None:
    for shape in ((10, 10, 3), (128, 128, 3), (240, 320, 3), (2000, 300, 3)):
        frame = simulate_frame(
            [], rng=rng(), level=FLAWLESS, size_wh=(320, 240), background=np.full(shape, 90, np.uint8)
        )
        assert np.abs(frame.pixels.astype(int) - 90).max() <= 1


@pytest.mark.parametrize("level", LEVEL_NAMES)
def test_crop(level: Level) -> None:
    crop = simulate_crop(checkerboard(), rng=rng(4), level=level, corner_error=0.02)
    assert crop.shape == (224, 224, 3)
    assert crop.dtype == np.uint8
    assert np.array_equal(crop, simulate_crop(checkerboard(), rng=rng(4), level=level, corner_error=0.02))
    assert simulate_crop(checkerboard(), rng=rng(4), level=level, corner_error=0.02, size=64).shape == (64, 64, 3)


def test_crop_without_corner_error_is_the_card() -> None:
    card = cv2.resize(checkerboard(), (224, 224), interpolation=cv2.INTER_AREA)
    errors = []
    for share in (0.0, 0.06):
        crops = [simulate_crop(checkerboard(), rng=rng(s), level=FLAWLESS, corner_error=share) for s in range(5)]
        errors.append(np.mean([np.abs(crop.astype(int) - card)[15:-15, 15:-15].mean() for crop in crops]))
    assert errors[0] < 12 < errors[1]
    assert crops[0][12, 12, 0] > crops[0][12, 12, 2] + 60, "red and blue are swapped"


@pytest.mark.parametrize(
    "arguments",
    [
        {"level": "medium"},
        {"cards": [np.zeros((88, 63), np.uint8)]},
        {"cards": [np.zeros((88, 63, 3), np.float32)]},
        {"cards": [np.zeros((0, 63, 3), np.uint8)]},
        {"background": np.zeros((88, 63, 4), np.uint8)},
        {"size_wh": (16, 720)},
        {"level": "page", "cards": [plain()] * 19},
    ],
)
def test_bad_arguments(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        simulate_frame(**{"cards": [plain()], "rng": rng(), **arguments})


def test_a_camera_that_comes_too_near_is_tilted_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search for a camera's place does not settle for about one in 5,000 rows of cards, and may end among them."""
    table = np.asarray([(-150.0, -90.0), (150.0, -90.0), (150.0, 90.0), (-150.0, 90.0)])
    tilts_deg: list[float] = []
    framed = simulate_scene._framed

    def at_first_too_near(points: Any, intrinsic: Any, rotation: Any, **rest: Any) -> Camera:
        tilts_deg.append(float(np.rad2deg(np.arccos(rotation[2, 2]))))
        if len(tilts_deg) < 3:
            return Camera(intrinsic @ np.column_stack([rotation, (0.0, 0.0, 10.0)]))
        return framed(points, intrinsic, rotation, **rest)

    monkeypatch.setattr(simulate_scene, "_framed", at_first_too_near)
    camera = aim(table, rng(), size_wh=(640, 360), tilt_deg=40.0, roll_deg=0.0, fill=0.9)
    assert camera.sees(table, nearest=0.1)
    np.testing.assert_allclose(tilts_deg, (40.0, 20.0, 10.0), rtol=1e-6)


def test_other_things_show_pictures_where_there_are_any() -> None:
    look = replace(FLAWLESS, clutter=1.0)
    pure = np.full((400, 400, 3), (255, 0, 255), np.uint8)
    shares = []
    for pictures in ((), (pure,)):
        frames = [simulate_frame([], rng=rng(s), level=look, background=BLACK, pictures=pictures) for s in range(8)]
        magenta = [(f.pixels[..., (0, 2)] > 200).all(axis=2) & (f.pixels[..., 1] < 60) for f in frames]
        shares.append(float(np.mean(magenta)))
    assert shares[0] < 0.005
    assert shares[1] > 0.02


def test_unknown_background() -> None:
    with pytest.raises(ValueError, match="expected one of wood"):
        procedural_background((64, 64), rng(), "lava")


def test_levels_are_ordered() -> None:
    easy, hard = LEVELS["easy"], LEVELS["hard"]
    assert easy.tilt_deg[1] < hard.tilt_deg[1]
    assert easy.noise[1] < hard.noise[1]
    assert easy.jpeg[0] > hard.jpeg[1]
