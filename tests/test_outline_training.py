"""The detector's training, in small: frames are drawn and kept, each network learns a little, is exported, is used."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pictures import card_picture

from cardrec.detect import OutlineDetector
from cardrec.image import load
from training.arrange_outlines import arrange, regrouped
from training.detection_data import face_paths, ground_paths
from training.outline_frames import StoredFrames, draw_frame, write_frames

FRAMES = 3


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of its usual layout with a few drawn cards and grounds."""
    folder = tmp_path_factory.mktemp("data")
    for place in ("cards/redemption", "backgrounds/textures"):
        (folder / place).mkdir(parents=True)
    (folder / "cards/redemption-same.csv").write_text("a,b\n")
    for seed in range(12):
        cv2.imwrite(str(folder / f"cards/redemption/r{seed}.png"), card_picture(seed))
        noise = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"backgrounds/textures/t{seed}.png"), noise)
    return folder


@pytest.fixture(scope="module")
def stored(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frames")
    faces, grounds = face_paths(data, held=False), ground_paths(data, held=False)
    write_frames(folder / "frames-000000.npz", [draw_frame(seed, faces, grounds) for seed in range(FRAMES)])
    write_frames(folder / "frames-000003.npz", [draw_frame(8, faces, grounds)])
    return folder


def test_frames_come_back_as_they_were_drawn(data: Path, stored: Path) -> None:
    frames = StoredFrames(stored)
    faces, grounds = face_paths(data, held=False), ground_paths(data, held=False)
    assert len(frames) == FRAMES + 1
    assert not set(faces) & set(face_paths(data, held=True))
    for number, seed in enumerate([*range(FRAMES), 8]):
        drawn, kept = draw_frame(seed, faces, grounds), frames[number]
        np.testing.assert_array_equal(kept.quads_px, drawn.quads_px)
        np.testing.assert_array_equal(kept.visible, drawn.visible)
        assert kept.pixels.shape == drawn.pixels.shape
        assert np.abs(kept.pixels.astype(int) - drawn.pixels).mean() < 8, "JPEG of quality 95"
        assert ((kept.visible > 0) & (kept.visible <= 1.05)).all()


def test_a_folder_without_frames_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"training\.outline_frames"):
        StoredFrames(tmp_path)


def test_four_pixels_as_one_see_what_each_saw() -> None:
    """The regrouped weights, applied to four pixels at a time, against the convolution that they come from."""
    rng = np.random.default_rng(0)
    weights = rng.integers(-63, 64, (5, 3, 3, 3), dtype=np.int8)
    line = rng.integers(0, 256, (3, 16, 3)).astype(np.int64)  # three lines of 16 pixels
    padded = np.pad(line, ((0, 0), (1, 0), (0, 0)))
    single = [np.einsum("ocyx,yxc->o", weights.astype(np.int64), padded[:, x : x + 3]) for x in range(0, 16, 2)]
    fours = np.pad(line.reshape(3, 4, 12), ((0, 0), (1, 0), (0, 0)))
    wide = regrouped(weights).astype(np.int64)
    together = [np.einsum("ocyx,yxc->o", wide, fours[:, x : x + 2]) for x in range(4)]
    assert np.array_equal(np.concatenate(single), np.concatenate(together))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the exporter that writes opset 17
def test_training_export_and_use(stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps of each network: nothing is learned, but everything runs, and the detector takes what comes out."""
    pytest.importorskip("torch", reason="the training extra is not installed")
    from training import export_outlines, train_corners, train_outlines, train_sides

    def run(module: object, *arguments: str) -> None:
        monkeypatch.setattr("sys.argv", ["training", *arguments])
        module.main()  # type: ignore[attr-defined]

    common = [str(stored), "--out", str(tmp_path), "--steps", "2", "--workers", "0"]
    run(train_outlines, *common)
    run(export_outlines, str(tmp_path), "--out", str(tmp_path))
    run(train_corners, *common, "--outlines", str(tmp_path / "outlines.onnx"))
    run(train_sides, *common)
    run(export_outlines, str(tmp_path), "--out", str(tmp_path), "--calibrate", str(stored))
    assert "integers" in json.loads((tmp_path / "detector.json").read_text())["networks"]["outlines.onnx"]
    with pytest.raises(ValueError, match="arranged already"):
        arrange(tmp_path / "outlines.onnx")
    for name in ("outlines", "corners", "sides"):
        with (tmp_path / f"{name}.csv").open() as file:
            assert next(csv.reader(file))[0] == "step"
    found = OutlineDetector(networks=tmp_path, min_score=0.01).detect(load(card_picture(1)), max_cards=3)
    assert len(found) <= 3
