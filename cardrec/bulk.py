"""Many pictures to vectors, in order: the engines that building a catalog may run on.

An engine takes batches of cards and gives each batch back with what came of each of its pictures: a vector, or why
there is none. What is encoded together is the same on every engine, the pictures of one batch that can be read, and
so are the bits of the vectors, even where a network's depend on what it is given at a time.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cardrec.errors import CatalogError, InputError
from cardrec.machine import cores
from cardrec.search import unit_vectors

if TYPE_CHECKING:
    from cardrec.embed import Prepared
    from cardrec.ingest import CardEncoder
    from cardrec.types import ImageLike

__all__ = ["Batch", "Engine", "LocalEngine", "Outcome", "Pending", "encoded", "prepared", "unit_rows"]

AHEAD = 3
"""Batches whose pictures are decoded, or on their way, while one is encoded: 7 MB."""

# The machine's fault, not the picture's: skipping it would hide that the disk is full or that files are left open.
_FATAL = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT}


class Pending(NamedTuple):
    """A card that is to be encoded: its id, its metadata as JSON, its picture."""

    card_id: str
    text: str
    image: ImageLike


Batch: TypeAlias = list[Pending]
Outcome: TypeAlias = NDArray[np.float32] | InputError | OSError
"""A (dimension,) unit vector, or why the picture could not be used."""


class Engine(Protocol):
    """Where the pictures of a catalog are encoded."""

    def run(self, batches: Iterator[Batch]) -> Iterator[tuple[Batch, list[Outcome]]]:
        """The batches in order, each with what came of its cards, in theirs.

        Raises:
            Exception: what ``batches`` raised, once all that came before has been given back; or the machine's fault.
        """


class LocalEngine:
    """Encodes in this process. Pictures are decoded and scaled ahead on all cores, by encoders that can `prepare`."""

    def __init__(self, encoder: CardEncoder) -> None:
        self._encoder = encoder

    def run(self, batches: Iterator[Batch]) -> Iterator[tuple[Batch, list[Outcome]]]:
        """See `Engine.run`."""
        prepare = getattr(self._encoder, "prepare", None)
        if prepare is None:
            for batch in batches:
                yield batch, encoded(self._encoder, batch, [each.image for each in batch])
            return
        pool = ThreadPoolExecutor(cores(), "cardrec-decode")
        try:
            for batch, futures in _ahead(batches, lambda batch: [_start(pool, prepare, each) for each in batch]):
                yield batch, encoded(self._encoder, batch, [future.result() for future in futures])
        finally:
            pool.shutdown(cancel_futures=True)


def _start(pool: ThreadPoolExecutor, prepare: Callable[[ImageLike], Prepared], card: Pending) -> Future[Any]:
    """Prepares a card's picture on the pool; a PIL image, which only one thread may decode, at once."""
    if isinstance(card.image, (str, os.PathLike, np.ndarray)):
        return pool.submit(prepared, prepare, card.image)
    done: Future[Any] = Future()
    done.set_result(prepared(prepare, card.image))
    return done


def _ahead(
    batches: Iterator[Batch], start: Callable[[Batch], list[Future[Any]]]
) -> Iterator[tuple[Batch, list[Future[Any]]]]:
    """The batches in order, each started `AHEAD` of its turn; what their source raises comes in its turn, too."""
    started: deque[tuple[Batch, list[Future[Any]]]] = deque()
    failure: Exception | None = None
    while failure is None:
        try:
            batch = next(batches)
        except Exception as error:  # noqa: BLE001 - raised below, StopIteration aside
            failure = error
            break
        started.append((batch, start(batch)))
        if len(started) > AHEAD:
            yield started.popleft()
    yield from started
    if not isinstance(failure, StopIteration):
        raise failure


def prepared(prepare: Callable[[ImageLike], Prepared], image: ImageLike) -> Prepared | InputError | OSError:
    """The picture as the model's input, or why it can't be used.

    Raises:
        OSError: the machine's fault.
    """
    try:
        return prepare(image)
    except (InputError, OSError) as error:
        _raise_if_fatal(error)
        return error


def encoded(encoder: CardEncoder, batch: Batch, pictures: Sequence[Any]) -> list[Outcome]:
    """What came of a batch: of its ``pictures``, of which some may be the errors that `prepared` found.

    All are encoded together; if that fails each on its own, to find those that can't be used.

    Raises:
        OSError: the machine's fault.
        CatalogError: the encoder gave something else than a vector for each picture.
    """
    outcomes: list[Outcome] = list(pictures)
    usable = [place for place, each in enumerate(pictures) if not isinstance(each, Exception)]
    try:
        vectors: Sequence[Outcome] = list(_encode(encoder, batch, pictures, usable))
    except (InputError, OSError) as error:
        _raise_if_fatal(error)
        vectors = [_alone(encoder, batch, pictures, place) for place in usable]
    for place, vector in zip(usable, vectors, strict=True):
        outcomes[place] = vector
    return outcomes


def _alone(encoder: CardEncoder, batch: Batch, pictures: Sequence[Any], place: int) -> Outcome:
    try:
        vector: NDArray[np.float32] = _encode(encoder, batch, pictures, [place])[0]
    except (InputError, OSError) as error:
        _raise_if_fatal(error)
        return error
    return vector


def _encode(encoder: CardEncoder, batch: Batch, pictures: Sequence[Any], places: Sequence[int]) -> NDArray[np.float32]:
    """The (n, dimension) unit vectors of the pictures at some places of a batch."""
    if not places:
        return np.empty((0, encoder.dimension), np.float32)
    vectors = np.asarray(encoder.encode([pictures[place] for place in places]))
    if vectors.shape != (len(places), encoder.dimension):
        raise CatalogError(
            f"the encoder gave vectors of shape {vectors.shape}; {(len(places), encoder.dimension)} was expected"
        )
    return unit_rows(vectors, [batch[place].card_id for place in places])


def unit_rows(vectors: NDArray[Any], card_ids: Sequence[str]) -> NDArray[np.float32]:
    """The rows scaled to length 1; a row that has no direction is an `InputError` that names the card."""
    largest = np.abs(vectors.astype(np.float64)).max(axis=1)
    wrong = ~(np.isfinite(largest) & (largest > 0))
    if wrong.any():
        card_id = card_ids[int(np.argmax(wrong))]
        raise InputError(f"the vector of card {card_id!r} is zero, NaN or infinite; a direction was expected")
    return unit_vectors(vectors)


def _raise_if_fatal(error: Exception) -> None:
    if isinstance(error, OSError) and error.errno in _FATAL:
        raise error
