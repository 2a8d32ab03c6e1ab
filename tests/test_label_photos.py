"""Outlines of cards in photos: what is read, what is refused, and the labels of the repository themselves."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from detector_oracle import straightness

from cardrec.quads import side_lengths
from training import label_photos
from training.label_photos import HEADER, VISIBLE, Label, read_labels, write_labels

QUAD = "10,20,73,20,73,108,10,108"


def written(folder: Path, *lines: str) -> Path:
    path = folder / "photos.csv"
    path.write_text("\n".join([",".join(HEADER), *lines, ""]), encoding="utf-8")
    return path


def test_labels_are_read_by_photo(tmp_path: Path) -> None:
    labels = read_labels(written(tmp_path, f"a.jpg,{QUAD},whole", f"a.jpg,{QUAD},back", "b.jpg,,,,,,,,,none"))
    assert list(labels) == ["a.jpg", "b.jpg"] and labels["b.jpg"] == []
    assert [label.visible for label in labels["a.jpg"]] == ["whole", "back"]
    corners = labels["a.jpg"][0].corners_px
    assert corners.dtype == np.float32 and corners.tolist() == [[10, 20], [73, 20], [73, 108], [10, 108]]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    corners = np.array([[0.25, -3.5], [60, 1], [63.14, 88], [-1, 90]], np.float32)
    write_labels({"b.jpg": [], "a.jpg": [Label(corners, "cut")]}, tmp_path / "labels.csv")
    labels = read_labels(tmp_path / "labels.csv")
    assert list(labels) == ["a.jpg", "b.jpg"] and labels["a.jpg"][0].visible == "cut"
    assert np.abs(labels["a.jpg"][0].corners_px - corners).max() <= 0.0501


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"a.jpg,{QUAD}", "9 fields"),
        (f",{QUAD},whole", "file name"),
        (f"a.jpg,{QUAD},hidden", "'hidden'"),
        ("a.jpg,10,20,73,20,73,x,10,108,whole", "'x'"),
        ("a.jpg,10,20,73,20,73,,10,108,whole", "could not convert"),
        ("a.jpg,10,20,73,20,73,nan,10,108,whole", "finite"),
        ("a.jpg,10,20,73,20,73,1e300,10,108,whole", "finite"),
        ("a.jpg,73,20,10,20,10,108,73,108,whole", "clockwise"),  # mirrored
        ("a.jpg,10,20,73,20,20,30,10,108,whole", "convex"),
        ("a.jpg,10,20,73,108,73,20,10,108,whole", "convex"),  # crossed
        (f"b.jpg,{QUAD},none", "no card"),
        ("first.jpg,,,,,,,,,none", "no card"),
        ("", "1 fields"),
    ],
)
def test_malformed_lines_are_named(tmp_path: Path, line: str, message: str) -> None:
    path = written(tmp_path, f"first.jpg,{QUAD},whole", line, "")
    with pytest.raises(ValueError, match=message) as raised:
        read_labels(path)
    assert str(raised.value).startswith(f"{path}:3: ")


@pytest.mark.parametrize("text", ["", f"a.jpg,{QUAD},whole\n"])
def test_a_header_is_required(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"labels\.csv:1: expected the header"):
        read_labels(path)


def test_labels_of_the_repository_are_plausible() -> None:
    labels = read_labels()
    assert len(labels) == 113 and {name.split("-")[0] for name in labels} == {"webcam", "magic", "yugioh"}
    for name, cards in labels.items():
        for number, card in enumerate(cards):
            (straight,) = straightness(card.corners_px[None])
            sides = side_lengths(card.corners_px[None])[0]
            taper = np.exp(np.abs(np.log(sides[:2] / sides[2:]))).max()
            least, most = (0.0, np.inf) if card.visible == "unclear" else (0.5, 1.6)  # some lie at 55 degrees
            assert straight > least and taper < most, (name, number, straight, taper)
            assert card.visible in VISIBLE


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    monkeypatch.setattr(sys, "argv", ["label_photos", *map(str, arguments)])
    label_photos.main()


def test_a_label_is_set_and_nudged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = np.full((300, 400, 3), 200, np.uint8)
    photo[40:216, 100:226] = 20
    cv2.imwrite(str(tmp_path / "a.png"), photo)
    options: list[str | Path] = [tmp_path, "--labels", tmp_path / "labels.csv"]
    rough = "101,39,227,41,225,217,99,215"
    run(monkeypatch, *options, "set", "a.png", rough, "--sides", "trl")
    run(monkeypatch, *options, "set", "a.png", rough, "--raw", "--visible", "covered")
    run(monkeypatch, *options, "nudge", "a.png", "1", "--", "-1,0,0,0,0,0,0,0")
    fitted, raw = read_labels(tmp_path / "labels.csv")["a.png"]
    assert np.abs(fitted.corners_px[:2] - [[100, 40], [226, 40]]).max() < 0.5
    assert np.abs(fitted.corners_px[2:, 0] - [226, 100]).max() < 0.5
    assert np.abs(fitted.corners_px[2:, 1] - [217, 215]).max() < 0.5  # that side was to stay
    assert raw.visible == "covered" and raw.corners_px[0] == pytest.approx([99.7, 39], abs=0.15)
    run(monkeypatch, *options, "show", "a.png", tmp_path / "shown.png")
    run(monkeypatch, *options, "sheet", tmp_path / "sheets")
    assert {path.name for path in tmp_path.glob("**/s*.png")} == {"shown.png", "shown-close.png", "sheet-00.png"}
    run(monkeypatch, *options, "remove", "a.png", "0")
    assert len(read_labels(tmp_path / "labels.csv")["a.png"]) == 1
