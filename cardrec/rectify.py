"""From a quad of a frame to the model's input: the one way, for catalogs and queries alike.

Coordinates are in frame pixels: the first pixel of the frame covers 0..1 in x and y, its centre is at 0.5, and the
corners of the whole frame are (0, 0), (width, 0), (width, height), (0, height). Sampling beyond the frame takes the
nearest pixel.

Of an NV12 or I420 frame, luma, U and V are each rectified like a grey picture, chroma by the quad of half the size, and
then converted to RGB (BT.601, limited range; the formula stands in `csrc/image/kernels.hpp`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cardrec import _image
from cardrec.errors import InputError

if TYPE_CHECKING:
    from cardrec.image import Frame

__all__ = ["INPUT_SIZE", "MAX_SIDE", "check_quads", "rectify", "resize", "simd_tier", "upright_copy", "whole"]

INPUT_SIZE = 224
"""Side of the model's square input in pixels."""

MAX_SIDE = _image.MAX_SIDE
"""The largest side of an output in pixels: 4096."""

MIN_AREA_PX = 16.0
"""Quads smaller than this hold no picture."""

MAX_COORDINATE_PX = 2.0**24
"""Beyond this a float32 no longer holds whole pixels."""


def rectify(frame: Frame, quads_px: ArrayLike, out: NDArray[np.uint8]) -> None:
    """Stretches each quad to a square of RGB bytes, averaging evenly spread samples of each output pixel's footprint.

    Args:
        frame: the picture.
        quads_px: (n, 4, 2), or (4, 2) for one: top left, top right, bottom right, bottom left, in frame pixels.
        out: (n, side, side, 3) uint8, C-contiguous, written in place; side is usually ``INPUT_SIZE``, at most
            ``MAX_SIDE``.

    Raises:
        InputError: a quad that is not finite, not convex, not clockwise or under 16 square pixels; an ``out`` of
            another kind. Nothing has been written then.

    Example:
        >>> import numpy as np
        >>> from cardrec.image import load
        >>> frame = load(np.full((64, 48, 3), 200, dtype=np.uint8))
        >>> crop = np.empty((1, INPUT_SIZE, INPUT_SIZE, 3), dtype=np.uint8)
        >>> rectify(frame, np.array([[[4, 4], [40, 8], [38, 60], [2, 56]]], dtype=np.float32), crop)
        >>> int(crop.min()), int(crop.max())
        (200, 200)
    """
    quads = check_quads(quads_px)
    _check_out(out, (len(quads), _side(out), _side(out), 3))
    try:
        if frame.chroma is None:
            _image.rectify(_packed(frame), frame.color == "bgr", quads, out)
        else:
            _image.rectify_yuv(frame.pixels, *frame.chroma, quads, out)
    except ValueError as error:  # so slanted that its scale varies a thousandfold; or CARDREC_SIMD is wrong
        raise InputError(str(error)) from error


def whole(frame: Frame, out: NDArray[np.uint8]) -> None:
    """Stretches the whole frame to RGB bytes: what ``rectify`` gives for its corners, with the mean taken exactly.

    A picture that is wider than high shows a card in landscape, which is turned a quarter clockwise: a detector
    sees a card's long and short sides, not how its print lies.

    Args:
        frame: the picture, such as a catalog image.
        out: (side, side, 3) uint8, C-contiguous, written in place; side is usually ``INPUT_SIZE``.

    Raises:
        InputError: an ``out`` of another kind. Nothing has been written then.
    """
    _check_out(out, (_side(out), _side(out), 3))
    resize(frame, out)
    width, height = frame.size_wh
    if width > height:
        import cv2

        out[:] = cv2.rotate(out, cv2.ROTATE_90_CLOCKWISE)


def resize(frame: Frame, out: NDArray[np.uint8]) -> None:
    """The whole frame as RGB bytes of another size, each the mean over the part of the frame that it covers.

    Args:
        frame: the picture.
        out: (height, width, 3) uint8, C-contiguous, written in place.

    Raises:
        InputError: an ``out`` of another kind. Nothing has been written then.
    """
    _check_out(out, (*out.shape[:2], 3))
    try:
        if frame.chroma is None:
            _image.resize(_packed(frame), frame.color == "bgr", out)
        else:
            _image.resize_yuv(frame.pixels, *frame.chroma, out)
    except ValueError as error:  # CARDREC_SIMD is wrong
        raise InputError(str(error)) from error


def upright_copy(frame: Frame, longest_px: int) -> NDArray[np.uint8]:
    """The picture of a card as RGB, no side over ``longest_px``; one in landscape turned as `whole` turns it."""
    width, height = frame.size_wh
    scale = min(1.0, longest_px / max(width, height))
    copy = np.empty((max(1, round(height * scale)), max(1, round(width * scale)), 3), np.uint8)
    resize(frame, copy)
    if width <= height:
        return copy
    import cv2

    return np.asarray(cv2.rotate(copy, cv2.ROTATE_90_CLOCKWISE), np.uint8)


def simd_tier() -> str:
    """The instruction set of the kernels used here: that of CARDREC_SIMD, or the fastest; or the best below it.

    Raises:
        InputError: CARDREC_SIMD names one that this processor does not have.
    """
    try:
        return _image.simd_tier()
    except ValueError as error:
        raise InputError(str(error)) from error


def check_quads(quads_px: ArrayLike) -> NDArray[np.float32]:
    """The quads as (n, 4, 2) float32, C-contiguous.

    Raises:
        InputError: another shape, or a quad that is not finite, convex, clockwise and of at least 16 square pixels.
    """
    given = np.asarray(quads_px)
    if given.dtype.kind not in "fiu" or given.shape[-2:] != (4, 2) or given.ndim not in (2, 3):
        raise InputError(f"quads: expected (n, 4, 2) numbers, got {given.shape} {given.dtype}")
    wide = given.reshape(-1, 4, 2).astype(np.float64)
    for i, quad in enumerate(wide.tolist()):
        fault = _fault(quad)
        if fault:
            expected = "expected top left, top right, bottom right, bottom left"
            raise InputError(f"quads: quad {i} {fault}; {expected}, got {quad}")
    return np.ascontiguousarray(wide, dtype=np.float32)


def _fault(quad: list[list[float]]) -> str:
    """What is wrong with a quad's corners, or an empty string. In plain Python: NumPy takes 18 us longer for one."""
    if not all(abs(coordinate) <= MAX_COORDINATE_PX for corner in quad for coordinate in corner):  # NaN too
        return "is not finite or lies outside any picture"
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = quad
    sides = [(x1 - x0, y1 - y0), (x2 - x1, y2 - y1), (x3 - x2, y3 - y2), (x0 - x3, y0 - y3)]
    turns = [ax * by - ay * bx for (ax, ay), (bx, by) in zip(sides, sides[1:] + sides[:1], strict=True)]
    if all(turn < 0.0 for turn in turns):
        return "is not clockwise"
    area = 0.5 * ((x2 - x0) * (y3 - y1) - (y2 - y0) * (x3 - x1))
    if abs(area) < MIN_AREA_PX:
        return f"covers {abs(area):.1f} square pixels, fewer than {MIN_AREA_PX:.0f}"
    if not all(turn > 0.0 for turn in turns):
        return "is not convex"
    return ""


def _packed(frame: Frame) -> NDArray[np.uint8]:
    pixels = frame.pixels
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _side(out: NDArray[np.uint8]) -> int:
    """The side that ``out`` seems to want: its last but one axis."""
    return int(out.shape[-2]) if isinstance(out, np.ndarray) and out.ndim >= 3 and out.shape[-2] else INPUT_SIZE


def _check_out(out: NDArray[np.uint8], shape: tuple[int, ...]) -> None:
    if not isinstance(out, np.ndarray) or out.dtype != np.uint8 or out.shape != shape or 0 in shape[1:]:
        got = f"{out.shape} {out.dtype}" if isinstance(out, np.ndarray) else type(out).__name__
        raise InputError(f"out: expected a {shape} uint8 array, got {got}")
    if shape[-2] > MAX_SIDE:
        raise InputError(f"out: expected sides of at most {MAX_SIDE} pixels, got {out.shape}")
    if not out.flags.c_contiguous or not out.flags.writeable:
        raise InputError("out: expected a writable, C-contiguous array, got a read-only or strided one")
