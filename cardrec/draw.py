"""Draws results or tracks into their picture: outlines, names, figures, and a colour for each status."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cardrec.draw_labels import Drawn, lay_out, write
from cardrec.image import load
from cardrec.labels import answer, track_answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cardrec.image import Frame
    from cardrec.track import Track
    from cardrec.types import Card, Color, ImageLike, Result

__all__ = ["COLORS_RGB", "annotate", "annotate_tracks"]

COLORS_RGB = {"match": (0, 120, 88), "ambiguous": (230, 159, 0), "unknown": (160, 50, 50)}
"""After Okabe and Ito's palette for the colour-blind; the label says the status as well."""

_DASHES = 6  # to a side of a card that is not to be seen
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
    return _drawn(image, [_card(card) for card in result.cards], color)


def annotate_tracks(
    image: ImageLike, tracks: Sequence[Track], time_s: float, *, color: Color = "bgr"
) -> NDArray[np.uint8]:
    """A copy of the picture with each track's outline, name, status and confidence drawn into it.

    Names are those that the cards' frames together have given them, so that they do not flicker. A card that is not to
    be seen in this frame, under a hand for example, has dashes where it was seen last.

    Args:
        image: the frame.
        tracks: as `Tracker.tracks` or `Tracking.tracks` give them after this frame.
        time_s: when it was taken, as the tracker was told.
        color: as `annotate`.

    Returns:
        As `annotate`.

    Raises:
        InputError: the picture can't be used.
        OSError: the path can't be read.
    """
    return _drawn(image, [_track(track, time_s) for track in tracks], color)


def _card(card: Card) -> Drawn:
    """The answer; below it the figures it rests on."""
    score = f"{card.matches[0].score:.2f}" if card.matches else "-"
    return Drawn(card.corners_px, (answer(card), f"{score} {card.status} {card.confidence:.0%}"), card.status)


def _track(track: Track, time_s: float) -> Drawn:
    """The answer; below it which track it is, and how sure its identity is."""
    unseen_s = time_s - track.last_s
    if unseen_s > 0:
        state = f"unseen {unseen_s:.1f} s"
    else:
        state = "ambiguous" if track.status == "ambiguous" else f"{track.status} {track.confidence:.0%}"
    return Drawn(
        track.corners_px, (track_answer(track), f"card {track.id}: {state}"), track.status, hidden=unseen_s > 0
    )


def _drawn(image: ImageLike, cards: Sequence[Drawn], color: Color) -> NDArray[np.uint8]:
    """A copy of the picture with these outlines and their labels."""
    frame = load(image, color=color)
    canvas = _as_rgb(frame)
    for card in cards:
        _outline(canvas, card)
    canvas = write(canvas, lay_out(cards, frame.size_wh), COLORS_RGB)
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


def _outline(canvas: NDArray[np.uint8], card: Drawn) -> None:
    """The outline, dark below and coloured above so that it shows on any background, and the top left corner."""
    import cv2

    width = max(2, round(min(canvas.shape[:2]) / 200))
    # From our coordinates, whose origin is the first pixel's corner, to OpenCV's, where it is that pixel's centre.
    corners = np.clip(np.nan_to_num(card.corners_px - 0.5), -_FARTHEST_PX, _FARTHEST_PX)
    points = np.round(corners * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    top_left, radius = (int(points[0, 0]), int(points[0, 1])), (2 * width) << _SUBPIXEL_BITS
    lines = _dashes(points) if card.hidden else [points]
    for ink, extra in (((0, 0, 0), 2), (COLORS_RGB[card.status], 0)):
        cv2.polylines(canvas, lines, not card.hidden, ink, width + extra, cv2.LINE_AA, _SUBPIXEL_BITS)
        cv2.circle(canvas, top_left, radius, ink, extra or -1, cv2.LINE_AA, _SUBPIXEL_BITS)


def _dashes(points: NDArray[np.int32]) -> list[NDArray[np.int32]]:
    """The sides of a quad in dashes, of which two meet at each corner."""
    share = np.arange(2 * _DASHES)[:, None] / (2 * _DASHES - 1)
    sides = [start * (1 - share) + end * share for start, end in zip(points, np.roll(points, -1, axis=0), strict=True)]
    return list(np.round(np.concatenate(sides)).astype(np.int32).reshape(-1, 2, 2))
