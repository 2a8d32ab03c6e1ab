"""Contact sheets of frames in which a detector failed: true outlines green, detections red, what is ignored grey."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cardrec.image import Frame
from training.detection_frames import COUNTED, Shot
from training.detection_scoring import Assignment, Quads

Picture = NDArray[np.uint8]

TILE_WH = (480, 270)
CAPTION_PX = 20
COLUMNS, ROWS = 4, 3
SHEETS = 6
"""Most for a part: its first failures, which of simulated frames are as good as any."""

TRUE_BGR, FOUND_BGR, IGNORED_BGR = (60, 220, 60), (50, 50, 255), (170, 170, 170)
_SUBPIXEL_BITS = 4
_FARTHEST_PX = 10_000.0


class Sheets:
    """Collects failures of one part and writes them, twelve a sheet, to ``folder/NAME-1.png`` and so on."""

    def __init__(self, folder: Path, name: str) -> None:
        self._stem = folder / name.replace(",", "").replace(" ", "-")
        self._tiles: list[Picture] = []
        self._written = 0

    def add(self, shot: Shot, found: Quads, result: Assignment) -> None:
        """Draws one more frame; after the last sheet it is left out."""
        if self._written < SHEETS:
            self._tiles.append(tile(shot, found, result))
            if len(self._tiles) == COLUMNS * ROWS:
                self.close()

    def close(self) -> None:
        """Writes what is left."""
        if not self._tiles:
            return
        self._written += 1
        path = self._stem.with_name(f"{self._stem.name}-{self._written}.png")
        if not cv2.imwrite(str(path), sheet(self._tiles)):
            raise OSError(f"could not write {path}; is the folder writable?")
        self._tiles.clear()


def sheet(tiles: list[Picture]) -> Picture:
    """Up to twelve tiles as one picture."""
    blank = [np.zeros_like(tiles[0])] * (COLUMNS * ROWS - len(tiles))
    padded = [*tiles, *blank]
    return np.vstack([np.hstack(padded[row : row + COLUMNS]) for row in range(0, COLUMNS * ROWS, COLUMNS)])


def tile(shot: Shot, found: Quads, result: Assignment) -> Picture:
    """The frame, small, with outlines and a caption: (290, 480, 3) BGR."""
    canvas, scale = _small(shot.frame)
    counted = shot.seen(*COUNTED)
    for quads, ink in (
        (shot.quads_px[~counted], IGNORED_BGR),
        (shot.quads_px[counted], TRUE_BGR),
        (found, FOUND_BGR),
    ):
        for quad in quads:
            _outline(canvas, quad * scale, ink)
    picture = np.zeros((TILE_WH[1] + CAPTION_PX, TILE_WH[0], 3), np.uint8)
    picture[CAPTION_PX : CAPTION_PX + canvas.shape[0], : canvas.shape[1]] = canvas
    cv2.putText(
        picture, caption(shot, result), (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA
    )
    return picture


def caption(shot: Shot, result: Assignment) -> str:
    """Name, IoU of each card in per cent, the worst first, and what is false."""
    overlaps = " ".join(f"{100 * value:.0f}" for value in np.sort(result.iou)[:9])
    false = f", {result.false} false" if result.false else ""
    return f"{shot.name}: IoU {overlaps or '-'}{false}"


def _small(frame: Frame) -> tuple[Picture, float]:
    """A BGR copy that fits a tile, and how much smaller it is."""
    width, height = frame.size_wh
    scale = min(TILE_WH[0] / width, TILE_WH[1] / height)
    pixels = frame.pixels if frame.pixels.ndim == 3 else np.repeat(frame.pixels[:, :, None], 3, axis=2)
    ordered = pixels[:, :, 2::-1] if frame.color == "rgb" else pixels[:, :, :3]
    size_wh = max(1, int(width * scale)), max(1, int(height * scale))
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(ordered), size_wh, interpolation=smooth), np.uint8), scale


def _outline(canvas: Picture, quad: Quads, ink: tuple[int, int, int]) -> None:
    corners = np.clip(np.nan_to_num(quad - 0.5), -_FARTHEST_PX, _FARTHEST_PX)
    points = np.round(corners * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.polylines(canvas, [points], True, ink, 1, cv2.LINE_AA, _SUBPIXEL_BITS)
