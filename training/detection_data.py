"""What a detector is trained on and what it is measured on: faces of cards and grounds, split by their names.

A fifth of each is held out. The German Pocket cards go with the English ones, whose art they share, and Redemption's
near-duplicates go together. Rendered cards and procedural grounds, of which there are any number, are not listed here.
"""

from __future__ import annotations

from pathlib import Path

from training.data import held_out, read_pairs, same_faces

HELD_OUT = 0.2
"""Share of faces and of grounds that no training sees."""

PICTURES = {".jpg", ".jpeg", ".png"}


def face_paths(data: Path, *, held: bool) -> list[Path]:
    """Card faces to measure with (``held``) or to train on, of the data folder that `shared/data/README.md` lists."""
    same = same_faces(read_pairs(data / "cards/redemption-same.csv"))

    def face(path: Path) -> str:
        return f"{path.parent.name.split('-')[0]}/{same.get(path.stem, path.stem)}"

    return [path for path in _pictures(data / "cards") if held_out(face(path), HELD_OUT) == held]


def ground_paths(data: Path, *, held: bool) -> list[Path]:
    """Textures and photographs to lay cards on: those to measure with (``held``) or those to train on."""
    return [path for path in _pictures(data / "backgrounds") if held_out(path.stem, HELD_OUT) == held]


def _pictures(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.glob("*/*") if path.suffix.lower() in PICTURES)
    if not found:
        raise FileNotFoundError(f"{folder}: no pictures in its folders; expected the development data's layout")
    return found
