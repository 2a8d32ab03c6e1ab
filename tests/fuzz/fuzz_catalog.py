"""Fuzzes catalogs: damages one as an input says, then opens, searches, filters, looks up and verifies it.

    python tests/fuzz/fuzz_catalog.py INPUT...                                    files, and all files of folders
    python tests/fuzz/fuzz_catalog.py --random N --seed S [--keep FOLDER]         N random inputs
    python tests/fuzz/fuzz_catalog.py --seconds SECONDS --seed S [--keep FOLDER]  as many as there is time for

An input is JSON: a template, whether the checksums are made to fit afterwards as an attacker would, and the damage step
by step. Whatever it is, the catalog works or raises CardrecError or OSError; on anything else the input is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from cardrec import changes, manifest
from cardrec.catalog import Catalog
from cardrec.duplicates import find_resemblances
from cardrec.errors import CardrecError
from cardrec.files import checksums
from cardrec.ingest import write_vectors
from cardrec.layout import HEADER_BYTES
from cardrec.manifest import MANIFEST

MOST_SECONDS = 30
DIMENSION = 40


# --- catalogs to damage


def make_template(folder: Path, dtype: Any, *, pruned: bool) -> None:
    """Two segments, with prefixes or without, and twins in both; two rows are removed."""
    generator = np.random.default_rng(7)
    vectors = generator.normal(size=(360, DIMENSION)) * (0.7 if pruned else 1.0) ** np.arange(DIMENSION)
    vectors[[10, 200, 335]] = vectors[5]
    names = [f"card-{row}" for row in range(360)]
    meta = [{"name": name, "language": "en" if row % 3 else "de", "artist": row % 5} for row, name in enumerate(names)]

    def fill(writer: Any, _: Any) -> list[Any]:
        write_vectors(writer, names[330:], vectors[330:], meta[330:], "error")
        return []

    with mock.patch("cardrec.pruning._MIN_ROWS", 64):
        Catalog.from_vectors(folder, names[:330], vectors[:330], meta[:330], dtype=dtype).close()
        changes.append(folder, fill, lambda state, start: find_resemblances(state, start).twins)
    with Catalog.open(folder) as catalog:
        catalog.remove(["card-1", "card-340"])
    (folder / "catalog.lock").unlink(missing_ok=True)
    if pruned != (folder / "segments/00000001/prefix.npy").exists():
        raise RuntimeError("the template has no prefixes, or should have none")


def make_templates(folder: Path) -> dict[str, Path]:
    """What the inputs name."""
    make_template(folder / "plain", "float32", pruned=False)
    make_template(folder / "pruned", "float16", pruned=True)
    return {path.name: path for path in folder.iterdir()}


# --- inputs

NUMBERS = (0, 1, -1, 2, 4, 40, 41, 255, 300, 330, 331, 65_536, 65_537, 2**31, 2**32, 2**53, 2**63, 2**64 + 330, 10**400)
VALUES: tuple[Any, ...] = (
    *NUMBERS,
    None,
    True,
    "",
    "x",
    "../../etc/passwd",
    [],
    {},
    [None],
    0.5,
    1e-320,
    1e29,
    1e300,
    -1.0,
    1e999,
)
BYTES = (
    "00",
    "01",
    "7f",
    "80",
    "ff",
    "00000000",
    "ffffffff",
    "0000c07f",
    "0000807f",
    "000080ff",
    "000080bf",
    "007c",
    "00fe",
)


def places_of(content: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a JSON object."""
    entries = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in entries:
        yield (*place, key)
        yield from places_of(value, (*place, key))


def random_place(choose: random.Random, name: str, size: int) -> int:
    """Mostly where damage gets past the first checks: behind an array's header, at the start of a database page."""
    if name.endswith(".sqlite") and choose.random() < 0.5:
        return min(size - 1, choose.randrange(0, size, 4096) + choose.randrange(64))
    start = HEADER_BYTES if name.endswith(".npy") and choose.random() < 0.9 else 0
    return choose.randrange(start, size)


def random_step(choose: random.Random, template: Path) -> list[Any]:
    """One change of a file or of the manifest."""
    names = sorted(str(path.relative_to(template)) for path in template.rglob("*") if path.is_file())
    files = [name for name in names if name != MANIFEST]
    content = json.loads((template / MANIFEST).read_bytes())
    kind = choose.choice([*["bytes"] * 9, *["noise"] * 3, "cut", "append", "swap", "delete", *["set"] * 4, "unset"])
    if kind in ("set", "unset"):
        place = list(choose.choice(list(places_of(content))))
        return [kind, place, choose.choice([*VALUES, choose.choice(list(content.values()))])][
            : 3 if kind == "set" else 2
        ]
    name = choose.choice(names if kind != "noise" and choose.random() < 0.2 else files)
    size = (template / name).stat().st_size
    values: dict[str, tuple[Any, ...]] = {
        "bytes": (random_place(choose, name, size), choose.choice([*BYTES, choose.randbytes(4).hex()])),
        "noise": (choose.randrange(2**32), choose.randrange(2, 100)),
        "cut": (choose.choice([0, size - 1, choose.randrange(size)]),),
        "append": (choose.randbytes(choose.randrange(1, 9)).hex(),),
        "swap": (choose.choice(names),),
        "delete": (),
    }
    return [kind, name, *values[kind]]


def random_input(choose: random.Random, templates: dict[str, Path]) -> dict[str, Any]:
    """One to four steps on one of the templates."""
    template = choose.choice(sorted(templates))
    steps = [random_step(choose, templates[template]) for _ in range(choose.choice([1, 1, 1, 2, 4]))]
    return {"template": template, "sealed": choose.random() < 0.8, "steps": steps}


# --- damage


def change_json(folder: Path, change: Callable[[Any], None]) -> None:
    """Apply a change to catalog.json, if it is still JSON and has such a place."""
    try:
        content = json.loads((folder / MANIFEST).read_bytes())
        change(content)
        data = json.dumps(content)
    except (ValueError, LookupError, TypeError, OSError):
        return
    (folder / MANIFEST).write_text(data)


def change_field(content: Any, kind: str, place: list[Any], value: Any) -> None:
    """Set or delete one value of the manifest."""
    for key in place[:-1]:
        content = content[key]
    if kind == "set":
        content[place[-1]] = value
    else:
        del content[place[-1]]


def changed(data: bytes, kind: str, values: list[Any]) -> bytes:
    """The contents of a file after one step."""
    match kind:
        case "bytes":
            new = bytes.fromhex(values[1])
            return data[: values[0]] + new + data[values[0] + len(new) :]
        case "noise":
            return noisy(data, values[1], random.Random(values[0]))
        case "cut":
            return data[: values[0]]
    return data + bytes.fromhex(values[0])


def noisy(data: bytes, places: int, choose: random.Random) -> bytes:
    """Some bytes overwritten, behind the header if there is so much."""
    new = bytearray(data)
    for _ in range(places if data else 0):
        new[choose.randrange(min(HEADER_BYTES, len(data) - 1), len(data))] = choose.choice([0, 1, 127, 128, 255])
    return bytes(new)


def apply(folder: Path, step: list[Any]) -> None:
    """Make one change; what an earlier step has taken away is left alone."""
    kind, where, *values = step
    if kind in ("set", "unset"):
        return change_json(folder, lambda content: change_field(content, kind, where, *(values or [None])))
    path = folder / where
    if not path.exists():
        return None
    if kind == "delete":
        path.unlink()
    elif kind == "swap":
        exchange(path, folder / values[0])
    else:
        path.write_bytes(changed(path.read_bytes(), kind, values))
    return None


def exchange(one: Path, other: Path) -> None:
    """Give each file the contents of the other."""
    if other.exists():
        contents = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(contents)


def reseal(folder: Path, steps: list[Any]) -> None:
    """Make the manifest agree with the files that the steps changed, and with itself."""
    touched = {str(each) for step in steps for each in step[1:3] if step[0] not in ("set", "unset")}

    def agree(content: Any) -> None:
        for segment in content["segments"]:
            for name in segment["files"]:
                path = folder / "segments" / str(segment["name"]) / name
                if str(path.relative_to(folder)) in touched and path.is_file():
                    size, sha256, edges = checksums(path)
                    segment["files"][name] = {"bytes": size, "sha256": sha256, "edges": edges}

    change_json(folder, agree)
    try:
        (folder / MANIFEST).write_bytes(manifest.seal(json.loads((folder / MANIFEST).read_bytes())))
    except (ValueError, TypeError, OSError, AttributeError):  # no object any more, or one that can't be sealed
        return


# --- what must hold


def search(catalog: Catalog) -> None:
    """Different live rows, whatever the numbers are."""
    queries = np.random.default_rng(1).normal(size=(3, catalog.dimension))
    for k, where in ((1, None), (5, None), (4, {"language": "en"}), (500, {"artist": [1, 2]}), (500, None)):
        rows, scores = catalog.search(queries, k, where=where)
        for found in rows.tolist():
            if len(set(found)) != len(found) or not np.isin(found, catalog.snapshot().live_rows()).all():
                raise AssertionError(f"rows twice, or removed ones: {found}")
        if rows.shape != scores.shape or (where is None and rows.shape[1] != min(k, len(catalog))):
            raise AssertionError(f"{rows.shape} rows and {scores.shape} scores for k = {k} of {len(catalog)}")


def look_up(catalog: Catalog) -> None:
    """Cards by row and by id."""
    snapshot = catalog.snapshot()
    for row in (0, 1, snapshot.rows - 1):
        catalog.card(row)
    for name in ("card-0", "card-1", "card-5", "card-340", "card-359"):
        snapshot.find(name)
        if name in catalog:
            catalog.twins(name)
    catalog.info()


USES: tuple[Callable[[Catalog], object], ...] = (search, look_up, Catalog.verify)


def try_catalog(folder: Path) -> bool:
    """Whether the catalog could be opened; what no damage may raise, by opening or using it, is raised."""
    try:
        catalog = Catalog.open(folder)
    except (CardrecError, OSError):
        return False
    with catalog:
        for use in USES:
            with contextlib.suppress(CardrecError, OSError):
                use(catalog)
    return True


def run_input(given: dict[str, Any], templates: dict[str, Path], folder: Path) -> bool:
    """Damage a copy of the template and try it."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(templates[given["template"]], folder)
    for step in given["steps"]:
        apply(folder, step)
    if given["sealed"]:
        reseal(folder, given["steps"])
    return try_catalog(folder)


# --- the program


def inputs(arguments: argparse.Namespace, templates: dict[str, Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The inputs asked for, by name."""
    for path in arguments.paths:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            yield file.name, json.loads(file.read_bytes())
    end = time.monotonic() + arguments.seconds
    for number in itertools.count():
        if number >= arguments.random and time.monotonic() >= end:
            return
        choose = random.Random(f"{arguments.seed} {number}")
        yield f"crash-{arguments.seed}-{number}.json", random_input(choose, templates)


def run_all(arguments: argparse.Namespace, scratch: Path) -> int:
    """Run all inputs and keep those that crash; returns the exit status."""
    templates = make_templates(scratch / "templates")
    count = opened = crashes = 0
    for name, given in inputs(arguments, templates):
        kept = arguments.keep / name
        kept.write_text(json.dumps(given))  # before: a signal leaves nobody to write it
        signal.alarm(MOST_SECONDS)
        try:
            opened += run_input(given, templates, scratch / "catalog")
        except Exception as error:  # noqa: BLE001 - this is what we are looking for
            print(f"{kept}: {type(error).__name__}: {error}", flush=True)
            crashes += 1
        else:
            kept.unlink()
        signal.alarm(0)
        count += 1
    print(f"{count} inputs ran, {opened} of the catalogs could be opened, {crashes} crashed")
    return min(crashes, 1)


def main() -> int:
    """See the top of the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path)
    parser.add_argument("--random", type=int, default=0)
    parser.add_argument("--seconds", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path())
    arguments = parser.parse_args()
    warnings.simplefilter("error")
    arguments.keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "templates").mkdir()
        return run_all(arguments, Path(scratch))


if __name__ == "__main__":
    sys.exit(main())
