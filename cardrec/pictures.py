"""pictures.sqlite: small pictures of a segment's rows, as WebP, for the second look (`cardrec.compare`). Optional."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cardrec.errors import InputError
from cardrec.files import unsound
from cardrec.rectify import resize

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from cardrec.errors import CatalogFormatError
    from cardrec.image import Frame

__all__ = ["MAX_HEIGHT_PX", "Pictures", "PicturesWriter", "shrunk"]

MAX_HEIGHT_PX = 320
"""Longest side of a stored picture."""
QUALITY = 75
"""Of WebP: 12,900 bytes for a picture of 229x320 in the mean (60: 11,000; 90: 22,000; 17 cards of Pokemon TCG
Pocket; 40 of Redemption: 12,800)."""

_MAX_BYTES = 1 << 20
_TABLE = "CREATE TABLE pictures(row INTEGER PRIMARY KEY, webp BLOB NOT NULL)"


def shrunk(frame: Frame) -> bytes:
    """The picture of a whole card as it is stored: upright, at most `MAX_HEIGHT_PX` high, WebP.

    A card in landscape is turned a quarter clockwise, as `cardrec.rectify.whole` does for the model.
    """
    import cv2

    width, height = frame.size_wh
    share = min(1.0, MAX_HEIGHT_PX / max(width, height))
    rgb = np.empty((max(1, round(height * share)), max(1, round(width * share)), 3), np.uint8)
    resize(frame, rgb)
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    upright = cv2.rotate(bgr, cv2.ROTATE_90_CLOCKWISE) if width > height else bgr
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


class PicturesWriter:
    """Writes one pictures.sqlite as a stream; without a journal, since a file that is not finished is never read."""

    def __init__(self, path: Path) -> None:
        import sqlite3

        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for statement in ("PRAGMA journal_mode=OFF", "PRAGMA synchronous=OFF", "BEGIN", _TABLE):
            self._connection.execute(statement)

    def add(self, first_row: int, pictures: Sequence[bytes | None]) -> None:
        """Keep the pictures of the rows from ``first_row`` on; a row may have none."""
        rows = [(first_row + n, each) for n, each in enumerate(pictures) if each is not None]
        self._connection.executemany("INSERT INTO pictures VALUES (?, ?)", rows)

    def finish(self) -> None:
        """Write everything out."""
        self._connection.execute("COMMIT")
        self.close()

    def close(self) -> None:
        """Let go of the file, finished or not; idempotent."""
        self._connection.close()


class Pictures:
    """A pictures.sqlite opened read-only and immutable; the open file outlives its name. Safe to use from threads."""

    def __init__(self, path: Path, rows: int) -> None:
        """Open and check that the file has the schema, and no picture of a row that the segment does not have."""
        import sqlite3

        self._path, self._rows = path, rows
        self._lock = threading.Lock()
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        try:
            self._connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            path.stat()  # if it is missing, that is the better error: a compaction may have deleted it just now
            raise self._unsound(f"can't be opened ({error})") from error
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def _check(self) -> None:
        with self._reading():
            self._connection.execute("PRAGMA trusted_schema=OFF")
            self._connection.execute("PRAGMA query_only=ON")
            schema = self._connection.execute("SELECT sql FROM sqlite_master").fetchall()
            if schema != [(_TABLE,)]:
                raise self._unsound("does not have the table of a catalog's pictures")
            low, high = self._connection.execute(
                "SELECT (SELECT min(row) FROM pictures), (SELECT max(row) FROM pictures)"
            ).fetchone()
        if low is None or low < 0 or high >= self._rows:
            raise self._unsound(f"has the rows {low} to {high}, some of 0 to {self._rows - 1} were expected")

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        import sqlite3

        with self._lock:
            try:
                yield
            except (sqlite3.Error, UnicodeDecodeError) as error:
                raise self._unsound(f"can't be read ({error})") from error

    def data(self, row: int) -> bytes | None:
        """The stored bytes of a row of the segment; None where it has no picture."""
        with self._reading():
            found = self._connection.execute("SELECT webp FROM pictures WHERE row=?", (row,)).fetchone()
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
        with self._reading():
            answer = self._connection.execute("PRAGMA integrity_check(1)").fetchone()
        if answer != ("ok",):
            raise self._unsound(f"fails SQLite's integrity check ({answer[0]})")
        for row in range(self._rows):
            self.picture(row)

    def close(self) -> None:
        """Let go of the file; idempotent."""
        self._connection.close()

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # a connection that was never opened
            self._connection.close()

    def _unsound(self, what: str) -> CatalogFormatError:
        return unsound(self._path, what)
