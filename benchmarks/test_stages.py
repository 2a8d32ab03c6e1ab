"""Each stage of `identify` but the search, on a 1280x720 frame with one card, one thread.

make bench
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import budgets
from benchmarks.conftest import camera_frame, true_cards
from benchmarks.measure import alternate_ms
from benchmarks.stage import Stage
from cardrec import _image
from cardrec.decide import Calibration, decide
from cardrec.detect import OutlineDetector
from cardrec.embed import open_encoder
from cardrec.encode import unit
from cardrec.image import Frame, load
from cardrec.model import Model
from cardrec.network import open_session
from cardrec.quads import iou
from cardrec.rectify import rectify, whole
from cardrec.types import Color

CARD_PX = np.array([[0, 0], [600, 0], [600, 840], [0, 840]], np.float32)
RECTIFY_LIMIT_DB = 40.0
"""Against 8x8 samples for each output pixel."""
RESIZE_LIMIT = 5.0
"""Times OpenCV's."""

Pixels = NDArray[np.uint8]


@pytest.fixture
def crop() -> Pixels:
    return np.zeros((1, 224, 224, 3), np.uint8)


def test_detect(stage: Stage, frame: Frame) -> None:
    detector = OutlineDetector()
    found = stage("detect", lambda: detector.detect(frame, max_cards=1), budget_ms=budgets.DETECT)
    ((_, corners_px),) = true_cards("desk")
    assert len(found) == 1
    stage.right("IoU", iou(found[0].corners_px, corners_px))


def test_detect_on_an_empty_table(stage: Stage) -> None:
    detector, empty = OutlineDetector(), camera_frame("empty")
    found = stage("detect, empty table", lambda: detector.detect(empty, max_cards=1), budget_ms=budgets.DETECT)
    stage.right("false cards", len(found))


def detailed(height: int, width: int) -> Pixels:
    """Fine print, edges and gradients, as sharp as a good lens shows them."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    waves = 128 + 60 * np.sin(x / 9.0) * np.cos(y / 13.0)
    print_ = np.where((y % 14 < 2) & (x % 160 < 140), 20, waves)
    boxes = np.where((x // 90 + y // 70) % 5 == 0, 230 - print_ / 4, print_)
    sharp = np.stack([boxes, np.roll(boxes, 7, axis=1), 255 - boxes], axis=2)
    return np.asarray(cv2.GaussianBlur(sharp, (3, 3), 0), np.uint8)


def psnr(picture: Pixels, reference: NDArray[np.float64]) -> float:
    return float(10 * np.log10(255**2 / np.mean((picture - reference) ** 2)))


def warp(pixels: NDArray[np.generic], quad: NDArray[np.float32], side: int) -> NDArray[np.generic]:
    """A quad as a square, one bilinear sample for each pixel."""
    corners = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32)
    # OpenCV counts from the centre of the first pixel.
    to_square = cv2.getPerspectiveTransform(quad - np.float32(0.5), corners - np.float32(0.5))
    return np.asarray(cv2.warpPerspective(pixels, to_square, (side, side), borderMode=cv2.BORDER_REPLICATE))  # type: ignore[arg-type, call-overload, unused-ignore] # any pixels


def opencv_card(pixels: Pixels, quad: NDArray[np.float32]) -> Pixels:
    """OpenCV's best at about our error: a warp to 448 and the average of 2x2, RGB from BGR."""
    small = cv2.resize(warp(pixels, quad, 448), (224, 224), interpolation=cv2.INTER_AREA)  # type: ignore[arg-type, call-overload, unused-ignore] # any pixels
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), np.uint8)


def supersampled(pixels: NDArray[np.generic], quad: NDArray[np.float32]) -> NDArray[np.float64]:
    """What a rectification approximates: the mean of 8x8 samples for each pixel."""
    fine = warp(pixels, quad, 224 * 8).astype(np.float64)
    return np.asarray(fine.reshape(224, 8, 224, 8, -1).mean(axis=(1, 3)))


@pytest.mark.parametrize("angle", [0, 7, 45, 90])
def test_rectify_beside_opencv(stage: Stage, angle: int, crop: Pixels) -> None:
    """A card of 600x840 pixels, beside OpenCV's warp and average: both in turn, with their errors."""
    pixels = detailed(1080, 1280)
    turn = cv2.getRotationMatrix2D((300, 420), angle, 1.0)
    quad = (CARD_PX @ turn[:, :2].T + turn[:, 2] + [340, 120]).astype(np.float32)
    picture = load(pixels)
    stage(
        f"rectify, card of 600x840 at {angle} degrees",
        lambda: rectify(picture, quad[None], crop),
        budget_ms=budgets.RECTIFY,
    )
    ratio = stage.beside({"OpenCV": lambda: opencv_card(pixels, quad)})["OpenCV"]
    reference = supersampled(pixels, quad)[..., ::-1]
    ours_db = psnr(crop[0], reference)
    stage.right("PSNR dB", ours_db)
    stage.right("OpenCV's", psnr(opencv_card(pixels, quad), reference))
    assert ours_db >= RECTIFY_LIMIT_DB
    assert ratio < 1


def to_rgb(luma: NDArray[np.float64], u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    """BT.601, limited range, in exact numbers."""
    y, blue, red = 1.164383 * (luma - 16), u - 128, v - 128
    rgb = np.stack([y + 1.596027 * red, y - 0.391762 * blue - 0.812968 * red, y + 2.017232 * blue], axis=-1)
    return np.clip(rgb, 0, 255)


@pytest.mark.parametrize("color", ["nv12", "i420"])
def test_rectify_luma_and_chroma(
    stage: Stage, frame: Frame, quads_px: NDArray[np.float32], crop: Pixels, color: Color
) -> None:
    """Beside OpenCV's conversion of the whole frame, warp and average."""
    planes = np.asarray(cv2.cvtColor(np.ascontiguousarray(frame.pixels), cv2.COLOR_BGR2YUV_I420), np.uint8)
    u, v = planes[720:].reshape(2, 360, 640)
    code = cv2.COLOR_YUV2BGR_I420
    if color == "nv12":
        planes[720:] = np.stack([u, v], axis=-1).reshape(360, 1280)
        u, v = np.moveaxis(planes[720:].reshape(360, 640, 2).copy(), 2, 0)
        code = cv2.COLOR_YUV2BGR_NV12
    picture = load(planes, color=color)
    stage(f"rectify, {color} frame", lambda: rectify(picture, quads_px, crop), budget_ms=budgets.RECTIFY)
    quad = quads_px[0]
    stage.beside({"OpenCV": lambda: opencv_card(np.asarray(cv2.cvtColor(planes, code), np.uint8), quad)})
    chroma = (supersampled(np.ascontiguousarray(plane), quad / 2)[..., 0] for plane in (u, v))
    exact = to_rgb(supersampled(planes[:720], quad)[..., 0], *chroma)
    stage.right("PSNR dB", psnr(crop[0], exact))


def area_weights(size: int, outputs: int) -> NDArray[np.float64]:
    """(outputs, size): how much of each pixel an output covers, rows of sum 1."""
    edges = np.arange(outputs + 1) * size / outputs
    pixels = np.arange(size)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.asarray(np.clip(covered, 0, None) * outputs / size)


def test_resize_beside_opencv(stage: Stage, frame: Frame, crop: Pixels) -> None:
    """A 1280x720 picture to 224x224 RGB, beside OpenCV's INTER_AREA and cvtColor, in turn."""

    def theirs() -> Pixels:
        small = cv2.resize(frame.pixels, (224, 224), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), np.uint8)

    stage("resize of a whole picture", lambda: whole(frame, crop[0]))
    ratio = stage.beside({"OpenCV": theirs})["OpenCV"]
    columns, lines = area_weights(1280, 224), area_weights(720, 224)
    exact = np.einsum("ai,ijc,bj->abc", lines, frame.pixels.astype(np.float64), columns, optimize=True)[..., ::-1]
    stage.right("PSNR dB", psnr(crop[0], np.rot90(exact, -1)))  # pictures in landscape are turned, see `whole`
    stage.right("OpenCV's", psnr(theirs(), exact))
    assert ratio * RESIZE_LIMIT <= 1


def test_each_tier_is_faster_than_the_one_below(frame: Frame, quads_px: NDArray[np.float32]) -> None:
    """Otherwise it is not worth having. A comparison of kernels, no stage: it has no row."""
    out = np.zeros((1, 224, 224, 3), np.uint8)

    def run(tier: str) -> Callable[[], None]:
        def once() -> None:
            _image.rectify(frame.pixels, True, quads_px, out, tier)
            _image.resize(frame.pixels, True, out[0], tier)

        return once

    for below, tier in itertools.pairwise(_image.simd_tiers()):
        slow_ms, fast_ms = alternate_ms(run(below), run(tier), rounds=30)
        assert fast_ms < 0.8 * slow_ms, tier


def test_encode(stage: Stage, frame: Frame, quads_px: NDArray[np.float32], photos_right: float) -> None:
    """One card, beside the same network run bare: what slots and bindings cost, or spare."""
    model, encoder = Model.load(), open_encoder(threads=1, backend="onnx")
    session = open_session(model.network, 1)
    name = session.get_inputs()[0].name
    pixels = np.zeros((1, 224, 224, 3), np.uint8)
    rectify(frame, quads_px, pixels)

    def run() -> NDArray[np.float32]:
        with encoder.slot() as slot:
            slot.pixels[:1] = pixels
            slot.submit(1)
            return unit(slot.wait())

    vector = stage("encode", run, budget_ms=budgets.NETWORK)
    stage.beside({"bare ONNX Runtime": lambda: session.run(None, {name: pixels})})
    (bare,) = session.run(None, {name: pixels})
    stage.right("cosine to bare", float(vector[0] @ unit(np.asarray(bare, np.float32))[0]))
    stage.right("photos right", photos_right)
    encoder.close()


def test_decide(stage: Stage) -> None:
    calibration = Calibration.from_numbers(Model.load().calibration)
    scores = [0.99, 0.5, 0.4, 0.3, 0.2]
    status, *_ = stage("decide", lambda: decide(scores, calibration), rounds=2000, budget_ms=budgets.DECIDE)
    assert status == "match"
