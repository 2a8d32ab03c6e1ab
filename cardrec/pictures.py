"""Pictures of a segment's rows for the second look (`cardrec.compare`), optional: how they are kept, and as WebP.

pictures.sqlite holds small copies; `cardrec.picture_paths` keeps where the pictures lie instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from cardrec.database import Database, DatabaseWriter
from cardrec.errors import InputError
from cardrec.rectify import upright_copy

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from cardrec.image import Frame

__all__ = ["MAX_HEIGHT_PX", "PictureKind", "Pictures", "PicturesWriter", "kind_of", "shrunk"]

PictureKind = Literal["webp", "paths"]
"""How a catalog keeps pictures: small copies of its own, or only where each lies."""

MAX_HEIGHT_PX = 320
"""Longest side of a picture that is compared."""
QUALITY = 75
"""Of WebP: 12,900 bytes for a picture of 229x320 in the mean (60: 11,000; 90: 22,000; 17 cards of Pokemon TCG
Pocket; 40 of Redemption: 12,800)."""

_MAX_BYTES = 1 << 20
_TABLE = "CREATE TABLE pictures(row INTEGER PRIMARY KEY, webp BLOB NOT NULL)"


def kind_of(pictures: bool | PictureKind) -> PictureKind | None:
    """What ``pictures=`` asks for: True is ``"webp"``, False is none.

    Raises:
        InputError: it is something else.
    """
    if isinstance(pictures, bool):
        return "webp" if pictures else None
    if pictures not in get_args(PictureKind):
        raise InputError(f"pictures is {pictures!r}; True or False, 'webp' or 'paths' was expected")
    return pictures


def shrunk(frame: Frame) -> bytes:
    """The picture of a whole card as it is stored: upright, at most `MAX_HEIGHT_PX` high, WebP.

    A card in landscape is turned a quarter clockwise, as `cardrec.rectify.whole` does for the model.
    """
    import cv2

    upright = cv2.cvtColor(upright_copy(frame, MAX_HEIGHT_PX), cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".webp", upright, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
    if not done:
        raise InputError(f"{frame.name}: OpenCV could not write it as WebP; is this build of OpenCV without WebP?")
    return data.tobytes()


def _decoded(data: object) -> NDArray[np.uint8] | None:
    """RGB pixels, or None of anything but a small lossy WebP: the size is read before anything is decoded."""
    import cv2

    if not isinstance(data, bytes) or len(data) > _MAX_BYTES or data[:4] != b"RIFF" or data[8:16] != b"WEBPVP8 ":
        return None
    width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))  # RFC 6386, 9.1
    if not (1 <= width <= MAX_HEIGHT_PX and 1 <= height <= MAX_HEIGHT_PX):
        return None
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    if bgr is None or bgr.shape != (height, width, 3):
        return None
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


class PicturesWriter(DatabaseWriter):
    """Writes one pictures.sqlite."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _TABLE)

    def add(self, first_row: int, pictures: Sequence[bytes | None]) -> None:
        """Keep the pictures of the rows from ``first_row`` on; a row may have none."""
        rows = [(first_row + n, each) for n, each in enumerate(pictures) if each is not None]
        self._connection.executemany("INSERT INTO pictures VALUES (?, ?)", rows)


class Pictures(Database):
    """A pictures.sqlite, opened; it may hold pictures of some of the segment's rows, and of no others."""

    def _check(self) -> None:
        self._check_table("pictures", _TABLE)

    def data(self, row: int) -> bytes | None:
        """The stored bytes of a row of the segment; None where it has no picture."""
        found = self._one("SELECT webp FROM pictures WHERE row=?", row)
        if found is None:
            return None
        if not isinstance(found[0], bytes):
            raise self._unsound(f"row {row} holds no bytes")
        return found[0]

    def picture(self, row: int) -> NDArray[np.uint8] | None:
        """(h, w, 3) uint8 RGB of a row of the segment; None where it has no picture."""
        data = self.data(row)
        if data is None:
            return None
        pixels = _decoded(data)
        if pixels is None:
            raise self._unsound(f"row {row} is no WebP picture of at most {MAX_HEIGHT_PX} pixels a side")
        return pixels

    def verify(self) -> None:
        """Read everything: SQLite's own integrity check, then each picture."""
        self._check_integrity()
        for row in range(self._rows):
            self.picture(row)
