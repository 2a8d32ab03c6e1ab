"""Folders and manifests become items; faults name file and line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_catalog import FakeEncoder, ids_in, picture

from cardrec.catalog import Catalog
from cardrec.errors import CatalogError, InputError
from cardrec.importer import open_items


def save(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed)).save(path)


def manifest(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_bytes(text.encode())
    return folder / name


def test_a_folder(tmp_path: Path) -> None:
    for index, name in enumerate(["b.PNG", "a.jpg", "z/c.webp", "z/y/d.bmp", ".hidden/e.png", ".f.png"]):
        save(tmp_path / name, index)
    (tmp_path / "README.txt").write_text("no picture")
    (tmp_path / "loop").symlink_to(tmp_path)
    items = open_items(tmp_path)
    assert len(items) == 4
    for _ in range(2):
        assert [(card_id, str(image), meta) for card_id, image, meta in items] == [
            ("a", str(tmp_path / "a.jpg"), {}),
            ("b", str(tmp_path / "b.PNG"), {}),
            ("c", str(tmp_path / "z/c.webp"), {}),
            ("d", str(tmp_path / "z/y/d.bmp"), {}),
        ]


def test_a_folder_is_built_and_bad_pictures_are_reported(tmp_path: Path) -> None:
    for seed in range(20):
        save(tmp_path / f"cards/{seed}.png", seed)
    (tmp_path / "cards/broken.png").write_bytes((tmp_path / "cards/3.png").read_bytes()[:200])
    report = Catalog.build(tmp_path / "c", open_items(tmp_path / "cards"), encoder=FakeEncoder())
    assert report.added == 20
    assert [(skip.card_id, Path(skip.source).name) for skip in report.skipped] == [("broken", "broken.png")]
    with Catalog.open(tmp_path / "c") as catalog:
        assert len(ids_in(catalog)) == 20


def test_one_name_in_two_folders_is_a_repeated_id(tmp_path: Path) -> None:
    save(tmp_path / "cards/en/a.png", 1)
    save(tmp_path / "cards/de/a.png", 2)
    items = open_items(tmp_path / "cards")
    with pytest.raises(CatalogError, match="'a' occurs twice"):
        Catalog.build(tmp_path / "c", items, encoder=FakeEncoder())
    assert Catalog.build(tmp_path / "c", items, encoder=FakeEncoder(), on_duplicate="keep-all").added == 2


def test_folders_and_files_that_are_no_source(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_items(tmp_path / "missing")
    with pytest.raises(FileNotFoundError):
        open_items(tmp_path / "missing.csv")
    with pytest.raises(InputError, match="holds no pictures"):
        open_items(tmp_path)
    with pytest.raises(InputError, match=r"no folder and no manifest \(\.csv"):
        open_items(manifest(tmp_path, "cards.xlsx", "x"))


@pytest.mark.parametrize(("name", "comma"), [("cards.csv", ","), ("cards.tsv", "\t"), ("CARDS.CSV", ",")])
def test_csv(tmp_path: Path, name: str, comma: str) -> None:
    text = (
        "\ufeff card_id, image ,set,name\r\n"
        'a1,pics/a.png,S1,"Bär, ""der"" große\nzweite Zeile"\r\n'
        "\r\n"
        "a2, /abs/b.png,,\r\n"
    )
    if comma == "\t":
        text = text.replace("Bär,", "Bär").replace(",", "\t")
    items = open_items(manifest(tmp_path, name, text))
    assert len(items) == 2
    title = 'Bär, "der" große\nzweite Zeile'.replace(",", "" if comma == "\t" else ",")
    assert list(items) == [
        ("a1", tmp_path / "pics/a.png", {"set": "S1", "name": title}),
        ("a2", Path("/abs/b.png"), {}),
    ]


@pytest.mark.parametrize(
    ("text", "line", "match"),
    [
        ("", 1, "no column 'card_id'"),
        ("image,name\n", 1, "no column 'card_id'"),
        ("card_id,name\n", 1, "no column 'image'"),
        ("card_id;image\n", 1, "no column"),
        ("card_id,image,set,set\n", 1, "'set' occurs twice"),
        ("card_id,image,card_id\n", 1, "'card_id' occurs twice"),
        ("card_id,image,\n", 1, "column 3 of the header has no name"),
        ("card_id,image\na,a.png\n,b.png\n", 3, "card_id is missing or blank"),
        ("card_id,image\na,a.png\nb,\n", 3, "image is missing or blank"),
        ("card_id,image\n\n  ,a.png\n", 3, "card_id is missing or blank"),
        ("card_id,image\na,a.png,x\n", 2, "has 3 columns, the header has 2"),
        ("card_id,image,set\na,a.png\n", 2, "has 2 columns, the header has 3"),
        ('card_id,image\na,"a.png\n', 2, "is not CSV"),
        ('card_id,image\na,"a"b\n', 2, "is not CSV"),
        ("card_id,image\n" + "x" * 1001 + ",a.png\n", 2, "1 to 1000 characters"),
        ("card_id,image\na," + "x" * 200_000 + "\n", 2, "is not CSV"),
    ],
)
def test_csv_faults_name_file_and_line(tmp_path: Path, text: str, line: int, match: str) -> None:
    path = manifest(tmp_path, "cards.csv", text)
    for read in (list, len):
        with pytest.raises(InputError, match=match) as caught:
            read(open_items(path))
        assert str(caught.value).startswith(f"{path}, line {line}: ")


def test_csv_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "cards.csv").write_bytes("card_id,image\nä,a.png\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"cards\.csv, line \d: is not CSV in UTF-8"):
        list(open_items(tmp_path / "cards.csv"))


def test_json_lines(tmp_path: Path) -> None:
    lines = [
        json.dumps({"card_id": "a1", "image": "pics/a.png", "set": "S1", "number": 7, "tags": ["x"]}),
        "",
        json.dumps({"card_id": "ä", "image": "/abs/b.png"}, ensure_ascii=False),
    ]
    for name in ("cards.jsonl", "cards.ndjson"):
        items = open_items(manifest(tmp_path, name, "\n".join(lines)))
        assert len(items) == 2
        assert list(items) == [
            ("a1", tmp_path / "pics/a.png", {"set": "S1", "number": 7, "tags": ["x"]}),
            ("ä", Path("/abs/b.png"), {}),
        ]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "is not JSON"),
        ("[1]", "holds a list"),
        ("null", "holds a NoneType"),
        ("[" * 50_000, "is not JSON"),
        ('{"card_id": "a", "card_id": "b", "image": "a.png"}', "a key occurs twice"),
        ('{"image": "a.png"}', "card_id is missing"),
        ('{"card_id": "a"}', "image is missing"),
        ('{"card_id": 7, "image": "a.png"}', "card_id is 7; text"),
        ('{"card_id": "a", "image": ["a.png"]}', "image is .*; text"),
        ('{"card_id": " ", "image": "a.png"}', "card_id is"),
        ('{"card_id": "a", "image": "a.png", "price": NaN}', "not valid JSON"),
        ('{"card_id": "\\ud800", "image": "a.png"}', "not valid JSON"),
        ('{"card_id": "a", "image": "' + "x" * 2_000_000 + '"}', "longer than"),
    ],
    ids=lambda text: text[:24],
)
def test_json_faults_name_file_and_line(tmp_path: Path, text: str, match: str) -> None:
    path = manifest(tmp_path, "cards.jsonl", '{"card_id": "ok", "image": "a.png"}\n\n' + text)
    with pytest.raises(InputError, match=match) as caught:
        list(open_items(path))
    assert str(caught.value).startswith(f"{path}, line 3: ")


def test_a_faulty_manifest_is_found_before_anything_is_encoded(tmp_path: Path) -> None:
    for seed in range(40):
        save(tmp_path / f"{seed}.png", seed)
    rows = "".join(f"{seed},{seed}.png\n" for seed in range(40))
    path = manifest(tmp_path, "cards.csv", f"card_id,image\n{rows}x,\n")
    encoder = FakeEncoder()
    with pytest.raises(InputError, match="line 42"):
        Catalog.build(tmp_path / "c", open_items(path), encoder=encoder)
    assert encoder.calls == []
    assert not (tmp_path / "c").exists()


def test_a_manifest_is_built(tmp_path: Path) -> None:
    for seed in range(5):
        save(tmp_path / f"pics/{seed}.png", seed)
    rows = "".join(f"card-{seed},pics/{seed}.png,S{seed % 2}\n" for seed in range(6))
    path = manifest(tmp_path, "cards.csv", f"card_id,image,set\n{rows}")
    seen: list[tuple[str, int, int | None]] = []
    report = Catalog.build(
        tmp_path / "c", open_items(path), encoder=FakeEncoder(), progress=lambda *state: seen.append(state)
    )
    assert (report.added, [skip.card_id for skip in report.skipped]) == (5, ["card-5"])
    assert seen[0] == ("encode", 6, 6)
    with Catalog.open(tmp_path / "c") as catalog:
        rows_found, _ = catalog.search(FakeEncoder().encode([tmp_path / "pics/3.png"]), 1, where={"set": "S1"})
        assert catalog.card(int(rows_found[0, 0])) == ("card-3", {"set": "S1"})
        assert isinstance(rows_found, np.ndarray)
