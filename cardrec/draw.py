"""Draws a result into its picture: outlines, names, scores, and a colour for each status."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cardrec.draw_labels import lay_out, write
from cardrec.image import load

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cardrec.image import Frame
    from cardrec.types import Card, Color, ImageLike, Result

__all__ = ["COLORS_RGB", "annotate"]

COLORS_RGB = {"match": (0, 120, 88), "ambiguous": (230, 159, 0), "unknown": (160, 50, 50)}
"""After Okabe and Ito's palette for the colour-blind; the label says the status as well."""

_SUBPIXEL_BITS = 4
_FARTHEST_PX = 100_000.0  # corners beyond are drawn as if here, so that OpenCV's fixed-point numbers do not overflow


def annotate(image: ImageLike, result: Result, *, color: Color = "bgr") -> NDArray[np.uint8]:
    """A copy of the picture with each card's outline, name, status and score drawn into it.

    The dot marks the card's own top left corner. Names that do not fit are clipped; no text leaves the picture.

    Args:
        image: the picture that was identified.
        result: what `Recognizer.identify` returned for it.
        color: what an array given holds; also the channel order of the array returned.

    Returns:
        (H, W, 3) uint8, RGB for ``color="rgb"`` and else BGR: as it is by default, `cv2.imwrite` takes it.

    Raises:
        InputError: the picture can't be used.
        OSError: the path can't be read.

    Example:
        >>> cv2.imwrite("out.jpg", annotate("photo.jpg", recognizer.identify("photo.jpg")))
    """
    frame = load(image, color=color)
    canvas = _as_rgb(frame)
    for card in result.cards:
        _outline(canvas, card)
    canvas = write(canvas, lay_out(result.cards, frame.size_wh), COLORS_RGB)
    return canvas if color == "rgb" else np.ascontiguousarray(canvas[:, :, ::-1])


def _as_rgb(frame: Frame) -> NDArray[np.uint8]:
    """A contiguous (H, W, 3) RGB copy of grey, colour, colour with alpha, or luma and chroma."""
    pixels, swap = frame.pixels, frame.color == "bgr"
    if frame.chroma is not None:
        return _converted(pixels, *frame.chroma)
    planes = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if planes.shape[2] == 1:
        return np.repeat(planes, 3, axis=2)
    return np.ascontiguousarray(planes[:, :, 2::-1] if swap else planes[:, :, :3]).copy()


def _converted(luma: NDArray[np.uint8], u: NDArray[np.uint8], v: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB from three planes; what OpenCV takes is I420."""
    import cv2

    height, width = luma.shape
    i420 = np.concatenate([luma.ravel(), u.ravel(), v.ravel()]).reshape(height * 3 // 2, width)
    return np.asarray(cv2.cvtColor(i420, cv2.COLOR_YUV2RGB_I420), np.uint8)


def _outline(canvas: NDArray[np.uint8], card: Card) -> None:
    """The outline, dark below and coloured above so that it shows on any background, and the top left corner."""
    import cv2

    width = max(2, round(min(canvas.shape[:2]) / 200))
    # From our coordinates, whose origin is the first pixel's corner, to OpenCV's, where it is that pixel's centre.
    corners = np.clip(np.nan_to_num(card.corners_px - 0.5), -_FARTHEST_PX, _FARTHEST_PX)
    points = np.round(corners * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    top_left, radius = (int(points[0, 0]), int(points[0, 1])), (2 * width) << _SUBPIXEL_BITS
    for ink, extra in (((0, 0, 0), 2), (COLORS_RGB[card.status], 0)):
        cv2.polylines(canvas, [points], True, ink, width + extra, cv2.LINE_AA, _SUBPIXEL_BITS)
        cv2.circle(canvas, top_left, radius, ink, extra or -1, cv2.LINE_AA, _SUBPIXEL_BITS)
