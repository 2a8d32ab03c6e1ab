"""Damaging a catalog on purpose, also as somebody would who can compute checksums, and checking that it is refused."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from small_catalog import FakeEncoder, files_of, item, items

from cardrec import manifest
from cardrec.catalog import Catalog
from cardrec.errors import CatalogError, CatalogFormatError
from cardrec.files import checksums

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SEGMENT = "segments/00000001"
FILES = ("vectors.npy", "codes.npy", "scales.npy", "errors.npy", "cards.sqlite", "removed-00000002.npy", "twins.npy")


def make_template(path: Path) -> Path:
    """300 cards, one of them removed: files longer than the two pages that `open` checks, a tombstone, and twins."""
    given = [*items(range(299)), item(298, "card-299")]
    Catalog.build(path, given, encoder=FakeEncoder(), near=None, calibration=None)
    with Catalog.open(path) as catalog:
        catalog.remove(["card-1"])
    return path


def refuses(path: Path, name: str, match: str | None = None) -> None:
    """Opening and writing raise the typed error with file and remedy, and change nothing."""
    before = files_of(path)
    for use in (
        lambda: Catalog.open(path),
        lambda: Catalog.build(path, [], encoder=FakeEncoder()),
    ):
        with pytest.raises(CatalogError):
            use()
    with pytest.raises(CatalogFormatError, match=match) as caught:
        Catalog.open(path)
    assert name in str(caught.value)
    assert ";" in str(caught.value)  # "what is wrong; what to do"
    assert files_of(path) == before


def content_of(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((path / "catalog.json").read_bytes())
    return content


def reseal(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change catalog.json as an attacker would: with a checksum that fits."""
    content = content_of(path)
    change(content)
    (path / "catalog.json").write_bytes(manifest.seal(content))


def reseal_file(path: Path, name: str) -> None:
    """Make the manifest agree with a file that was changed."""
    size, sha256, edges = checksums(path / SEGMENT / name)
    entry = {"bytes": size, "sha256": sha256, "edges": edges}
    reseal(path, lambda content: content["segments"][0]["files"].update({name: entry}))


def alter(path: Path, name: str, *statements: str) -> None:
    """Change a segment's database as somebody would who can compute checksums."""
    connection = sqlite3.connect(path / SEGMENT / name)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    reseal_file(path, name)


def resealed(path: Path) -> Catalog:
    """The helpers above, themselves checked: a manifest that was resealed unchanged is fine."""
    reseal(path, lambda _: None)
    for name in FILES:
        reseal_file(path, name)
    return Catalog.open(path)
