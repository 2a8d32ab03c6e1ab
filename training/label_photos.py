"""Outlines of the cards in real photos, labelled by eye: reads them, shows them, changes them.

    python -m training.label_photos PHOTO_FOLDER set NAME X0,Y0,X1,Y1,X2,Y2,X3,Y3 [--visible cut] [--raw] [--replace 0]
    python -m training.label_photos PHOTO_FOLDER nudge NAME NUMBER DX0,DY0,DX1,DY1,DX2,DY2,DX3,DY3
    python -m training.label_photos PHOTO_FOLDER remove NAME NUMBER
    python -m training.label_photos PHOTO_FOLDER show NAME OUT.png
    python -m training.label_photos PHOTO_FOLDER sheet OUT_FOLDER [--only 'webcam-*']

`set` takes corners read off the ruler that `show` draws, and moves each side to the strongest straight edge nearby;
`--raw` moves none, `--sides trb` all but the left one, say where another card hides it. Then look at the close-ups of
`show` and `sheet`, the corners and the middles of the sides around the card as a whole: the line is on the card's edge
everywhere, or `nudge` moves the corners by what is missing, in hundredths of the card's width, right and down as the
card is seen upright. In a coloured sleeve the strongest edge is often the sleeve's seam, 2 % outside the card.

The labels, `labels/photos.csv`, hold one card a line: file, four corners, `visible`. Corners are in pixels of the photo
as `cardrec.image.load` decodes it, (0, 0) the outer corner of its first pixel; they start at the card's own top left as
its print reads, and go on clockwise. They are those of the card itself, not of its sleeve; rounded corners count as if
the sides met in a point. A photo without cards has one line, `none`, without corners.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cardrec import image
from cardrec.quads import BEFORE, NEXT, crossings, side_lengths
from cardrec.refine import refine
from training.label_views import SHEET_COLUMNS, Corners, Pixels, close_ups, in_photo, on_card, save, tiled, with_ruler

__all__ = ["LABELS", "Label", "read_labels", "write_labels"]

LABELS = Path(__file__).with_name("labels") / "photos.csv"
HEADER = ["file", "x0", "y0", "x1", "y1", "x2", "y2", "x3", "y3", "visible"]

VISIBLE = {
    "whole": "all four sides seen, less than 5 % hidden",
    "cut": "partly outside the photo, corners estimated",
    "covered": "more than 5 % hidden by something else",
    "back": "the card's back is up",
    "unclear": "the corners can't be placed: neither missed when not found nor false when found",
}
NO_CARD = "none"
FARTHEST = 100_000  # pixels; no photo is so large

SHEET_ROWS = 3
SIDES = "trbl"
REACH = 0.02  # of the card's width: how far `set` may move a side


@dataclass(frozen=True, slots=True, eq=False)
class Label:
    """One card in a photo.

    Attributes:
        corners_px: (4, 2) float32, clockwise from the card's own top left.
        visible: a key of ``VISIBLE``.
    """

    corners_px: Corners
    visible: str


def read_labels(path: Path = LABELS) -> dict[str, list[Label]]:
    """The labels of each photo, by file name; an empty list for a photo without cards.

    Raises:
        OSError: the file can't be read.
        ValueError: a line is malformed; the message names file and line.
    """
    labels: dict[str, list[Label]] = {}
    lines = path.read_text(encoding="utf-8").splitlines() or [""]
    for number, line in enumerate(lines, 1):
        try:
            if number == 1:
                _check(line == ",".join(HEADER), f"expected the header {','.join(HEADER)}")
            else:
                _add(labels, line.split(","))
        except ValueError as error:
            raise ValueError(f"{path}:{number}: {error}") from None
    return labels


def _add(labels: dict[str, list[Label]], row: list[str]) -> None:
    _check(len(row) == len(HEADER), f"{len(row)} fields, expected {len(HEADER)}")
    name, *numbers, visible = row
    _check(name != "", "the file name is missing")
    if visible == NO_CARD:
        _check(not any(numbers) and name not in labels, f"{name} has labels and is said to show no card")
        labels[name] = []
        return
    _check(visible in VISIBLE, f"visible is {visible!r}, expected one of {', '.join([*VISIBLE, NO_CARD])}")
    _check(labels.get(name) != [], f"{name} has labels and is said to show no card")
    corners = np.array([float(text) for text in numbers]).reshape(4, 2)
    _check_outline(corners)
    labels.setdefault(name, []).append(Label(corners.astype(np.float32), visible))


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _check_outline(corners: NDArray[np.floating[Any]]) -> None:
    """Refuses what is not the outline of a card seen from its front; mirrored order fails, for y points down."""
    _check(bool((np.abs(corners) < FARTHEST).all()), f"the corners are not all finite and below {FARTHEST:,}")
    steps = corners[NEXT] - corners
    turns = steps[BEFORE, 0] * steps[:, 1] - steps[BEFORE, 1] * steps[:, 0]
    _check(bool((turns > 0).all()), "the corners don't go clockwise round a convex outline")


def write_labels(labels: dict[str, list[Label]], path: Path = LABELS) -> None:
    """Writes the file beside its place and renames it; photos by name, the cards of one in their order."""
    lines = [",".join(HEADER)]
    for name, cards in sorted(labels.items()):
        for card in cards:
            _check_outline(card.corners_px)
            lines.append(",".join([name, *(f"{value:.1f}" for value in card.corners_px.ravel()), card.visible]))
        if not cards:
            lines.append(",".join([name, *[""] * 8, NO_CARD]))
    beside = path.with_suffix(".part")
    beside.write_text("\n".join([*lines, ""]), encoding="utf-8")
    beside.replace(path)


def load_rgb(path: Path) -> Pixels:
    """The photo as the detector sees it, (H, W, 3)."""
    pixels = image.load(path).pixels
    return np.ascontiguousarray(pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2))


def snapped(pixels: Pixels, corners: Corners, reach: float = REACH, sides: str = SIDES) -> Corners:
    """Each of the sides named moved to the strongest straight edge within ``reach`` of the card's width."""
    width = float(side_lengths(corners[None])[0, ::2].mean())
    fitted = refine(pixels, corners[None], reach * width)[0]
    moved = np.array([[side in sides] for side in SIDES])
    starts, ends = np.where(moved, fitted, corners), np.where(moved, fitted[NEXT], corners[NEXT])
    return np.asarray(crossings(starts[None].astype(np.float64), (ends - starts)[None].astype(np.float64))[0])


def show(folder: Path, name: str, labels: list[Label], out: Path) -> None:
    """Writes the photo with ruler and outlines, and beside it, ending in -close, each card's close-ups."""
    pixels = load_rgb(folder / name)
    outlines = [(label.corners_px, f"{number} {label.visible}") for number, label in enumerate(labels)]
    save(out, with_ruler(pixels, outlines))
    parts = [close_ups(pixels, corners, title) for corners, title in outlines]
    if parts:
        save(out.with_name(f"{out.stem}-close{out.suffix}"), tiled(parts))


def sheet(folder: Path, labels: dict[str, list[Label]], out: Path) -> None:
    """Writes the close-ups of all labels, twelve a picture."""
    out.mkdir(parents=True, exist_ok=True)
    tiles = []
    for name, cards in labels.items():
        pixels = load_rgb(folder / name)
        for number, label in enumerate(cards):
            tiles.append(close_ups(pixels, label.corners_px, f"{name} {number} {label.visible}"))
    per_sheet = SHEET_COLUMNS * SHEET_ROWS
    for start in range(0, len(tiles), per_sheet):
        save(out / f"sheet-{start // per_sheet:02}.png", tiled(tiles[start : start + per_sheet]))


def set_label(labels: dict[str, list[Label]], name: str, label: Label, replace: int | None) -> None:
    """Adds a card to a photo, or puts it in another's place."""
    cards = labels.setdefault(name, [])
    if replace is None:
        cards.append(label)
    else:
        cards[replace] = label


def nudged(corners: Corners, offsets: Corners) -> Corners:
    """Corners moved by hundredths of the card's width, (4, 2), right and down as the card is seen upright."""
    return in_photo(corners, on_card(corners) + offsets / np.float32(100))


def eight(text: str) -> Corners:
    """Four points, written as eight numbers with commas between."""
    numbers = [float(part) for part in text.split(",")]
    if len(numbers) != 8:
        raise argparse.ArgumentTypeError(f"{len(numbers)} numbers, expected 8: x and y of four corners")
    return np.array(numbers, np.float32).reshape(4, 2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the photos")
    parser.add_argument("--labels", type=Path, default=LABELS, help="the file of labels")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("set", "nudge", "remove", "show"):
        commands.add_parser(name).add_argument("name", help="file name of the photo")
    setting, nudging, removing, showing = (commands.choices[name] for name in ("set", "nudge", "remove", "show"))
    setting.add_argument("corners", type=eight, help="in pixels, from the card's own top left, clockwise")
    setting.add_argument("--visible", choices=VISIBLE, default="whole")
    setting.add_argument("--raw", action="store_true", help="don't move the sides to edges nearby")
    setting.add_argument("--sides", default=SIDES, help="which of top, right, bottom, left to move; hidden ones stay")
    setting.add_argument("--reach", type=float, default=REACH, help="how far to move them, in card widths")
    setting.add_argument("--replace", type=int, help="number of the card in whose place this comes")
    nudging.add_argument("number", type=int)
    nudging.add_argument("offsets", type=eight, help="hundredths of the card's width; write -- before a minus sign")
    removing.add_argument("number", type=int)
    showing.add_argument("out", type=Path)
    sheets = commands.add_parser("sheet")
    sheets.add_argument("out", type=Path, help="folder for the pictures")
    sheets.add_argument("--only", default="*", help="file names, with wildcards")
    return parser


def main() -> None:
    options = _parser().parse_args()
    cv2.setNumThreads(1)
    labels = read_labels(options.labels) if options.labels.exists() else {}
    if options.command == "sheet":
        chosen = {name: cards for name, cards in labels.items() if fnmatch(name, options.only)}
        return sheet(options.folder, chosen, options.out)
    if options.command == "show":
        return show(options.folder, options.name, labels.get(options.name, []), options.out)
    if options.command == "set":
        pixels = load_rgb(options.folder / options.name)
        corners = options.corners if options.raw else snapped(pixels, options.corners, options.reach, options.sides)
        set_label(labels, options.name, Label(corners, options.visible), options.replace)
    elif options.command == "nudge":
        old = labels[options.name][options.number]
        labels[options.name][options.number] = Label(nudged(old.corners_px, options.offsets), old.visible)
    else:
        del labels[options.name][options.number]
    return write_labels(labels, options.labels)


if __name__ == "__main__":
    main()
