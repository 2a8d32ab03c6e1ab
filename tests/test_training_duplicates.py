"""Duplicates: what the hash proposes, how parts are compared, what is merged and what stays apart."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from training import data, duplicates
from training.render import deck, render


@pytest.fixture(scope="module")
def card() -> NDArray[np.uint8]:
    return render(deck(3, seed=5)[0], height_px=320)


def rescan(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Another size, cut 2 px further in, darker, through JPEG."""
    cut = cv2.resize(picture[2:-1, 1:-2], None, fx=0.95, fy=0.95, interpolation=cv2.INTER_AREA)
    _, content = cv2.imencode(".jpg", (cut * 0.85).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90])
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), np.uint8)


@pytest.mark.parametrize("block", [1, 7, 100])
def test_candidates_are_all_pairs_within_the_bits(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    hashes = np.where(rng.random((40, 256)) < 0.5, -1, 1).astype(np.float32)
    for row in range(20, 40):
        hashes[row] = hashes[row - 20]
        hashes[row, : row - 10] *= -1  # 10 to 29 bits
    distance = (hashes[:, None] != hashes[None]).sum(axis=2)
    expected = {(a, b, int(distance[a, b])) for a in range(40) for b in range(a + 1, 40) if distance[a, b] <= 19}
    monkeypatch.setattr(duplicates, "BLOCK", block)
    found = list(duplicates.candidates(hashes, 19))
    assert len(found) == len(set(found)) == 10 and set(found) == expected


def test_agreement_is_of_the_worst_part(card: NDArray[np.uint8]) -> None:
    assert duplicates.agreement(card, card) == pytest.approx(1, abs=1e-3)
    assert duplicates.agreement(card, rescan(card)) >= duplicates.MIN_AGREEMENT
    changed = card.copy()
    changed[200:224, 60:84] = changed[200:224, 60:84][::-1, ::-1]
    changed[40:64, 100:124] = changed[40:64, 100:124][::-1, ::-1]
    assert duplicates.agreement(card, changed) < duplicates.MIN_AGREEMENT
    plain = np.full((60, 40, 3), 90, np.uint8)
    assert duplicates.agreement(plain, plain) == 1
    assert duplicates.agreement(plain, card) < 0.1


def test_rescans_are_merged_and_other_printings_are_not(tmp_path: Path) -> None:
    spec = deck(3, seed=5)[0]
    pictures = {
        "card": render(spec, height_px=320),
        "other": render(deck(3, seed=5)[2], height_px=320),
        "twin": render(replace(spec, language="vx"), height_px=320),
    }
    pictures["rescan"] = rescan(pictures["card"])
    for name, picture in pictures.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture[:, :, ::-1])
    merged = data.load_source({"folder": tmp_path, "duplicates": "find", "name": "set"}, Path())
    assert [card.face for card in merged] == ["set/card", "set/other", "set/card", "set/twin"]


def test_command_writes_what_a_config_reads(
    tmp_path: Path, card: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for name, picture in {"a, 1": card, "b": rescan(card), "c": card[::-1]}.items():
        (folder / f"{name}.png").write_bytes(cv2.imencode(".png", picture[:, :, ::-1])[1].tobytes())
    out, sheet = tmp_path / "pairs.csv", tmp_path / "sheet.png"
    monkeypatch.setattr(sys, "argv", ["duplicates", str(folder), "--out", str(out), "--sheet", str(sheet)])
    duplicates.main()
    assert out.read_text().splitlines()[0] == "a,b,bits,cosine,agreement"
    assert data.read_pairs(out) == [("a, 1", "b")]
    assert [image.face for image in data.load_folder(folder, duplicates=out)] == ["set/a, 1", "set/a, 1", "set/c"]
    width, height = duplicates.SIZE_WH
    assert data.read_rgb(sheet).shape == (height + 24, 4 * (2 * width + 8), 3)
