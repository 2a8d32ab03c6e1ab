"""Sources of a training: layouts, manifests, and pictures that nothing can be learned from."""

from __future__ import annotations

import csv
import json
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from training import data, images, manifests

NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/"), min_size=1, max_size=30).filter(
    lambda name: name.strip() == name and not name.startswith(".") and len(name.encode()) < 200
)


def picture(seed: int, size_wh: tuple[int, int] = (40, 56)) -> NDArray[np.uint8]:
    """Random blocks of colour, (H, W, 3) uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(size_wh, Image.Resampling.NEAREST))


def save(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed)).save(path)
    return path


def manifest(folder: Path, header: str, *lines: str, name: str = "cards.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def names(cards: list[data.CardImage]) -> list[tuple[str, str]]:
    return [(card.card_id, card.face) for card in cards]


def test_flat_folder(tmp_path: Path) -> None:
    for name in ("b.png", "a.webp", "ä ö, ü.PNG", "日本.bmp"):
        save(tmp_path / "set" / name)
    (tmp_path / "set" / "notes.txt").write_text("no card")
    cards = data.load_source({"folder": "set"}, tmp_path)
    assert names(cards) == [(f"set/{stem}", f"set/{stem}") for stem in ("a", "b", "ä ö, ü", "日本")]
    assert np.array_equal(cards[1].pixels, picture(0))


def test_folder_for_each_card(tmp_path: Path) -> None:
    for place, name in enumerate(("Élan vital/1.png", "Élan vital/2.png", "b/scan.png")):
        save(tmp_path / "set" / name, place)
    cards = data.load_folder(tmp_path / "set")
    assert names(cards) == [
        ("set/b/scan", "set/b"),
        ("set/Élan vital/1", "set/Élan vital"),
        ("set/Élan vital/2", "set/Élan vital"),
    ]
    assert np.array_equal(cards[2].pixels, picture(1))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("a.png", "card/b.png"), r"1 images \(a\.png, .*1 folders \(card, .*move"),
        (("card/b.png", "card/deeper/c.png"), r"card holds the folder deeper"),
        (("card/notes.txt",), r"card holds no images"),
        (("notes.txt",), r"holds no images; expected"),
        (("a.png", "a.bmp"), r"a\.bmp and a\.png have one name"),
    ],
)
def test_folder_that_is_neither(tmp_path: Path, files: tuple[str, ...], message: str) -> None:
    for name in files:
        if name.endswith(".txt"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("")
        else:
            save(tmp_path / name)
    with pytest.raises(ValueError, match=message):
        manifests.folder_entries(tmp_path)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_manifest(tmp_path: Path, ending: str) -> None:
    rows = [
        {"image": "front/a, 1.png", "card_id": "c1", "face": "dragon", "price": "3"},
        {"image": "a2.png", "card_id": "c1", "face": "dragon", "price": ""},
        {"image": "./b.png", "card_id": "c2", "face": "", "price": "x"},
    ]
    for place, row in enumerate(rows):
        save(tmp_path / "shop" / row["image"], place)
    path = tmp_path / "shop" / f"cards.{ending}"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        if ending == "csv":
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        else:
            file.writelines(json.dumps(row) + "\n\n" for row in rows)
    cards = data.load_source({"manifest": f"shop/cards.{ending}"}, tmp_path)
    assert names(cards) == [("shop/c1", "shop/dragon"), ("shop/c1/2", "shop/dragon"), ("shop/c2", "shop/c2")]
    assert all(np.array_equal(card.pixels, picture(place)) for place, card in enumerate(cards))


@pytest.mark.parametrize(
    ("header", "lines", "message"),
    [
        ("image,card", ["a.png,a"], r"cards\.csv, line 1: the column 'card_id' is missing"),
        ("image,card_id,image", ["a.png,a,b.png"], r"line 1: the column 'image' occurs twice"),
        ("image,card_id", ["a.png,a", "b.png,b"], r"line 3: image 'b\.png' is no file .* remove the line"),
        ("image,card_id", ["a.png,a", "", "./a.png,b"], r"line 4: lists '\./a\.png' again, after line 2"),
        ("image,card_id", ["../outside.png,a"], r"line 2: image '\.\./outside\.png' leaves"),
        ("image,card_id", ["/etc/passwd,a"], r"line 2: image '/etc/passwd' is no path relative"),
        ("image,card_id", ["a.png"], r"line 2: has 1 columns, the header has 2"),
        ("image,card_id", ["a.png, "], r"line 2: card_id is ' '"),
        ("image,card_id", ['a.png,"a'], r"is not CSV"),
        ("image,card_id", [], r"lists no images"),
        ("image,card_id", ["a" * 300 + ".png,a"], r"line 2: image 'a+\.png' can't be looked up"),
    ],
)
def test_faulty_csv(tmp_path: Path, header: str, lines: list[str], message: str) -> None:
    save(tmp_path / "outside.png")
    save(tmp_path / "shop" / "a.png")
    with pytest.raises(ValueError, match=message):
        manifests.manifest_entries(manifest(tmp_path / "shop", header, *lines))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"image": "a.png"', r"cards\.jsonl, line 2: is not JSON"),
        ('["a.png", "a"]', r"line 2: holds a list"),
        ('{"image": "a.png"}', r"line 2: has no 'card_id'"),
        ('{"image": "a.png", "card_id": 7}', r"line 2: card_id is 7; text was expected"),
        ('{"image": "a.png", "card_id": "\\ud800"}', r"line 2: card_id is .* no Unicode"),
        ('{"image": "a\\u0000.png", "card_id": "a"}', r"line 2: image .* is no path"),
        ("[" * 100_000, r"line 2: is not JSON"),
    ],
)
def test_faulty_json(tmp_path: Path, line: str, message: str) -> None:
    save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=message):
        manifests.manifest_entries(manifest(tmp_path, "", line, name="cards.jsonl"))


def test_manifest_in_another_encoding_or_format(tmp_path: Path) -> None:
    (tmp_path / "cards.csv").write_bytes("image,card_id\na.png,a\nb.png,é\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"line 3: is not UTF-8"):
        manifests.manifest_entries(tmp_path / "cards.csv")
    with pytest.raises(ValueError, match=r"\.csv or \.jsonl"):
        manifests.manifest_entries(tmp_path / "cards.xlsx")


@settings(max_examples=40, deadline=None)
@given(cards=st.dictionaries(NAMES, st.tuples(NAMES, NAMES), min_size=1, max_size=4), as_csv=st.booleans())
def test_any_names_survive(cards: dict[str, tuple[str, str]], *, as_csv: bool) -> None:
    rows = [{"image": f"{name}.png", "card_id": card, "face": face} for name, (card, face) in cards.items()]
    with tempfile.TemporaryDirectory() as folder:
        for row in rows:
            (Path(folder) / row["image"]).touch()
        path = Path(folder) / ("cards.csv" if as_csv else "cards.jsonl")
        with path.open("w", encoding="utf-8", newline="") as file:
            if as_csv:
                writer = csv.DictWriter(file, ["face", "image", "card_id"])
                writer.writeheader()
                writer.writerows(rows)
            else:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        entries = manifests.manifest_entries(path)
    read = [{"image": entry.image.name, "card_id": entry.card_id, "face": entry.face} for entry in entries]
    assert read == rows
    assert len({entry.name for entry in entries}) == len(rows)


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=200), ending=st.sampled_from(["csv", "jsonl"]))
def test_any_bytes_are_a_manifest_or_a_value_error(content: bytes, ending: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"cards.{ending}"
        path.write_bytes(content)
        with pytest.raises(ValueError, match="cards"):
            manifests.manifest_entries(path)


def test_pairs_join_classes(tmp_path: Path) -> None:
    for name in "abcd":
        save(tmp_path / "shop" / f"{name}.png")
    manifest(tmp_path / "shop", "image,card_id,face", "a.png,1,x", "b.png,2,y", "c.png,3,", "d.png,4,")
    (tmp_path / "same.csv").write_text("a,b,score\n1,3,0.9\n3,absent,0.9\n")
    source = {"manifest": "shop/cards.csv", "duplicates": "same.csv"}
    assert [card.face for card in data.load_source(source, tmp_path)] == ["shop/3", "shop/y", "shop/3", "shop/4"]
    (tmp_path / "same.csv").write_text("a,b\nx,y\n")
    with pytest.raises(ValueError, match=r"same\.csv: none of its 1 pairs names two cards, such as '1'"):
        data.load_source(source, tmp_path)
    (tmp_path / "same.csv").write_text("first,second\n1,2\n")
    with pytest.raises(ValueError, match="columns a and b were expected"):
        data.load_source(source, tmp_path)


def test_sources_have_names_of_their_own(tmp_path: Path) -> None:
    for folder in ("old/set", "new/set"):
        save(tmp_path / folder / "a.png")
    sources: list[dict[str, Any]] = [{"folder": "old/set"}, {"folder": "new/set"}]
    with pytest.raises(ValueError, match="two sources are called 'set'"):
        data.load_sources(sources, tmp_path)
    sources[1]["name"] = "new"
    assert [names(cards) for cards in data.load_sources(sources, tmp_path)] == [
        [("set/a", "set/a")],
        [("new/a", "new/a")],
    ]
    with pytest.raises(ValueError, match="either folder or manifest"):
        data.source_name({"folder": "a", "manifest": "b/c.csv"})


def test_all_faults_are_in_one_report(tmp_path: Path) -> None:
    good = save(tmp_path / "one" / "good.png")
    whole = good.read_bytes()
    for number, content in enumerate((b"", b"no picture", whole[: len(whole) // 2])):
        (tmp_path / "one" / f"bad{number}.png").write_bytes(content)
    Image.fromarray(picture(1)).save(tmp_path / "one" / "cut.jpg")
    cut = tmp_path / "one" / "cut.jpg"
    cut.write_bytes(cut.read_bytes()[:-200])
    Image.new("RGB", (50, 70), (30, 60, 90)).save(save(tmp_path / "two" / "plain.jpg"))
    Image.fromarray(picture(2, (60, 31))).save(tmp_path / "two" / "small.png")
    np.save(tmp_path / "two" / "nan.npy", np.where(picture(3) > 128, np.nan, 0.5))
    Image.fromarray(np.full((40, 40), np.inf, np.float32)).save(tmp_path / "two" / "inf.tiff")
    with pytest.raises(ValueError, match="can't be trained on") as caught:
        data.load_sources([{"folder": "one"}, {"folder": "two"}], tmp_path)
    message = str(caught.value)
    assert message.startswith("8 of 9 images")
    for name, reason in {
        "bad0.png": "empty", "bad1.png": "expected JPEG", "bad2.png": "truncated", "cut.jpg": "truncated",
        "plain.jpg": "single colour", "small.png": "60x31", "nan.npy": "not finite", "inf.tiff": "not finite",
    }.items():  # fmt: skip
        assert any(name in line and reason in line for line in message.splitlines()), (name, message)
    assert "good.png" not in message


def test_long_reports_are_cut(tmp_path: Path) -> None:
    for number in range(23):
        (tmp_path / f"{number:02}.png").touch()
    with pytest.raises(ValueError, match="23 of 23") as caught:
        data.load_folder(tmp_path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 22 and "19.png" in lines[20] and lines[21].strip() == "and 3 more"


def test_each_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        save(tmp_path / f"{number}.png", number)
    read: list[str] = []

    def counted(path: Path) -> NDArray[np.uint8]:
        read.append(path.name)
        return picture(0)

    monkeypatch.setattr(images, "read_rgb", counted)
    assert len(data.load_folder(tmp_path)) == 5
    assert sorted(read) == [f"{number}.png" for number in range(5)]


def test_turned_by_exif(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(picture(0)).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(images.read_rgb(tmp_path / "turned.png"), np.rot90(picture(0), -1))
    assert np.array_equal(images.read_bgr(tmp_path / "turned.png"), np.rot90(picture(0), -1)[:, :, ::-1])


def test_grey_wide_and_palette(tmp_path: Path) -> None:
    grey = picture(0)[:, :, 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "wide.png")
    Image.fromarray(grey.astype(np.float32) / 255).save(tmp_path / "float.tiff")
    np.save(tmp_path / "float.npy", grey.astype(np.float64))
    for name in ("grey.png", "wide.png", "float.tiff", "float.npy"):
        assert np.array_equal(images.read_rgb(tmp_path / name), np.repeat(grey[:, :, None], 3, axis=2)), name


@pytest.mark.parametrize("name", ["a.png", "a.npy"])
def test_transparency_is_laid_over_white(tmp_path: Path, name: str) -> None:
    alpha = np.full((56, 40, 1), 255, np.uint8)
    alpha[:10], alpha[-10:] = 0, 128
    values = np.concatenate([picture(0), alpha], axis=2)
    if name.endswith("npy"):
        np.save(tmp_path / name, values)
    else:
        Image.fromarray(values).save(tmp_path / name)
    read = images.read_rgb(tmp_path / name)
    assert (read[:10] == 255).all() and np.array_equal(read[10:-10], picture(0)[10:-10])
    half = (picture(0)[-10:].astype(float) * 128 + 255 * 127) / 255
    assert np.abs(read[-10:] - half).max() <= 1


def test_values_that_are_no_colours(tmp_path: Path) -> None:
    for values, message in (
        (np.full((40, 40), -1.0), "go from -1 to -1"),
        (np.full((40, 40), 300.0), "go from 300 to 300"),
        (np.zeros((40, 40), np.int64), "int64"),
        (np.zeros((3, 40, 40), np.uint8), r"shape is \(3, 40, 40\)"),
    ):
        np.save(tmp_path / "a.npy", values)
        with pytest.raises(ValueError, match=message):
            images.read_rgb(tmp_path / "a.npy")


def test_bombs_are_not_decoded(tmp_path: Path) -> None:
    save(tmp_path / "bomb.png")
    content = bytearray((tmp_path / "bomb.png").read_bytes())
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    (tmp_path / "bomb.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"bomb\.png is not a readable image"):
        images.read_rgb(tmp_path / "bomb.png")
