"""A catalog: the cards that can be recognised, in a folder of memory-mapped files. See `Catalog`."""

from __future__ import annotations

import logging
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cardrec import changes
from cardrec.changes import check_model
from cardrec.duplicates import NEAR, Duplicate, check_near, find_resemblances
from cardrec.errors import CatalogError, InputError
from cardrec.ingest import BuildReport, CardEncoder, OnDuplicate, OnSkip, Progress, Skipped, write_items, write_vectors
from cardrec.manifest import MAX_DIMENSION, Manifest, checked
from cardrec.pictures import PictureKind, kind_of
from cardrec.snapshot import Snapshot, VerifyReport, read_stable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import TracebackType

    from numpy.typing import ArrayLike, NDArray

    from cardrec.bulk import Engine
    from cardrec.calibrate import Sample
    from cardrec.importer import Item
    from cardrec.search import QuantisedVectors
    from cardrec.segment_writer import SegmentWriter

__all__ = ["BuildReport", "Catalog", "Duplicate", "Skipped", "VerifyReport"]

PathLike = str | os.PathLike[str]
_log = logging.getLogger("cardrec")

Dtype = Literal["float32", "float16"]


class Catalog:
    """Cards by their embeddings, with ids and metadata: exact search over mapped rows. Thread-safe, a context manager.

    An open catalog stays as it is, also while other processes change the files; its own `append`, `remove` and
    `compact` take effect when they return. There is one writer at a time: a second one is refused.

    Example:
        >>> Catalog.build("my.catalog", [("p-25", "p25.jpg", {"set": "A1"})], encoder=embedder)
        >>> with Catalog.open("my.catalog") as catalog:
        ...     rows, scores = catalog.search(embedder.encode(["photo.jpg"]), 5, where={"set": "A1"})
        ...     print(catalog.card(rows[0, 0]))
        ('p-25', {'set': 'A1'})
    """

    def __init__(self, path: PathLike) -> None:
        """The same as `open`."""
        self.path = Path(path)
        self._snapshot: Snapshot | None = Snapshot.open(self.path)

    @classmethod
    def open(cls, path: PathLike) -> Catalog:
        """Open a catalog for reading; needs no right to write.

        Raises:
            FileNotFoundError, NotADirectoryError, PermissionError: the folder can't be read.
            CatalogFormatError: its files are not a sound catalog of a format that this version reads.
        """
        return cls(path)

    @classmethod
    def build(
        cls,
        path: PathLike,
        items: Iterable[Item],
        *,
        encoder: CardEncoder,
        overwrite: bool = False,
        on_duplicate: OnDuplicate = "error",
        dtype: Dtype = "float32",
        calibration: Mapping[str, Any] | Literal["measure"] | None = "measure",
        near: float | None = NEAR,
        on_skip: OnSkip | None = None,
        progress: Progress | None = None,
        pictures: bool | PictureKind = False,
        engine: Engine | None = None,
    ) -> BuildReport:
        """Encode pictures and write a new catalog. The items are streamed, few in memory, however many there are.

        Args:
            path: the folder to make; its parents are made too.
            items: (card_id, image, metadata); see `cardrec.importer.open_items` for folders and manifests.
            encoder: an `Embedder` or a `Recognizer`.
            overwrite: replace an existing catalog; files that are not the catalog's own are left alone.
            on_duplicate: ``"keep-all"`` keeps several views of a card under one card_id; else that is an error.
            dtype: of the stored vectors; ``"float16"`` halves them, the search is exact with respect to what is stored.
            calibration: numbers for the decision, kept with the catalog. ``"measure"`` finds them on simulated photos
                of some of its cards, which takes some seconds; None leaves it to the model's.
            near: cosine from which pictures under different ids are reported as near-duplicates; None: no report.
                Those that no photo tells apart are found and kept as groups in any case, see `twins`.
            on_skip: called with (card_id, source, reason) for each picture that can't be used.
            progress: called with (stage, done, total or None), stage ``"encode"``, then ``"duplicates"``.
            pictures: for the recognizer's second look, ``"webp"`` or True keeps a small copy of each picture, about 13
                KB; arrays are taken in the order of colours that ``encoder.color`` says, BGR where it says none.
                ``"paths"`` keeps only where each lies, relative to the catalog if that is below the catalog's parent
                folder, and what it holds: one that is gone or changed later is not compared. All items must be paths.
            engine: where the pictures are encoded, such as a `cardrec.bulk_ray.RayEngine`; None: in this process.

        Returns:
            What was added, what was skipped and why, which cards look the same, and which can't be told apart.

        Raises:
            CatalogError: there is a catalog already, or other files; a card_id occurs twice; no picture could be used.
            InputError: an item is no (card_id, image, metadata), or its image no path with ``pictures="paths"``.
        """
        if near is not None:
            check_near(near)
        folder, kind = Path(path), kind_of(pictures)
        from cardrec.calibrate import Sample  # and with it OpenCV, which opening a catalog does not need

        sample = Sample() if calibration == "measure" else None
        given = None if isinstance(calibration, str) else calibration
        manifest = _manifest(encoder.fingerprint, encoder.preprocessing_hash, encoder.dimension, dtype, given)

        def fill(writer: SegmentWriter) -> list[Skipped]:
            return write_items(
                writer,
                None,
                items,
                encoder,
                on_duplicate=on_duplicate,
                on_skip=on_skip,
                progress=progress,
                pictures=kind,
                seen=None if sample is None else sample.see,
                engine=engine,
            )

        comparison = _Comparison(near, progress)
        skipped = changes.create(folder, manifest, overwrite, fill, comparison)
        if sample is not None:
            _calibrate(folder, sample, encoder)
        return comparison.report(Snapshot.open(folder), 0, skipped)

    @classmethod
    def from_vectors(
        cls,
        path: PathLike,
        card_ids: Sequence[str],
        vectors: ArrayLike,
        meta: Sequence[Mapping[str, object]] | None = None,
        *,
        fingerprint: str = "unknown",
        preprocessing_hash: str = "unknown",
        overwrite: bool = False,
        on_duplicate: OnDuplicate = "error",
        dtype: Dtype = "float32",
        calibration: Mapping[str, Any] | None = None,
    ) -> Catalog:
        """Write a new catalog from (n, d) vectors that are there already, and open it; rows are scaled to length 1.

        Without the ``fingerprint`` and ``preprocessing_hash`` of the model that made them, no recognizer takes it.

        Raises:
            CatalogError: there is a catalog already, or other files; a card_id occurs twice.
            InputError: the lengths differ, or a vector is zero or not finite.
        """
        array = np.asarray(vectors)
        if array.ndim != 2 or array.dtype.kind not in "fiu" or not 1 <= array.shape[1] <= MAX_DIMENSION:
            raise InputError(
                f"vectors has shape {array.shape} and dtype {array.dtype}; (n, d) real numbers were expected"
            )
        if len(card_ids) != len(array) or (meta is not None and len(meta) != len(array)):
            counts = f"{len(card_ids)} card_ids, {len(array)} vectors, {'no' if meta is None else len(meta)} metadata"
            raise InputError(f"got {counts}; one of each for each row was expected")
        manifest = _manifest(fingerprint, preprocessing_hash, array.shape[1], dtype, calibration)

        def fill(writer: SegmentWriter) -> None:
            write_vectors(writer, card_ids, array, meta, on_duplicate)

        changes.create(Path(path), manifest, overwrite, fill, _Comparison(None, None))
        return cls.open(path)

    def append(
        self,
        items: Iterable[Item],
        *,
        encoder: CardEncoder,
        on_duplicate: OnDuplicate = "error",
        near: float | None = NEAR,
        on_skip: OnSkip | None = None,
        progress: Progress | None = None,
        pictures: bool | PictureKind | None = None,
    ) -> BuildReport:
        """Add cards, all or none; see `build`. Rows keep their numbers; a card_id that is there already is a duplicate.

        ``pictures`` None keeps pictures as the catalog has kept the last ones.

        Raises:
            CatalogMismatchError: the catalog was made with another model.
            CatalogError: as in `build`, or another writer is at work.
        """
        self.snapshot()
        if near is not None:
            check_near(near)
        kind = None if pictures is None else kind_of(pictures)

        def fill(writer: SegmentWriter, existing: Snapshot) -> list[Skipped]:
            check_model(self.path, existing.manifest, encoder.fingerprint, encoder.preprocessing_hash)
            return write_items(
                writer,
                existing,
                items,
                encoder,
                on_duplicate=on_duplicate,
                on_skip=on_skip,
                progress=progress,
                pictures=next(iter(existing.picture_kinds), None) if pictures is None else kind,
            )

        comparison = _Comparison(near, progress)
        start, skipped, self._snapshot = changes.append(self.path, fill, comparison)
        return comparison.report(self._snapshot, start, skipped)

    def remove(self, card_ids: Iterable[str]) -> int:
        """Remove cards with all their views, all or none; returns the number of rows. `compact` frees the space.

        Raises:
            CatalogError: a card_id is not in the catalog (nothing is removed then), or another writer is at work.
        """
        if isinstance(card_ids, str):
            raise InputError(f"card_ids is the text {card_ids!r}; a list of card_ids was expected")
        self.snapshot()
        count, self._snapshot = changes.remove(self.path, list(dict.fromkeys(card_ids)))
        return count

    def compact(self) -> None:
        """Rewrite the live rows as one segment: frees the space of removed rows, renumbers the rest in their order."""
        self.snapshot()
        self._snapshot = changes.compact(self.path)

    def verify(self) -> VerifyReport:
        """Read every byte of the catalog as it is on disk now, and check it: checksums, schema, rows against codes.

        Raises:
            CatalogFormatError: names the first file that is not as it must be.
        """
        self.snapshot()
        return read_stable(self.path, lambda manifest: Snapshot(self.path, manifest).verify())

    def snapshot(self) -> Snapshot:
        """The state that this object shows now: hold it to search and look up rows while another thread may compact.

        Raises:
            CatalogError: the catalog is closed.
        """
        snapshot = self._snapshot
        if snapshot is None:
            raise CatalogError(f"{self.path}: this catalog is closed; open it again")
        return snapshot

    def search(
        self, vectors: ArrayLike | QuantisedVectors, k: int, *, where: Mapping[str, object] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The k rows with the highest cosine to each vector, exactly; equal ones in the order of their rows.

        Args:
            vectors: (d,) or (n, d); of any length other than zero. Or what an accelerator gives, as `QuantisedVectors`.
            k: rows wanted; where fewer are allowed, the result has fewer columns.
            where: metadata that a row must have: ``{"set": "A1", "language": ["en", "de"]}``; of several values for a
                key any will do. Values are compared as text.

        Returns:
            Rows, int64 (n, k'), and scores, float32 (n, k'), best first.

        Raises:
            InputError: a vector is zero, not finite or of another dimension; k is under 1; ``where`` is no mapping.
        """
        return self.snapshot().search(vectors, k, where=where)

    def card(self, row: int) -> tuple[str, dict[str, Any]]:
        """Id and metadata of a row.

        Raises:
            InputError: there is no such row.
        """
        return self.snapshot().card(row)

    def cards(self, rows: Sequence[int] | NDArray[np.int64]) -> list[tuple[str, dict[str, Any]]]:
        """Ids and metadata of some rows, in their order."""
        return self.snapshot().cards(rows)

    def picture(self, row: int) -> NDArray[np.uint8] | None:
        """The small picture of a row, (h, w, 3) uint8 RGB, upright; None where the catalog keeps none of it.

        Nor is there one of a row whose picture is kept by path and is gone, or not what was embedded; that is logged.

        Raises:
            InputError: there is no such row.
            CatalogFormatError: the catalog's copy of the picture is damaged.
        """
        return self.snapshot().picture(row)

    def twins(self, card_id: str) -> list[str]:
        """The other cards whose pictures no photo tells from this card's, in the order of their rows.

        Raises:
            CatalogError: the card is not in the catalog.
        """
        snapshot = self.snapshot()
        rows = snapshot.rows_of(card_id)
        if not rows:
            raise CatalogError(f"{self.path}: {card_id!r} not in the catalog")
        alike = sorted({other for row in rows for other in snapshot.twins(row)})
        return [each for each in snapshot.ids(alike) if each != card_id]

    def __len__(self) -> int:
        """Rows, without the removed ones."""
        return len(self.snapshot())

    def __contains__(self, card_id: object) -> bool:
        return card_id in self.snapshot()

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.snapshot().manifest.dimension

    @property
    def calibration(self) -> Mapping[str, Any] | None:
        """The numbers for the decision that the catalog was built with, if any."""
        return self.snapshot().manifest.calibration

    def check_model(self, fingerprint: str, preprocessing_hash: str) -> None:
        """Refuse a model that the catalog was not made with.

        Raises:
            CatalogMismatchError: another model, or another preprocessing.
        """
        check_model(self.path, self.snapshot().manifest, fingerprint, preprocessing_hash)

    def info(self) -> dict[str, Any]:
        """What the catalog is, as plain JSON types."""
        snapshot = self.snapshot()
        manifest = snapshot.manifest
        return {
            "path": str(self.path),
            "format": manifest.format,
            "generation": manifest.generation,
            "cards": len(snapshot),
            "removed": snapshot.rows - len(snapshot),
            "segments": len(manifest.segments),
            "dimension": manifest.dimension,
            "dtype": manifest.dtype,
            "pictures": snapshot.picture_kinds,
            "twins": len(snapshot.twin_groups()) if snapshot.knows_twins else None,
            "bytes": sum(file.bytes for segment in manifest.segments for file in segment.files.values()),
            "fingerprint": manifest.fingerprint,
            "preprocessing_hash": manifest.preprocessing,
            "calibration": None if manifest.calibration is None else dict(manifest.calibration),
        }

    def close(self) -> None:
        """Let go of the files; idempotent. Searches under way in other threads end well."""
        self._snapshot = None

    def __enter__(self) -> Catalog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _calibrate(folder: Path, sample: Sample, encoder: CardEncoder) -> None:
    """Calibrates a new catalog on its own cards; where they can't be photographed it stays with the model's numbers."""
    from cardrec.calibrate import FEWEST_CARDS, calibrate

    cards = sample.cards()
    if len(cards) < FEWEST_CARDS:
        return
    try:
        changes.calibrate(folder, lambda snapshot: calibrate(cards, encoder, snapshot))
    except InputError as error:  # an encoder whose arrays hold luma and chroma, say
        _log.warning("%s: not calibrated on its own cards: %s", folder, error)


def _manifest(
    fingerprint: str, preprocessing: str, dimension: int, dtype: str, calibration: Mapping[str, Any] | None
) -> Manifest:
    return checked(Manifest(fingerprint, preprocessing, int(dimension), dtype, calibration))


class _Comparison:
    """Compares new rows with the catalog, once, and keeps what is to be reported."""

    def __init__(self, near: float | None, progress: Progress | None) -> None:
        self._near = near
        self._tell = None if progress is None else partial(progress, "duplicates")
        self._duplicates: list[Duplicate] = []

    def __call__(self, snapshot: Snapshot, start: int) -> NDArray[np.int64]:
        """The twins of the rows from ``start`` on."""
        self._duplicates, twins = find_resemblances(snapshot, start, near=self._near, progress=self._tell)
        return twins

    def report(self, snapshot: Snapshot, start: int, skipped: list[Skipped]) -> BuildReport:
        """What was added from ``start`` on."""
        groups = [snapshot.ids(rows) for rows in snapshot.twin_groups() if rows[-1] >= start]
        return BuildReport(snapshot.rows - start, skipped, self._duplicates, groups)
