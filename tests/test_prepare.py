"""The layout for classifiers: every file is in it or in the report, whatever it is called."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from cardrec.importer import open_items
from training import data, images
from training.failure import Failure
from training.prepare.__main__ import main
from training.prepare.layout import prepare
from training.render import deck, render


def save(path: Path, seed: int = 0, size_wh: tuple[int, int] = (40, 56), **options: Any) -> Path:
    """A random picture of blocks."""
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(coarse).resize(size_wh, Image.Resampling.NEAREST).save(path, **options)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def accounted(found: dict[str, Any]) -> int:
    return int(found["pictures"]) + len(found["faulty"]) + len(found["orphans"])


def download(folder: Path, cards: dict[str, int]) -> Path:
    """A folder as `training.download` leaves it."""
    text = ""
    for card_id, seed in cards.items():
        image = save(folder / "images" / f"{card_id}.png", seed)
        line = {"card_id": card_id, "image": f"images/{image.name}", "sha256": "x", "bytes": 3, "name": card_id.title()}
        text += json.dumps(line | {"set": card_id.split("-", maxsplit=1)[0]}) + "\n"
    (folder / "cards.jsonl").write_text(text)
    (folder / "source.json").write_text("{}")
    return folder


def test_a_download_becomes_a_folder_for_each_card(tmp_path: Path) -> None:
    source, out = download(tmp_path / "in", {"xx1-1": 1, "xx1-2": 2, "yy-3": 3}), tmp_path / "out"
    found = prepare(source, out)
    assert set(tree(out)) == {
        "xx1-1/1.png", "xx1-2/1.png", "yy-3/1.png", "cards.jsonl", "duplicates.csv", "report.json", "report.md",
        ".files",
    }  # fmt: skip
    for number, card_id in enumerate(("xx1-1", "xx1-2", "yy-3"), 1):
        placed, original = out / card_id / "1.png", source / "images" / f"{card_id}.png"
        assert placed.samefile(original) and placed.read_bytes() == original.read_bytes(), number
    first = lines(out / "cards.jsonl")[0]
    assert first["card_id"] == "xx1-1" and first["image"] == "xx1-1/1.png" and first["set"] == "xx1"
    assert first["name"] == "Xx1-1" and first["source"] == "images/xx1-1.png"
    assert (first["width"], first["height"], first["bytes"]) == (40, 56, (out / "xx1-1" / "1.png").stat().st_size)
    assert first["sha256"] == hashlib.sha256((out / "xx1-1" / "1.png").read_bytes()).hexdigest()
    assert (found["files"], found["pictures"], found["cards"]) == (3, 3, 3) and found["orphans"] == []


def test_trainings_and_catalogs_read_it(tmp_path: Path) -> None:
    prepare(download(tmp_path / "in", {"xx1-1": 1, "xx1-2": 2}), tmp_path / "out")
    for source in ({"folder": "out"}, {"manifest": "out/cards.jsonl"}):
        assert [card.face for card in data.load_source(source, tmp_path)] == ["out/xx1-1", "out/xx1-2"]
    assert [card_id for card_id, _, _ in open_items(tmp_path / "out" / "cards.jsonl")] == ["xx1-1", "xx1-2"]


def test_folders_flat_and_in_one_another(tmp_path: Path) -> None:
    source = tmp_path / "in"
    for name in ("a.png", "a.jpg", "b/scan.png", "b/scan.bmp", "b/Photo.PNG", "xx1/4/one.webp"):
        save(source / name)
    found = prepare(source, tmp_path / "out")
    assert [(line["card_id"], line["image"], line["source"]) for line in lines(tmp_path / "out" / "cards.jsonl")] == [
        ("a", "a/1.jpg", "a.jpg"), ("a", "a/2.png", "a.png"), ("b", "b/1.png", "b/Photo.PNG"),
        ("b", "b/2.bmp", "b/scan.bmp"), ("b", "b/3.png", "b/scan.png"), ("xx1-4", "xx1-4/1.webp", "xx1/4/one.webp"),
    ]  # fmt: skip
    assert found["variants"] == {"a": 2, "b": 3}
    assert len(data.load_folder(tmp_path / "out")) == 6
    save(source / "xx1-4.png")
    with pytest.raises(ValueError, match=r"xx1-4 and xx1/4 are both card 'xx1-4'; rename one"):
        prepare(source, tmp_path / "out")


def test_names_of_any_kind_lose_nothing(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    names = [
        "Ab", "aB", "ab", "é", unicodedata.normalize("NFD", "é"), "É", "50% off", "a:b*c?", "new\nline", "日本",
        " lead", "trail.", "-", "~", "con", "quote'\"", "x" * 240, "ß", "ss",
    ]  # fmt: skip
    for seed, name in enumerate(names):
        save(source / f"{name}.png", seed)
    shutil.copy(source / "-.png", source / os.fsdecode(b"x\xe9.png"))
    found = prepare(source, out, duplicates=False)
    assert found["cards"] == len(names) + 1 == found["pictures"]
    written = lines(out / "cards.jsonl")
    assert {line["card_id"] for line in written} == {*names, "x\\xe9"}
    by_card = {line["card_id"]: (out / line["image"]).read_bytes() for line in written}
    assert all(by_card[name] == (source / f"{name}.png").read_bytes() for name in names)
    folders = [path.name for path in out.iterdir() if path.is_dir()]
    assert len({unicodedata.normalize("NFC", name).casefold() for name in folders}) == len(names) + 1
    assert len(data.load_source({"manifest": "out/cards.jsonl"}, tmp_path)) == len(names) + 1


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.binary(min_size=1, max_size=12).filter(
            lambda name: not {0, ord("/")} & set(name) and name not in (b".", b"..")
        ),
        max_size=6,
        unique=True,
    )
)
def test_every_file_is_in_the_layout_or_in_the_report(tmp_path: Path, names: list[bytes]) -> None:
    shutil.rmtree(tmp_path / "in", ignore_errors=True)
    content = save(tmp_path / "in" / "one.png").read_bytes()
    for place, name in enumerate(names):
        path = os.fsencode(tmp_path / "in") + b"/" + name + (b".png" if place % 2 else b"")
        Path(os.fsdecode(path)).write_bytes(content)
    found = prepare(tmp_path / "in", tmp_path / "out", duplicates=False)
    assert accounted(found) == found["files"] == len(tree(tmp_path / "in"))


def test_what_is_no_sound_picture_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = download(tmp_path / "in", {"a-1": 1, "a-2": 2, "a-3": 3}), tmp_path / "out"
    (source / "images" / "a-2.png").write_bytes((source / "images" / "a-2.png").read_bytes()[:90])
    Image.new("RGB", (40, 56), (9, 9, 9)).save(source / "images" / "a-3.png")
    for name in ("extra.png", "notes.txt", ".hidden.png"):
        save(source / "images" / "x.png").rename(source / "images" / name)
    (source / "loop").symlink_to(source)
    with pytest.raises(SystemExit, match=r"2 pictures are faulty, such as images/a-2\.png .*--allow-faulty"):
        main([str(source), "--out", str(out)])
    assert "1 pictures of 1 cards; 2 faulty, 0 pairs look the same, 4 orphans: see report.md" in capsys.readouterr().out
    main([str(source), "--out", str(out), "--allow-faulty"])
    found = json.loads((out / "report.json").read_text())
    assert [each["file"] for each in found["faulty"]] == ["images/a-2.png", "images/a-3.png"]
    assert "truncated" in found["faulty"][0]["why"] and "single colour" in found["faulty"][1]["why"]
    assert found["orphans"] == ["loop", "images/.hidden.png", "images/extra.png", "images/notes.txt"]
    assert found["cards_without_picture"] == ["a-2", "a-3"] and accounted(found) == found["files"]
    assert not (out / "a-2").exists()
    text = (out / "report.md").read_text()
    assert "| faulty pictures | 2 |" in text and "## Orphans" in text and "`images/notes.txt`" in text


def test_sizes_and_modes(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png", 1)
    save(tmp_path / "in" / "b.jpg", 2, (80, 112), quality=95)
    save(tmp_path / "in" / "c.png", 3, (80, 112))
    Image.open(tmp_path / "in" / "c.png").convert("L").save(tmp_path / "in" / "c.png")
    np.save(tmp_path / "in" / "d.npy", np.asarray(Image.open(tmp_path / "in" / "a.png")))
    found = prepare(tmp_path / "in", tmp_path / "out")
    assert found["sizes"] == {"40x56": 2, "80x112": 2} and found["modes"] == {"RGB": 2, "L": 1, "array": 1}
    assert found["kinds"] == {"PNG": 2, "JPEG": 1, "NPY": 1}
    assert found["height"] == {"least": 56, "median": 112, "most": 112}
    assert found["bytes"] == sum(path.stat().st_size for path in (tmp_path / "in").iterdir())


def test_duplicates_are_recorded_and_kept(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    one, other = (render(deck(3, seed=5)[place], height_px=320) for place in (0, 2))
    source.mkdir()
    Image.fromarray(one).save(source / "first.png")
    shutil.copy(source / "first.png", source / "second.png")
    (source / "third").mkdir()
    Image.fromarray(other).save(source / "third" / "a.png")
    Image.fromarray((other * 0.9).astype(np.uint8)).save(source / "third" / "b.jpg", quality=95)
    Image.fromarray(np.rot90(one)).save(source / "turned.png")  # in landscape, as catalogs turn it
    found = prepare(source, out)
    assert found["pictures"] == 5 and found["identical"] == [["first.png", "second.png"]]
    assert [(pair["a"], pair["b"], pair["same_card"]) for pair in found["duplicates"]] == [
        ("first.png", "second.png", False), ("first.png", "turned.png", False), ("second.png", "turned.png", False),
        ("third/a.png", "third/b.jpg", True),
    ]  # fmt: skip
    with (out / "duplicates.csv").open() as file:
        assert [(row["a"], row["b"]) for row in csv.DictReader(file)] == [
            ("first", "second"), ("first", "turned"), ("second", "turned"),
        ]  # fmt: skip
    cards = data.load_source({"manifest": "out/cards.jsonl", "duplicates": "out/duplicates.csv"}, tmp_path)
    assert [card.face for card in cards] == ["out/first", "out/first", "out/first", "out/third", "out/third"]


def test_where_none_look_the_same_a_config_may_name_the_file_all_the_same(tmp_path: Path) -> None:
    for place, spec in enumerate(deck(3, seed=5)):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(render(spec, height_px=160)).save(tmp_path / "in" / f"{place}.png")
    assert not prepare(tmp_path / "in", tmp_path / "out")["duplicates"]
    cards = data.load_source({"manifest": "out/cards.jsonl", "duplicates": "out/duplicates.csv"}, tmp_path)
    assert [card.face for card in cards] == ["out/0", "out/1", "out/2"]
    prepare(tmp_path / "in", tmp_path / "out", duplicates=False)
    assert not (tmp_path / "out" / "duplicates.csv").exists()  # nobody has looked


def test_scaling(tmp_path: Path) -> None:
    save(tmp_path / "in" / "high.png", 1, (200, 280))
    save(tmp_path / "in" / "photo.jpg", 2, (200, 280))
    save(tmp_path / "in" / "low.jpg", 3)
    prepare(tmp_path / "in", tmp_path / "out", height_px=70)
    high, low, photo = lines(tmp_path / "out" / "cards.jsonl")
    assert (high["card_id"], low["card_id"], photo["card_id"]) == ("high", "low", "photo")
    assert photo["image"] == "photo/1.png" and low["image"] == "low/1.jpg"
    for line in (high, photo):
        with Image.open(tmp_path / "out" / line["image"]) as image:
            assert image.size == (50, 70)
    for line in (high, low, photo):
        assert line["sha256"] == hashlib.sha256((tmp_path / "out" / line["image"]).read_bytes()).hexdigest()
    with pytest.raises(SystemExit, match="--height is 20; at least 32 pixels were expected"):
        main([str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--height", "20"])


def test_each_picture_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = download(tmp_path / "in", {f"a-{n}": n % 2 for n in range(6)})
    read: list[str] = []
    plain = images.read_rgb

    def counted(path: Path) -> images.Picture:
        read.append(path.name)
        return plain(path)

    monkeypatch.setattr(images, "read_rgb", counted)
    prepare(source, tmp_path / "out", height_px=40)
    assert sorted(read) == [f"a-{n}.png" for n in range(6)]


def test_again_is_the_same_and_follows_the_source(tmp_path: Path) -> None:
    source, out = download(tmp_path / "in", {"a-1": 1, "a-2": 2}), tmp_path / "out"
    prepare(source, out)
    before = tree(out)
    prepare(source, out)
    assert tree(out) == before
    prepare(source, out, copy=True)
    assert tree(out) == before and not (out / "a-1" / "1.png").samefile(source / "images" / "a-1.png")
    shutil.rmtree(source)
    prepare(download(source, {"a-2": 2, "a-3": 3}), out)
    assert {path.name for path in out.iterdir() if path.is_dir()} == {"a-2", "a-3"}
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}


def test_files_of_others_are_not_removed(tmp_path: Path) -> None:
    source, out = download(tmp_path / "in", {"a-1": 1}), tmp_path / "out"
    save(out / "mine.png")
    with pytest.raises(Failure, match=r"out holds 'mine\.png', which was not made here"):
        prepare(source, out)
    (out / "mine.png").unlink()
    prepare(source, out)
    save(out / "a-1" / "2.png")
    before = tree(out)
    with pytest.raises(Failure, match=r"out holds 'a-1/2\.png'"):
        prepare(source, out)
    assert tree(out) == before
    for folder, other in ((source, source / "deeper"), (source / "images", source)):
        with pytest.raises(Failure, match="lie in one another"):
            prepare(folder, other)
    with pytest.raises(Failure, match="is a file"):
        prepare(source, save(tmp_path / "file.png"))


def test_a_failed_run_leaves_the_earlier_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = download(tmp_path / "in", {"a-1": 1}), tmp_path / "out"
    prepare(source, out)
    before = tree(out)
    (source / "images" / "a-1.png").unlink()  # as a download does: what is linked is one file
    save(source / "images" / "a-1.png", 5)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for where, name in ((os, "posix_fallocate"), (shutil, "copy2")):
        with monkeypatch.context() as patch:
            patch.setattr(where, name, full)
            with pytest.raises(OSError, match="No space left"):
                prepare(source, out, copy=True)
        assert tree(out) == before and {path.name for path in tmp_path.iterdir()} == {"in", "out"}
    renamed: list[Path] = []
    plain = Path.rename

    def once(path: Path, target: Path) -> Path:
        renamed.append(path)
        if len(renamed) == 2:
            raise OSError(errno.EIO, "broken")
        return plain(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", once)
        with pytest.raises(OSError, match="broken"):
            prepare(source, out)
    assert tree(out) == before
    out.rename(tmp_path / ".out.old")  # killed between the two renames
    (tmp_path / ".out.part").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copy2", full)
        with pytest.raises(OSError, match="No space left"):
            prepare(source, out, copy=True)
    assert tree(out) == before
    prepare(source, out)
    assert tree(out) != before and {path.name for path in tmp_path.iterdir()} == {"in", "out"}


def test_other_file_systems_get_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "cross-device")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    source = download(tmp_path / "in", {"a-1": 1})
    prepare(source, tmp_path / "out")
    assert (tmp_path / "out" / "a-1" / "1.png").read_bytes() == (source / "images" / "a-1.png").read_bytes()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "nowhere", "nowhere"),
        (lambda folder: folder, "holds no pictures"),
        (lambda folder: (folder / "notes.txt").write_text("x") and folder / "notes.txt", r"a manifest ends in"),
        (lambda folder: (folder / "cards.csv").write_text("image,card_id\nx.png,1\n") and folder, "is no file in"),
        (
            lambda folder: (folder / "x.png").write_bytes(b"x") and folder,
            "none of 1 pictures is sound, the first since",
        ),
    ],
)
def test_bad_sources_end_with_one_line(tmp_path: Path, make: Any, message: str) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(SystemExit, match=rf"^python -m training\.prepare: .*{message}"):
        main([str(make(tmp_path / "in")), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
