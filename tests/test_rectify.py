from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import oracle
import pytest
from command import python
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cardrec import _image
from cardrec.errors import InputError
from cardrec.image import Frame, load
from cardrec.rectify import INPUT_SIZE, MAX_SIDE, rectify, resize, whole
from cardrec.search import simd_tiers

Quad = NDArray[np.float32]
Bytes = NDArray[np.uint8]

AWKWARD = (1, 3, 15, 17, 33, 97)
all_tiers = pytest.mark.parametrize("tier", _image.simd_tiers())

UPRIGHT = np.array([[10, 5], [70, 5], [70, 89], [10, 89]], dtype=np.float32)
SLANTED = np.array([[20, 8], [80, 20], [66, 95], [4, 70]], dtype=np.float32)


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> Bytes:
    return np.asarray(np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8))


def picture(height: int, width: int) -> Bytes:
    """Edges, fine lines and gradients, as cards have them, as sharp as a good lens shows them."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    waves = 128 + 60 * np.sin(x / 9.0) * np.cos(y / 13.0)
    lines = np.where((y % 14 < 2) & (x % 160 < 140), 20, waves)
    boxes = np.where(((x // 90).astype(int) + (y // 70).astype(int)) % 5 == 0, 230 - lines / 4, lines)
    for axis in (0, 1):
        boxes = (np.roll(boxes, 1, axis) + 2 * boxes + np.roll(boxes, -1, axis)) / 4
    return np.asarray(np.stack([boxes, np.roll(boxes, 7, axis=1), 255 - boxes], axis=2), dtype=np.uint8)


def make_frame(pixels: Bytes, color: Any = "bgr") -> Frame:
    return Frame(pixels=pixels, color=color, name="<array>")


def warped(frame: Bytes, quad: Quad, side: int = 40, swap_rb: bool = True, tier: str = "") -> Bytes:
    out = np.zeros((side, side, 3), dtype=np.uint8)
    _image.rectify(frame, swap_rb, quad[None], out[None], tier)
    return out


def resized(frame: Bytes, height: int, width: int, swap_rb: bool = True, tier: str = "") -> Bytes:
    out = np.zeros((height, width, 3), dtype=np.uint8)
    _image.resize(frame, swap_rb, out, tier)
    return out


def full_quad(frame: Bytes) -> Quad:
    height, width = frame.shape[:2]
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)


def rotated(quad: Quad, angle: float, scale: float = 1.0) -> Quad:
    centre = quad.mean(axis=0)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) * scale
    return np.asarray((quad - centre) @ turn + centre, dtype=np.float32)


# --- the same bytes as the twin


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("swap_rb", [True, False])
@pytest.mark.parametrize("scale", [0.3, 1.0, 2.5, 9.0])
def test_rectify_equals_its_twin(channels: int, swap_rb: bool, scale: float) -> None:
    frame = noise(100, 90, channels)
    quad = rotated(SLANTED, 0.4, scale)  # 2.5 and 9 reach beyond the frame
    expected = oracle.rectify(frame, swap_rb, quad, 21)
    for tier in _image.simd_tiers():
        np.testing.assert_array_equal(warped(frame, quad, 21, swap_rb, tier), expected, tier)


@all_tiers
@pytest.mark.parametrize("side", AWKWARD)
def test_rectify_equals_its_twin_at_awkward_sizes(side: int, tier: str) -> None:
    frame = noise(97, 33, 4)
    quad = np.array([[2, 1], [31, 3], [30, 95], [1, 90]], dtype=np.float32)
    np.testing.assert_array_equal(warped(frame, quad, side, tier=tier), oracle.rectify(frame, True, quad, side))


@all_tiers
@pytest.mark.parametrize("width", AWKWARD)
def test_resize_equals_its_twin_at_awkward_sizes(width: int, tier: str) -> None:
    for channels in (1, 3, 4):
        frame = noise(37, width, channels)
        np.testing.assert_array_equal(resized(frame, 17, 33, tier=tier), oracle.resize(frame, True, 17, 33))


@given(
    corners=st.lists(st.floats(-8, 8, width=32), min_size=8, max_size=8),
    angle=st.floats(0, 6.28),
    scale=st.floats(0.2, 3.0),
    shape=st.tuples(st.integers(1, 70), st.integers(1, 70), st.sampled_from([1, 3, 4])),
    side=st.sampled_from([1, 2, 15, 16, 17, 33]),
    tier=st.sampled_from(_image.simd_tiers()),
)
@settings(max_examples=60, deadline=None)
def test_rectify_equals_its_twin_for_any_quad(
    corners: list[float], angle: float, scale: float, shape: tuple[int, int, int], side: int, tier: str
) -> None:
    frame = noise(*shape)
    quad = rotated(UPRIGHT + np.array(corners, dtype=np.float32).reshape(4, 2), angle, scale)
    np.testing.assert_array_equal(warped(frame, quad, side, tier=tier), oracle.rectify(frame, True, quad, side))


@given(
    shape=st.tuples(st.integers(1, 60), st.integers(1, 60), st.sampled_from([1, 3, 4])),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    swap_rb=st.booleans(),
    tier=st.sampled_from(_image.simd_tiers()),
)
@settings(max_examples=60, deadline=None)
def test_resize_equals_its_twin(shape: tuple[int, int, int], size: tuple[int, int], swap_rb: bool, tier: str) -> None:
    frame = noise(*shape)
    np.testing.assert_array_equal(resized(frame, *size, swap_rb, tier), oracle.resize(frame, swap_rb, *size))


# Of the outputs for seeded input; a change here changes the preprocessing and outdates every catalog.
GOLDEN = {
    "rectify": "03eaa866de13bdca72e1505ac0db88b26911875373b01b920a9af79db1d64838",
    "resize": "a13d835aeffb165858a591807e038b5a9b1a1366de245593fdecbb31e1c1271a",
}


def digest(array: Bytes) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


@all_tiers
def test_golden_bytes(tier: str) -> None:
    frame = noise(360, 500, seed=7)
    turns = np.array([[[1, 0], [0, 1]], [[0.6, 0.8], [-0.8, 0.6]], [[-0.8, 0.6], [-0.6, -0.8]]])
    centred = (SLANTED - 50)[None, None] * np.array([0.5, 3.0, 5.0])[:, None, None]
    quads = (centred @ turns[:, None] + [250, 180]).astype(np.float32).reshape(9, 4, 2)
    out = np.empty((len(quads), INPUT_SIZE, INPUT_SIZE, 3), dtype=np.uint8)
    _image.rectify(frame, True, quads, out, tier)
    small = resized(frame, INPUT_SIZE, INPUT_SIZE, tier=tier)
    assert {"rectify": digest(out), "resize": digest(small)} == GOLDEN


# --- luma and chroma


def planes(height: int, width: int) -> tuple[Bytes, Bytes, Bytes]:
    return (
        noise(height, width)[..., 0],
        noise(height // 2, width // 2, 3, 1)[..., 0],
        noise(height // 2, width // 2)[..., 1],
    )


def nv12(luma: Bytes, u: Bytes, v: Bytes) -> Bytes:
    return np.concatenate([luma, np.stack([u, v], axis=2).reshape(len(u), -1)])


def i420(luma: Bytes, u: Bytes, v: Bytes) -> Bytes:
    return np.concatenate([luma.ravel(), u.ravel(), v.ravel()]).reshape(-1, luma.shape[1])


LAYOUTS: Any = {"nv12": nv12, "i420": i420}


@all_tiers
@pytest.mark.parametrize("scale", [0.4, 1.0, 2.5])
def test_rectify_of_planes_equals_its_twin(scale: float, tier: str) -> None:
    luma, u, v = planes(98, 90)
    quad = rotated(SLANTED, 0.4, scale)
    expected = oracle.rectify_yuv(luma, u, v, quad, 33)
    pairs, out = np.stack([u, v], axis=2), np.zeros((2, 33, 33, 3), np.uint8)
    _image.rectify_yuv(luma, pairs[..., 0], pairs[..., 1], quad[None], out[:1], tier)
    _image.rectify_yuv(luma, np.ascontiguousarray(u), v[::-1].copy()[::-1], quad[None], out[1:], tier)
    np.testing.assert_array_equal(out, [expected, expected])


@all_tiers
@pytest.mark.parametrize("shape", [(2, 2), (2, 34), (98, 16), (66, 130)])
def test_resize_of_planes_equals_its_twin(shape: tuple[int, int], tier: str) -> None:
    luma, u, v = planes(*shape)
    expected = oracle.resize_yuv(luma, u, v, 17, 33)
    pairs, out = np.stack([u, v], axis=2), np.zeros((2, 17, 33, 3), np.uint8)
    _image.resize_yuv(luma, pairs[..., 0], pairs[..., 1], out[0], tier)
    _image.resize_yuv(luma, u, v, out[1], tier)
    np.testing.assert_array_equal(out, [expected, expected])


@pytest.mark.parametrize("color", LAYOUTS)
def test_frames_of_luma_and_chroma_with_any_strides(color: Any) -> None:
    array = LAYOUTS[color](*planes(98, 90))
    padded = np.zeros((len(array), 101), np.uint8)
    padded[:, :90] = array
    expected = oracle.rectify_yuv(*planes(98, 90), UPRIGHT, 40)
    for view in (array, padded[:, :90], array[::-1].copy()[::-1], np.asfortranarray(array)):
        one, two = np.empty((1, 40, 40, 3), np.uint8), np.empty((40, 40, 3), np.uint8)
        rectify(load(view, color=color), UPRIGHT, one)
        whole(load(view, color=color), two)
        np.testing.assert_array_equal(one[0], expected)
        np.testing.assert_array_equal(two, oracle.resize_yuv(*planes(98, 90), 40, 40))


def test_every_colour_of_planes_is_opencvs_to_one_level() -> None:
    import cv2

    values = np.arange(256, dtype=np.uint8)[::5]
    luma, u, v = (np.ascontiguousarray(plane) for plane in np.meshgrid(values, values, values))
    for y, blue, red in zip(luma, u, v, strict=True):
        wide = [np.repeat(np.repeat(plane, 2, axis=0), 2, axis=1) for plane in (y, blue, red)]
        array = i420(wide[0], blue, red)
        theirs = cv2.cvtColor(array, cv2.COLOR_YUV2RGB_I420)[::2, ::2].astype(int)
        assert np.abs(theirs - oracle.yuv_to_rgb(y, blue, red)).max() <= 1


def test_chroma_lies_amid_its_luma() -> None:
    # Only then is the mirrored picture that of the mirrored planes.
    luma, u, v = (np.ascontiguousarray(picture(64, 64)[:size, :size, 0]) for size in (64, 32, 32))
    quad = np.array([[3, 2], [61, 2], [61, 60], [3, 60]], dtype=np.float32)
    out = np.empty((2, 40, 40, 3), np.uint8)
    mirrored = np.stack([64 - quad[:, 0], quad[:, 1]], axis=1)[[1, 0, 3, 2]]
    _image.rectify_yuv(luma, u, v, quad[None], out[:1])
    _image.rectify_yuv(luma[:, ::-1], u[:, ::-1], v[:, ::-1], mirrored[None], out[1:])
    assert np.abs(out[0].astype(int) - out[1][:, ::-1]).mean() < 0.6
    _image.resize_yuv(luma, u, v, out[0])
    _image.resize_yuv(luma[:, ::-1], u[:, ::-1], v[:, ::-1], out[1])
    assert np.abs(out[0].astype(int) - out[1][:, ::-1]).max() <= 2


@pytest.mark.parametrize(("height", "width"), [(3, 4), (4, 3), (0, 4), (4, 0), (1, 1)])
def test_the_kernel_refuses_planes_it_cannot_read(height: int, width: int) -> None:
    luma, half, out = (
        np.zeros((height, width), np.uint8),
        np.zeros((2, 2), np.uint8),
        np.full((1, 8, 8, 3), 77, np.uint8),
    )
    with pytest.raises(ValueError, match="luma: expected"):
        _image.rectify_yuv(luma, half, half, UPRIGHT[None], out)
    with pytest.raises(ValueError, match="luma: expected"):
        _image.resize_yuv(luma, half, half, out[0])
    with pytest.raises(ValueError, match="chroma: expected"):
        _image.resize_yuv(np.zeros((4, 4), np.uint8), half, half[:1], out[0])
    assert (out == 77).all()


# --- tiers


def test_the_fastest_tier_is_used() -> None:
    assert _image.simd_tiers()[0] == "scalar"
    assert _image.simd_tier() == _image.simd_tier(os.environ.get("CARDREC_SIMD", simd_tiers()[-1]))
    assert _image.simd_tier(simd_tiers()[-1]) == _image.simd_tiers()[-1]


TIER = "from cardrec.rectify import simd_tier; print(simd_tier())"


@pytest.mark.parametrize("tier", simd_tiers())
def test_the_environment_forces_a_tier_or_the_best_below(tier: str) -> None:
    done = python("-c", TIER, simd=tier)
    below = [name for name in simd_tiers()[: simd_tiers().index(tier) + 1] if name in _image.simd_tiers()]
    assert (done.returncode, done.stdout.strip()) == (0, below[-1])


def test_a_tier_that_is_not_there_is_an_error() -> None:
    out = np.full((1, 8, 8, 3), 77, np.uint8)
    with pytest.raises(ValueError, match="SIMD tier 'mmx' is not there"):
        _image.rectify(noise(100, 90), True, UPRIGHT[None], out, "mmx")
    with pytest.raises(ValueError, match="SIMD tier 'mmx' is not there"):
        _image.resize(noise(100, 90), True, out[0], "mmx")
    assert (out == 77).all()
    done = python("-c", TIER, simd="mmx")
    assert done.returncode != 0
    assert "InputError: CARDREC_SIMD: SIMD tier 'mmx'" in done.stderr


# --- strides


def layouts(frame: Bytes) -> dict[str, Bytes]:
    padded = np.zeros((frame.shape[0], frame.shape[1] + 5, 3), dtype=np.uint8)
    padded[:, :-5] = frame
    four = np.zeros((*frame.shape[:2], 4), dtype=np.uint8)
    four[..., 1:] = frame
    return {
        "padded lines": padded[:, :-5],
        "bottom up": frame[::-1].copy()[::-1],
        "right to left": frame[:, ::-1].copy()[:, ::-1],
        "channels reversed": frame[:, :, ::-1].copy()[:, :, ::-1],
        "fortran": np.asfortranarray(frame),
        "planar": np.ascontiguousarray(frame.transpose(2, 0, 1)).transpose(1, 2, 0),
        "every second": np.repeat(np.repeat(frame, 2, axis=0), 2, axis=1)[::2, ::2],
        "last three of four": four[..., 1:],
        "read-only": np.frombuffer(frame.tobytes(), dtype=np.uint8).reshape(frame.shape),
    }


@pytest.mark.parametrize("layout", list(layouts(noise(4, 4))))
def test_strides_do_not_matter(layout: str) -> None:
    frame = noise(100, 90)
    view = layouts(frame)[layout]
    np.testing.assert_array_equal(warped(view, SLANTED), warped(frame, SLANTED))
    np.testing.assert_array_equal(resized(view, 30, 31), resized(frame, 30, 31))


def test_a_frame_is_read_within_its_bounds() -> None:
    # The quad ends at the frame's corners, and the frame at the last byte of its buffer's exact-size mapping.
    for shape in [(1, 1, 3), (1, 9, 3), (9, 1, 3), (2, 3, 3), (3, 2, 4), (40, 3, 3)]:
        frame = noise(*shape)
        quad = full_quad(frame)
        np.testing.assert_array_equal(warped(frame, quad), oracle.rectify(frame, True, quad, 40))


# --- quality


@pytest.mark.parametrize("angle", [0.0, 0.1, 0.6, 1.57, 3.0])
@pytest.mark.parametrize(("width", "height"), [(600, 840), (367, 512), (120, 168)])
def test_rectify_reaches_40_db(angle: float, width: int, height: int) -> None:
    frame = picture(1000, 1100)
    quad = rotated(np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32) + 100, angle)
    reference = oracle.supersampled(frame, True, quad, INPUT_SIZE)
    assert oracle.psnr(warped(frame, quad, INPUT_SIZE), reference) >= 40.0


@pytest.mark.parametrize("shape", [(1024, 734, 3), (512, 367, 3), (342, 245, 3), (720, 1280, 3), (150, 100, 3)])
def test_whole_agrees_with_rectify(shape: tuple[int, int, int]) -> None:
    frame = make_frame(picture(*shape[:2]))
    quad = full_quad(frame.pixels)
    if shape[1] > shape[0]:
        quad = np.roll(quad, 1, axis=-2)  # a card in landscape is turned clockwise: its lower left comes first
    one = np.empty((1, INPUT_SIZE, INPUT_SIZE, 3), dtype=np.uint8)
    two = np.empty_like(one[0])
    rectify(frame, quad, one)
    whole(frame, two)
    difference = np.abs(one[0].astype(int) - two)
    assert difference.mean() < 1.5
    assert oracle.psnr(two, oracle.supersampled(frame.pixels, True, quad, INPUT_SIZE)) >= 40.0


def test_resize_to_any_size() -> None:
    frame = make_frame(picture(90, 160))
    for shape in ((9, 16, 3), (144, 256, 3), (1, 1, 3)):
        out = np.zeros(shape, np.uint8)
        resize(frame, out)
        assert abs(float(out.mean()) - float(frame.pixels.mean())) < 1
    with pytest.raises(InputError, match="out"):
        resize(frame, np.zeros((9, 16), np.uint8))


def test_a_landscape_frame_of_planes_is_turned_like_any_other() -> None:
    luma, u, v = (
        np.random.default_rng(n).integers(60, 190, shape, dtype=np.uint8)
        for n, shape in enumerate(((40, 90), (20, 45), (20, 45)))
    )
    wide = Frame(luma, "i420", "", (u, v))
    high = Frame(np.rot90(luma, -1).copy(), "i420", "", (np.rot90(u, -1).copy(), np.rot90(v, -1).copy()))
    outs = np.zeros((2, 24, 24, 3), np.uint8)
    whole(wide, outs[0])
    whole(high, outs[1])
    assert np.abs(outs[0].astype(int) - outs[1]).max() <= 2, "rows and columns are averaged in another order"


@given(value=st.integers(0, 255), channels=st.sampled_from([1, 3, 4]), scale=st.floats(0.1, 20.0))
@settings(max_examples=30, deadline=None)
def test_a_plain_frame_stays_plain(value: int, channels: int, scale: float) -> None:
    frame = np.full((50, 60, channels), value, dtype=np.uint8)
    assert (warped(frame, rotated(SLANTED, 0.3, scale), 17) == value).all()
    assert (resized(frame, 13, 17) == value).all()


def test_colours_arrive_as_rgb() -> None:
    blue = np.zeros((40, 40, 3), dtype=np.uint8)
    blue[..., 0] = 255
    assert warped(blue, full_quad(blue), 8)[0, 0].tolist() == [0, 0, 255]
    assert resized(blue, 8, 8, swap_rb=False)[0, 0].tolist() == [255, 0, 0]


def test_rolled_corners_turn_the_output() -> None:
    frame = picture(300, 300)
    quad = np.array([[20, 20], [244, 20], [244, 244], [20, 244]], dtype=np.float32)
    upright, turned = warped(frame, quad, 56), warped(frame, np.roll(quad, 2, axis=0), 56)
    assert np.abs(upright.astype(int) - np.rot90(turned, 2)).mean() < 1.0


def test_threads_do_not_disturb_each_other() -> None:
    frame = picture(400, 500)
    quads = [rotated(UPRIGHT + 100, angle, 3.0) for angle in np.linspace(0, 3, 16)]
    expected = [warped(frame, quad, 64) for quad in quads]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            for got, want in zip(pool.map(lambda quad: warped(frame, quad, 64), quads), expected, strict=True):
                np.testing.assert_array_equal(got, want)


# --- bad input

BAD_QUADS = {
    "NaN": [[np.nan, 0], [9, 0], [9, 9], [0, 9]],
    "infinite": [[0, 0], [np.inf, 0], [9, 9], [0, 9]],
    "far away": [[0, 0], [1e30, 0], [1e30, 9], [0, 9]],
    "one point": [[5, 5], [5, 5], [5, 5], [5, 5]],
    "a line": [[0, 0], [9, 9], [18, 18], [27, 27]],
    "a triangle": [[0, 0], [9, 0], [18, 0], [9, 18]],
    "crossing itself": [[0, 0], [30, 30], [30, 0], [0, 30]],
    "concave": [[0, 0], [30, 0], [8, 8], [0, 30]],
    "counter-clockwise": [[0, 0], [0, 30], [30, 30], [30, 0]],
    "tiny": [[0, 0], [3.9, 0], [3.9, 3.9], [0, 3.9]],
}


@pytest.mark.parametrize("fault", BAD_QUADS)
def test_bad_quads_are_refused_before_a_byte_is_written(fault: str) -> None:
    frame, out = make_frame(noise(40, 40)), np.full((2, 16, 16, 3), 77, dtype=np.uint8)
    quads = np.array([UPRIGHT, BAD_QUADS[fault]], dtype=np.float32)
    with pytest.raises(InputError, match="quad 1"):
        rectify(frame, quads, out)
    assert (out == 77).all()


@pytest.mark.parametrize("fault", ["NaN", "infinite", "one point", "a line", "concave", "crossing itself"])
def test_the_kernel_itself_refuses_what_it_cannot_map(fault: str) -> None:
    out = np.full((2, 16, 16, 3), 77, dtype=np.uint8)
    with pytest.raises(ValueError, match="quad 1"):
        _image.rectify(noise(40, 40), True, np.array([UPRIGHT, BAD_QUADS[fault]], dtype=np.float32), out)
    assert (out == 77).all()


@pytest.mark.parametrize("shape", [(3, 2), (8,), (1, 4, 3), (2, 2, 4, 2), (0,)])
def test_quads_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="expected \\(n, 4, 2\\)"):
        rectify(make_frame(noise(40, 40)), np.zeros(shape, dtype=np.float32), np.zeros((1, 16, 16, 3), dtype=np.uint8))


def bad_outputs() -> dict[str, Any]:
    read_only = np.zeros((1, 16, 16, 3), dtype=np.uint8)
    read_only.setflags(write=False)
    return {
        "read-only": read_only,
        "float": np.zeros((1, 16, 16, 3), dtype=np.float32),
        "strided": np.zeros((1, 16, 32, 3), dtype=np.uint8)[:, :, ::2],
        "short": np.zeros((1, 16, 15, 3), dtype=np.uint8),
        "too few": np.zeros((0, 16, 16, 3), dtype=np.uint8),
        "four channels": np.zeros((1, 16, 16, 4), dtype=np.uint8),
        "empty": np.zeros((1, 0, 0, 3), dtype=np.uint8),
        "flat": np.zeros(768, dtype=np.uint8),
        "a list": [[1]],
    }


@pytest.mark.parametrize("fault", bad_outputs())
def test_bad_outputs_are_refused(fault: str) -> None:
    out = bad_outputs()[fault]
    with pytest.raises(InputError, match="out: expected"):
        rectify(make_frame(noise(100, 90)), UPRIGHT, out)
    with pytest.raises(InputError, match="out: expected"):
        whole(make_frame(noise(100, 90)), out[0] if isinstance(out, np.ndarray) and len(out) and out.ndim > 1 else out)
    with pytest.raises((TypeError, ValueError)):
        _image.rectify(noise(100, 90), True, UPRIGHT[None], out)


def test_a_huge_output_is_refused_before_a_byte_is_written() -> None:
    row = np.zeros(3, np.uint8)
    huge = np.lib.stride_tricks.as_strided(row, (MAX_SIDE + 1, MAX_SIDE + 1, 3), (0, 0, 1))
    with pytest.raises(InputError, match="out: expected"):
        whole(make_frame(noise(9, 9)), huge)
    big = np.zeros((1, MAX_SIDE + 1, MAX_SIDE + 1, 3), np.uint8)
    with pytest.raises(InputError, match="at most 4096"):
        rectify(make_frame(noise(100, 90)), UPRIGHT, big)
    with pytest.raises(ValueError, match="1 to 4096"):
        _image.rectify(noise(100, 90), True, UPRIGHT[None], big)
    with pytest.raises(ValueError, match="1 to 4096"):
        _image.resize(noise(100, 90), True, big[0])
    assert not big.any()


@pytest.mark.parametrize("shape", [(0, 4, 3), (4, 0, 3), (4, 4, 2), (4, 4, 5), (4, 4, 0)])
def test_the_kernel_refuses_frames_it_cannot_read(shape: tuple[int, ...]) -> None:
    frame, out = np.zeros(shape, dtype=np.uint8), np.full((1, 8, 8, 3), 77, dtype=np.uint8)
    with pytest.raises(ValueError, match="frame: expected"):
        _image.rectify(frame, True, UPRIGHT[None], out)
    with pytest.raises(ValueError, match="frame: expected"):
        _image.resize(frame, True, out[0])
    assert (out == 77).all()


def test_no_quads_write_nothing() -> None:
    rectify(make_frame(noise(40, 40)), np.zeros((0, 4, 2), dtype=np.float32), np.zeros((0, 16, 16, 3), dtype=np.uint8))


def test_grey_frames_and_integer_quads() -> None:
    grey, out = noise(100, 90, 1), np.empty((1, 16, 16, 3), dtype=np.uint8)
    rectify(make_frame(grey[:, :, 0]), UPRIGHT.astype(np.int64), out)
    np.testing.assert_array_equal(out[0], warped(grey, UPRIGHT, 16))
    whole(make_frame(grey[:, :, 0]), out[0])
    np.testing.assert_array_equal(out[0], resized(grey, 16, 16))
