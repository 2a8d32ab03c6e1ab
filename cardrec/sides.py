"""Where exactly the four sides of an outline lie: strips of the frame along them, and what the side network says.

A strip shows one side lengthwise, with as much of the outside as of the inside. For each of a few places along it the
network gives the chance that the side crosses there, for each place across; of all straight lines from one end of the
strip to the other, the likeliest is taken, a line near the middle being likelier than one that only just is in the
strip: a sleeve's rim and a pocket's seam are sides, too. Four lines meet in four corners.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cardrec import _detect
from cardrec.quads import NEXT, areas

if TYPE_CHECKING:
    from cardrec.image import Frame

__all__ = ["ACROSS", "ALONG", "PLACES", "REACH", "decode", "side_positions", "strips"]

ALONG, ACROSS = 16, 32
"""Pixels of a strip: along the side, and across it from the outside to the inside."""

PLACES = 8
"""Along the side, for which the network answers."""

REACH = 0.08
"""Half of a strip's width, as a share of the square root of the card's area."""

_FIRST, _LAST = 0.05, 0.95  # the part of a side that a strip shows: rounded corners (3 of 63 mm) are left out


def strips(frame: Frame, quads: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The strips along the sides of outlines (n, 4, 2), RGB, of NV12 and I420 luma: (n * 4, ALONG, ACROSS, 3)."""
    return _detect.strips(frame.pixels, frame.color == "bgr", quads)


def decode(quads: NDArray[np.float32], said: NDArray[np.float32]) -> NDArray[np.float32]:
    """Outlines (n, 4, 2), of what the network says (n * 4, PLACES, ACROSS) of the strips of these."""
    return _detect.with_sides(quads, said)


def side_positions(quads: NDArray[np.float32], truth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where the true sides cross the strips of these quads: (n * 4, PLACES), 0..ACROSS from the outside in.

    The sides of ``truth`` (n, 4, 2) come in the order of the quads'; values beyond the range miss the strip.
    """
    starts, steps, normals, reach = _frame(quads)
    along = (_FIRST + (np.arange(PLACES, dtype=np.float32) + 0.5) * ((_LAST - _FIRST) / PLACES))[:, None]
    at = starts[:, :, None] + steps[:, :, None] * along - truth[:, :, None]
    side = (truth[:, NEXT] - truth)[:, :, None]
    normals = normals[:, :, None]
    away = at[..., 0] * side[..., 1] - at[..., 1] * side[..., 0]
    slope = normals[..., 0] * side[..., 1] - normals[..., 1] * side[..., 0]
    offset = -away / np.where(np.abs(slope) < 1e-6, 1e-6, slope) / reach
    return np.asarray((offset + 1) * (ACROSS / 2), np.float32).reshape(-1, PLACES)


def _frame(quads: NDArray[np.float32]) -> tuple[Any, Any, Any, Any]:
    """Of each side its start, the way along it, its unit normal inward, each (n, 4, 2); and the reach, (n, 1, 1)."""
    steps = quads[:, NEXT] - quads
    lengths = np.sqrt((steps * steps).sum(axis=2, keepdims=True)) + np.float32(1e-6)
    normals = np.concatenate([-steps[..., 1:], steps[..., :1]], axis=2) / lengths
    return quads, steps, normals, np.float32(REACH) * np.sqrt(areas(quads)).astype(np.float32)[:, None, None]
