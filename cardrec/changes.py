"""What changes a catalog: create, append, remove, compact. Each is one transaction, all or nothing."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np

from cardrec.duplicates import find_resemblances
from cardrec.errors import CatalogError, CatalogMismatchError
from cardrec.manifest import MAX_SEGMENTS, Manifest, SegmentEntry
from cardrec.segment import Segment
from cardrec.segment_writer import SegmentWriter, write_removed, write_twins
from cardrec.snapshot import Snapshot
from cardrec.store import Transaction, creating, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["append", "calibrate", "check_model", "compact", "create", "remove"]

_COPY_ROWS = 1024

T = TypeVar("T")

Pairs: TypeAlias = "NDArray[np.int64]"
"""(m, 2) twins, the higher row first."""


def create(
    folder: Path,
    manifest: Manifest,
    overwrite: bool,
    fill: Callable[[SegmentWriter], T],
    compare: Callable[[Snapshot, int], Pairs],
) -> T:
    """Make a catalog of one segment, which ``fill`` writes; returns what that returns.

    ``compare`` is given what was written, before it counts, and the first new row, and returns the twins.
    """
    with (
        creating(folder, overwrite) as transaction,
        transaction.segment(manifest.dimension, manifest.dtype) as writer,
    ):
        result = fill(writer)
        _commit_alone(transaction, manifest, writer, compare)
    return result


def append(
    folder: Path, fill: Callable[[SegmentWriter, Snapshot], T], compare: Callable[[Snapshot, int], Pairs]
) -> tuple[int, T, Snapshot]:
    """Add the segment that ``fill`` writes; returns its first row, what ``fill`` returned, and the new state.

    ``compare`` is as in `create`.

    Raises:
        CatalogError: the catalog has so many segments that it should be compacted.
    """
    with writing(folder) as transaction:
        existing = Snapshot.open(folder)
        if len(existing.segments) >= MAX_SEGMENTS:
            raise CatalogError(f"{folder}: has {len(existing.segments)} segments already; call compact() first")
        with transaction.segment(existing.manifest.dimension, existing.manifest.dtype) as writer:
            result = fill(writer, existing)
            if writer.rows and existing.segments:
                segments = (*existing.manifest.segments, writer.finish(existing.basis))
                _commit_with_twins(transaction, existing.manifest, segments, existing.manifest.basis, compare)
            elif writer.rows:
                _commit_alone(transaction, existing.manifest, writer, compare)
        return existing.rows, result, Snapshot.open(folder)


def calibrate(folder: Path, measure: Callable[[Snapshot], Mapping[str, float]]) -> Snapshot:
    """Give a catalog the calibration that ``measure`` finds for its state; returns the new state."""
    with writing(folder) as transaction:
        existing = Snapshot.open(folder)
        manifest = replace(existing.manifest, calibration=measure(existing))
        transaction.commit(manifest, manifest.segments, manifest.basis)
        return Snapshot.open(folder)


def remove(folder: Path, card_ids: list[str]) -> tuple[int, Snapshot]:
    """Mark all rows of some cards as removed; returns their number and the new state.

    Raises:
        CatalogError: a card is not in the catalog; nothing is removed.
    """
    with writing(folder) as transaction:
        existing = Snapshot.open(folder)
        rows = _rows_of(existing, card_ids, folder)
        if rows:
            segments = tuple(
                _with_removed(segment, rows[index], transaction.generation) if index in rows else segment.entry
                for index, segment in enumerate(existing.segments)
            )
            transaction.commit(existing.manifest, segments, existing.manifest.basis)
        return sum(map(len, rows.values())), Snapshot.open(folder)


def compact(folder: Path) -> Snapshot:
    """Rewrite the live rows as one segment; returns the new state.

    Raises:
        CatalogFormatError: what is to be copied is damaged.
    """
    with writing(folder) as transaction:
        existing = Snapshot.open(folder)
        if len(existing.segments) > 1 or len(existing) < existing.rows:
            with transaction.segment(existing.manifest.dimension, existing.manifest.dtype) as writer:
                for segment in existing.segments:
                    segment.verify(existing.basis)  # or damaged rows would get new checksums
                    _copy_live(segment, writer)
                _commit_alone(transaction, existing.manifest, writer, partial(_kept_twins, existing))
        return Snapshot.open(folder)


def _kept_twins(existing: Snapshot, compacted: Snapshot, start: int) -> Pairs:
    """The twins of the rows that were copied; searched for where the catalog was written before there were twins."""
    if not existing.knows_twins:
        return find_resemblances(compacted, start, near=None).twins
    pairs = np.concatenate([segment.twins for segment in existing.segments if segment.twins is not None])
    rows = existing.live_rows()
    return np.searchsorted(rows, pairs[np.isin(pairs, rows).all(axis=1)])


def _commit_alone(
    transaction: Transaction, base: Manifest, writer: SegmentWriter, compare: Callable[[Snapshot, int], Pairs]
) -> None:
    """Make what was written the catalog's only segment, with a basis chosen for its rows; without rows it has none."""
    if not writer.rows:
        transaction.commit(base, (), None)
        return
    basis = writer.choose_basis()
    entry = writer.finish(basis, keep_basis=True)
    _commit_with_twins(transaction, base, (entry,), None if basis is None else len(basis.vectors), compare)


def _commit_with_twins(
    transaction: Transaction,
    base: Manifest,
    segments: tuple[SegmentEntry, ...],
    basis: int | None,
    compare: Callable[[Snapshot, int], Pairs],
) -> None:
    """Look for the twins of the last segment, the new one, write them and commit."""
    *before, new = segments
    state = Snapshot(transaction.folder, base.next(segments, transaction.generation, basis))
    pairs = compare(state, state.rows - new.rows)
    new = write_twins(state.segments[-1].folder, new, pairs)
    transaction.commit(base, (*before, new), basis)


def check_model(folder: Path, manifest: Manifest, fingerprint: str, preprocessing: str) -> None:
    """Refuse a catalog that was made with another model or another preprocessing.

    Raises:
        CatalogMismatchError: says which of the two differs.
    """
    for what, has, wants in (
        ("model", manifest.fingerprint, fingerprint),
        ("preprocessing", manifest.preprocessing, preprocessing),
    ):
        if has != wants:
            raise CatalogMismatchError(
                f"{folder}: was built with the {what} {has}, in use is {wants}; vectors of the two can't be compared: "
                f"build the catalog again with the model in use, or load the model it was built with"
            )


def _rows_of(existing: Snapshot, card_ids: list[str], folder: Path) -> dict[int, NDArray[np.int64]]:
    """The live rows of some cards, by the index of their segment."""
    found: dict[int, list[NDArray[np.int64]]] = {}
    unknown = []
    for card_id in card_ids:
        places = existing.find(card_id) if isinstance(card_id, str) else []
        for index, rows in places:
            found.setdefault(index, []).append(rows)
        if not places:
            unknown.append(card_id)
    if unknown:
        names = ", ".join(map(repr, unknown[:5])) + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")
        raise CatalogError(f"{folder}: {names} not in the catalog; nothing was removed")
    return {index: np.concatenate(rows) for index, rows in found.items()}


def _with_removed(segment: Segment, rows: NDArray[np.int64], generation: int) -> SegmentEntry:
    """The segment's entry with more tombstones; the file of the earlier ones is left for its readers."""
    removed = np.zeros(segment.entry.rows, np.bool_) if segment.removed is None else segment.removed.copy()
    removed[rows] = True
    name, file = write_removed(segment.folder, removed, generation)
    files = {each: entry for each, entry in segment.entry.files.items() if each != segment.entry.removed}
    return replace(segment.entry, files={**files, name: file}, removed=name)


def _copy_live(segment: Segment, writer: SegmentWriter) -> None:
    rows = segment.live_rows()
    for start in range(0, len(rows), _COPY_ROWS):
        part = rows[start : start + _COPY_ROWS]
        if segment.pictures is not None:
            writer.add_pictures([segment.pictures.data(row) for row in part.tolist()])
        if segment.paths is not None:
            writer.add_paths([segment.paths.place(row) for row in part.tolist()])
        writer.add([segment.cards.text(row) for row in part.tolist()], segment.vectors[part])
