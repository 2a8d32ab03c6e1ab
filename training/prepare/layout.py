"""Writes the layout: each card's pictures, the manifest, the pairs, the report."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from training.download.names import Names
from training.download.store import digest_of
from training.duplicates import Pair, write_pairs
from training.failure import Failure
from training.prepare.look import Facts, Place, look_at
from training.prepare.report import as_markdown, report
from training.prepare.sources import Picture, read_source
from training.prepare.swap import replaced
from training.progress import Progress

__all__ = ["prepare"]

MARK = ".files"


def prepare(
    path: Path,
    out: Path,
    *,
    height_px: int | None = None,
    copy: bool = False,
    duplicates: bool = True,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """Makes the layout of a source's cards; returns the report.

    Args:
        path: a download, a manifest or a folder.
        out: takes the place of an earlier layout there.
        height_px: pictures that are higher are scaled down to it.
        copy: copy files instead of linking them.
        duplicates: look for cards that look the same.
        progress: called with a stage, how much is done, of how much.

    Raises:
        Failure: one folder lies in the other, ``out`` holds other files, or no picture is sound.
        ValueError, OSError: the source can't be read, or nothing can be written. Nothing has changed then.
    """
    source = read_source(path)
    _require_apart(source.folder, out)
    with replaced(out, MARK) as made:
        seen = look_at(
            _places(source.pictures, made), out.absolute().parent, height_px=height_px, copy=copy, progress=progress
        )
        if all(facts.fault for facts in seen.facts):
            raise Failure(f"{path}: none of {len(seen.facts)} pictures is sound, the first since {seen.facts[0].fault}")
        pairs = seen.pairs() if duplicates else []
        _write_manifest(made, source.folder, source.pictures, seen.facts)
        if duplicates:
            _write_pairs(made / "duplicates.csv", source.pictures, pairs)
        found = report(source, seen.facts, pairs)
        (made / "report.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (made / "report.md").write_text(as_markdown(found, out.name), encoding="utf-8")
        names = sorted(str(each.relative_to(made)) for each in made.rglob("*") if each.is_file())
        (made / MARK).write_text("".join(f"{name}\n" for name in [MARK, *names]), encoding="utf-8")
    return found


def _require_apart(folder: Path, out: Path) -> None:
    inner, outer = out.resolve(), folder.resolve()
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise Failure(f"{out} and the source {folder} lie in one another; choose an --out beside it")


def _places(pictures: list[Picture], made: Path) -> list[Place]:
    """A folder for each card; pictures in it are numbered, so that no two of them can have one name."""
    names = Names()
    folders: dict[str, Path] = {}
    numbers: Counter[str] = Counter()
    places = []
    for picture in pictures:
        card_id = picture.card_id
        if card_id not in folders:
            folders[card_id] = made / names.take(card_id)
        numbers[card_id] += 1
        places.append(Place(picture, folders[card_id] / str(numbers[card_id])))
    return places


def _write_manifest(made: Path, folder: Path, pictures: list[Picture], facts: list[Facts]) -> None:
    lines = []
    for picture, fact in zip(pictures, facts, strict=True):
        if fact.placed is None:
            continue
        scaled = fact.placed.suffix != picture.path.suffix.lower() or fact.placed.stat().st_size != fact.bytes
        inner = str(picture.path.absolute().relative_to(folder.absolute()))
        lines.append(
            dict(picture.meta)
            | {
                "card_id": picture.card_id,
                "image": str(fact.placed.relative_to(made)),
                "sha256": digest_of(fact.placed) if scaled else fact.sha256,
                "bytes": fact.placed.stat().st_size,
                "width": fact.width,
                "height": fact.height,
                "source": inner.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"),
            }
        )
    text = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
    (made / "cards.jsonl").write_text(text, encoding="utf-8")


def _write_pairs(path: Path, pictures: list[Picture], pairs: list[Pair]) -> None:
    """Pairs of different cards; the file is there even where there are none, so that a config may name it always."""
    names = [picture.card_id for picture in pictures]
    write_pairs(path, names, [pair for pair in pairs if names[pair.a] != names[pair.b]])
