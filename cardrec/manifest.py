"""catalog.json: which files make up a catalog, checked field by field before any of them is touched.

{"format": 3, "generation": 3, "model": {"fingerprint": "...", "preprocessing": "..."}, "dimension": 768,
 "dtype": "float32", "calibration": null, "checksum": "sha256 of all the rest", "basis": 32,
 "segments": [{"name": "00000001", "rows": 1000, "removed": "removed-00000003.npy",
               "prefix": {"scale": 0.003, "error": 0.02, "norm": 0.99},
               "files": {"vectors.npy": {"bytes": 3072128, "sha256": "...", "edges": "..."}, ...}}]}

`basis` is the length of the prefixes that the search prunes by, or null; the rotation lies in the first segment.
Format 1 has neither `basis` nor `prefix` and is read as if both were null. A segment may list pictures.sqlite, and
since format 3 paths.sqlite and twins.npy (without it nobody looked for twins); a catalog that has neither is written as
format 2, which older versions read.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cardrec.errors import CatalogFormatError, InputError
from cardrec.files import read_small, unsound, write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "FORMAT",
    "MANIFEST",
    "FileEntry",
    "Manifest",
    "PrefixEntry",
    "SegmentEntry",
    "checked",
    "parse",
    "read",
    "seal",
    "write",
]

FORMAT = 3
_FIRST_FORMAT, _SECOND_FORMAT = 1, 2
MANIFEST = "catalog.json"
SEGMENT_FILES = ("vectors.npy", "codes.npy", "scales.npy", "errors.npy", "cards.sqlite")
PREFIX_FILE, BASIS_FILE = "prefix.npy", "basis.npy"
PICTURES_FILE, PATHS_FILE = "pictures.sqlite", "paths.sqlite"
TWINS_FILE = "twins.npy"
_NEW_FILES = {PATHS_FILE, TWINS_FILE}  # of format 3
SEGMENT_NAME = re.compile(r"[0-9]{8,16}")
REMOVED_NAME = re.compile(r"removed-[0-9]{8,16}\.npy")
DTYPES = ("float32", "float16")

MAX_BYTES = 1 << 20  # 64 segments take about 100 KB
MAX_CALIBRATION_BYTES = MAX_BYTES // 2
MAX_SEGMENTS = (
    64  # up to five open files each, in three states while the catalog changes: below the usual limit of 1,024
)
MAX_ROWS = 2**31 - 1
MAX_DIMENSION = 65_536
_MAX_FILE_BYTES = 2**53
_HEX = re.compile(r"[0-9a-f]{64}")
_KEYS = {"format", "generation", "model", "dimension", "dtype", "calibration", "segments", "checksum", "basis"}


@dataclass(frozen=True, slots=True)
class FileEntry:
    """What a file must be: its size, the SHA-256 of all of it, and that of its first and last 4,096 bytes."""

    bytes: int
    sha256: str
    edges: str


@dataclass(frozen=True, slots=True)
class PrefixEntry:
    """The numbers that belong to a segment's prefix codes; see `cardrec.pruning.Prefix`."""

    scale: float
    error: float
    norm: float


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """One immutable folder of rows; ``removed`` names the file of its tombstones, a later one for each removal."""

    name: str
    rows: int
    files: Mapping[str, FileEntry]
    removed: str | None = None
    prefix: PrefixEntry | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """The contents of catalog.json."""

    fingerprint: str
    preprocessing: str
    dimension: int
    dtype: str = "float32"
    calibration: Mapping[str, Any] | None = None
    generation: int = 0
    segments: tuple[SegmentEntry, ...] = ()
    basis: int | None = None

    @property
    def rows(self) -> int:
        """Rows in all segments, removed ones included."""
        return sum(segment.rows for segment in self.segments)

    @property
    def format(self) -> int:
        """The first format that has what this catalog has."""
        is_new = any(not _NEW_FILES.isdisjoint(segment.files) for segment in self.segments)
        return FORMAT if is_new else _SECOND_FORMAT

    def next(self, segments: tuple[SegmentEntry, ...], generation: int, basis: int | None) -> Manifest:
        """The same catalog with other segments, a generation later."""
        return replace(self, segments=segments, generation=generation, basis=basis)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object, without its checksum."""
        return {
            "format": self.format,
            "generation": self.generation,
            "model": {"fingerprint": self.fingerprint, "preprocessing": self.preprocessing},
            "dimension": self.dimension,
            "dtype": self.dtype,
            "calibration": None if self.calibration is None else dict(self.calibration),
            "basis": self.basis,
            "segments": [_segment_dict(segment) for segment in self.segments],
        }


def _segment_dict(segment: SegmentEntry) -> dict[str, Any]:
    files = {
        name: {"bytes": entry.bytes, "sha256": entry.sha256, "edges": entry.edges}
        for name, entry in segment.files.items()
    }
    prefix = None if segment.prefix is None else asdict(segment.prefix)
    return {"name": segment.name, "rows": segment.rows, "removed": segment.removed, "prefix": prefix, "files": files}


def seal(content: Mapping[str, Any]) -> bytes:
    """The bytes of catalog.json: the object with the checksum of all its other fields."""
    unsealed = {key: value for key, value in content.items() if key != "checksum"}
    return (json.dumps({**unsealed, "checksum": _checksum(unsealed)}, indent=1) + "\n").encode()


def _checksum(unsealed: Mapping[str, Any]) -> str:
    canonical = json.dumps(unsealed, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def write(folder: Path, manifest: Manifest) -> None:
    """Swap the manifest in: the moment at which a change of the catalog takes effect."""
    data = seal(manifest.to_dict())
    parse(data, folder / MANIFEST)  # never write what can't be read back
    write_atomically(folder / MANIFEST, data)


def checked(manifest: Manifest) -> Manifest:
    """A manifest that a catalog may start from, so that a long build does not fail at its end.

    Raises:
        InputError: a field can't be written, or could not be read back.
    """
    try:
        data = seal(manifest.next((), 1, None).to_dict())
        parse(data, Path(MANIFEST))
    except (CatalogFormatError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"can't start a catalog with these values: {error}") from None
    if len(data) > MAX_CALIBRATION_BYTES:
        raise InputError(f"calibration takes {len(data)} bytes, at most {MAX_CALIBRATION_BYTES} were expected")
    return manifest


def read(folder: Path) -> Manifest:
    """Read and check catalog.json.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such folder.
        CatalogFormatError: the folder has no sound catalog.json.
    """
    path = folder / MANIFEST
    try:
        data = read_small(path, MAX_BYTES)
    except FileNotFoundError:
        if not folder.exists():
            raise
        raise unsound(path, "is missing, so this folder is no catalog", "build one with Catalog.build") from None
    return parse(data, path)


def parse(data: bytes, path: Path) -> Manifest:
    """Check the bytes of catalog.json; ``path`` is for the messages."""
    content = _load(data, path)
    try:
        keys = _KEYS - {"basis"} if _check_format(content) == _FIRST_FORMAT else _KEYS
        _require(set(content) == keys, f"has the fields {sorted(content)}, {sorted(keys)} were expected")
        _require(
            content["checksum"] == _checksum({key: value for key, value in content.items() if key != "checksum"}),
            "does not have the checksum it says: it was damaged or edited",
        )
        return _manifest(content)
    except _WrongFieldError as wrong:
        raise unsound(path, str(wrong), *wrong.remedy) from None


class _WrongFieldError(Exception):
    """A field that is not as it must be; the caller adds the path."""

    def __init__(self, what: str, *remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy


def _require(condition: bool, what: str, *remedy: str) -> None:
    if not condition:
        raise _WrongFieldError(what, *remedy)


def _load(data: bytes, path: Path) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise ValueError("a key occurs twice")
        return dict(pairs)

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is no JSON number")

    if not data:
        raise unsound(path, "has zero bytes")
    try:
        content = json.loads(data.decode("utf-8"), object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError) as error:  # JSONDecodeError, UnicodeDecodeError, an int of 5,000 digits
        raise unsound(path, f"is not JSON ({error})") from None
    if not isinstance(content, dict):
        raise unsound(path, f"holds a {type(content).__name__}, an object was expected")
    return content


def _check_format(content: Mapping[str, Any]) -> int:
    version = content.get("format")
    if type(version) is not int or version < _FIRST_FORMAT:
        raise _WrongFieldError(f"has format {version!r}, a whole number from {_FIRST_FORMAT} was expected")
    _require(
        version <= FORMAT,
        f"has format {version}, this version of cardrec reads up to format {FORMAT}",
        "upgrade cardrec, or build the catalog again with this version",
    )
    return version


def _whole(value: Any, name: str, low: int, high: int) -> int:
    """A JSON whole number in a range; true and 1.0 are none."""
    if type(value) is not int or not low <= value <= high:
        raise _WrongFieldError(f"{name} is {_short(value)}, a whole number from {low} to {high} was expected")
    return value


def _size(value: Any, name: str) -> float:
    if type(value) is not float or not 0.0 <= value < 1e30:
        raise _WrongFieldError(f"{name} is {_short(value)}, a number of at least 0.0 was expected")
    return value


def _text(value: Any, name: str, pattern: re.Pattern[str] | None = None, limit: int = 200) -> str:
    if not isinstance(value, str) or len(value) > limit or (pattern and not pattern.fullmatch(value)):
        expected = f"text like {pattern.pattern}" if pattern else f"text of at most {limit} characters"
        raise _WrongFieldError(f"{name} is {_short(value)}, {expected} was expected")
    return value


def _object(value: Any, name: str, keys: set[str] | None = None) -> dict[str, Any]:
    if not isinstance(value, dict) or (keys is not None and set(value) != keys):
        raise _WrongFieldError(f"{name} is {_short(value)}, an object with {sorted(keys or ())} was expected")
    return value


def _short(value: Any) -> str:
    if type(value) is int and abs(value) > MAX_ROWS**2:
        return "a huge number"
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:60] + "..."


def _manifest(content: Mapping[str, Any]) -> Manifest:
    model = _object(content["model"], "model", {"fingerprint", "preprocessing"})
    dtype = _text(content["dtype"], "dtype")
    _require(dtype in DTYPES, f"dtype is {dtype!r}, one of {DTYPES} was expected")
    listed = content["segments"]
    _require(isinstance(listed, list) and len(listed) <= MAX_SEGMENTS, f"segments is no list of at most {MAX_SEGMENTS}")
    dimension = _whole(content["dimension"], "dimension", 1, MAX_DIMENSION)
    basis = content.get("basis")
    if basis is not None and _whole(basis, "basis", 4, dimension) % 4:
        raise _WrongFieldError(f"basis is {basis}, a multiple of 4 was expected")
    segments = tuple(_segment(entry, index, content["format"], basis) for index, entry in enumerate(listed))
    _require(len({segment.name for segment in segments}) == len(segments), "two segments have the same name")
    calibration = content["calibration"]
    manifest = Manifest(
        fingerprint=_text(model["fingerprint"], "model.fingerprint"),
        preprocessing=_text(model["preprocessing"], "model.preprocessing"),
        dimension=dimension,
        dtype=dtype,
        calibration=None if calibration is None else _object(calibration, "calibration"),
        generation=_whole(content["generation"], "generation", 1, 2**53),
        segments=segments,
        basis=basis,
    )
    _require(manifest.rows <= MAX_ROWS, f"the segments have {manifest.rows} rows, at most {MAX_ROWS} are supported")
    return manifest


def _segment(value: Any, index: int, version: int, basis: int | None) -> SegmentEntry:
    where = f"segments[{index}]"
    prefix_key = set() if version == _FIRST_FORMAT else {"prefix"}
    entry = _object(value, where, {"name", "rows", "removed", "files"} | prefix_key)
    removed = entry["removed"]
    if removed is not None:
        removed = _text(removed, f"{where}.removed", REMOVED_NAME)
    prefix = _prefix(entry.get("prefix"), f"{where}.prefix", basis)
    expected = {*SEGMENT_FILES} | ({removed} if removed else set()) | ({PREFIX_FILE} if prefix else set())
    if basis is not None and index == 0:
        expected.add(BASIS_FILE)
    if isinstance(entry["files"], dict):
        optional = {PICTURES_FILE} | (_NEW_FILES if version > _SECOND_FORMAT else set())
        expected |= optional & set(entry["files"])
    files = _object(entry["files"], f"{where}.files", expected)
    return SegmentEntry(
        name=_text(entry["name"], f"{where}.name", SEGMENT_NAME),
        rows=_whole(entry["rows"], f"{where}.rows", 1, MAX_ROWS),
        files={name: _file(file, f"{where}.files[{name!r}]") for name, file in files.items()},
        removed=removed,
        prefix=prefix,
    )


def _prefix(value: Any, where: str, basis: int | None) -> PrefixEntry | None:
    if value is None:
        return None
    _require(basis is not None, f"{where} is there, but the catalog has no basis")
    fields = _object(value, where, {"scale", "error", "norm"})
    entry = PrefixEntry(**{name: _size(number, f"{where}.{name}") for name, number in fields.items()})
    _require(entry.scale > 0.0, f"{where}.scale is 0.0, a positive number was expected")
    return entry


def _file(value: Any, where: str) -> FileEntry:
    entry = _object(value, where, {"bytes", "sha256", "edges"})
    return FileEntry(
        bytes=_whole(entry["bytes"], f"{where}.bytes", 1, _MAX_FILE_BYTES),
        sha256=_text(entry["sha256"], f"{where}.sha256", _HEX),
        edges=_text(entry["edges"], f"{where}.edges", _HEX),
    )
