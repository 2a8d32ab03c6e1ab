"""Between the rectifier and the search: the encoder, as slots to write into.

A backend owns a few *slots*. A caller takes one, writes cards into its pixels, submits it and waits for the vectors:

    with encoder.slot() as slot:
        rectify(frame, quads, slot.pixels[: len(quads)])
        slot.submit(len(quads))
        vectors = slot.wait()

Slots exist so that preprocessing writes straight into the accelerator's memory and several cards can be on their way.
`encode_in_order` keeps them so.
"""

from __future__ import annotations

import math
import mmap
import queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from cardrec.errors import CardrecError, DeviceTimeout
from cardrec.model import Model
from cardrec.search import QuantisedVectors, unit_vectors

__all__ = ["Embeddings", "Encoder", "Slot", "SlottedEncoder", "chunks", "encode_in_order", "page_aligned", "unit"]

Embeddings: TypeAlias = NDArray[np.float32] | QuantisedVectors
"""What encoders give and the search takes: (n, dimension) float32 unit vectors, or integers as an NPU returns them."""

SLOT_TIMEOUT_S = 60.0
"""How long a caller may wait for a slot: far above any queue that moves."""

Item = TypeVar("Item")


class Slot(Protocol):
    """The memory of one submission; one user at a time."""

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """(capacity, 224, 224, 3) uint8 RGB, C-contiguous, to write cards into."""

    def submit(self, count: int) -> None:
        """Starts encoding the first ``count`` cards; the pixels must not change until `wait` has returned.

        Raises:
            DeviceError: the backend failed.
        """

    def wait(self) -> Embeddings:
        """The (count, dimension) vectors of what was submitted, in memory of their own.

        Raises:
            DeviceError: the backend failed.
        """

    def settle(self) -> None:
        """Makes sure that nothing is on its way in it any more, though nobody wants the answer; raises nothing."""


class Encoder(Protocol):
    """A backend: turns rectified cards into vectors. Thread-safe."""

    @property
    def model(self) -> Model:
        """The bundle it runs."""

    @property
    def name(self) -> str:
        """The backend's name, e.g. ``onnx``."""

    @property
    def capacity(self) -> int:
        """Cards that one slot holds."""

    def acquire(self, *, wait: bool = True) -> Slot | None:
        """A free slot, to be given back by `release`; None if all are taken and ``wait`` is False.

        Raises:
            DeviceTimeout: none became free.
        """

    def release(self, slot: Slot) -> None:
        """Gives a slot back, whatever became of it; what is still on its way in it is waited for."""

    def slot(self) -> AbstractContextManager[Slot]:
        """A free slot for a ``with`` block; waits while all are taken."""

    def close(self) -> None:
        """Releases everything; further calls do nothing."""


class SlottedEncoder:
    """What backends share: slots, handed out to one user at a time, the one used last first: it is in the cache.

    Args:
        slots: all of them, free.
    """

    def __init__(self, slots: Iterable[Slot]) -> None:
        self._free: queue.LifoQueue[Slot] = queue.LifoQueue()
        for slot in slots:
            self._free.put(slot)
        self._closed = False

    def acquire(self, *, wait: bool = True) -> Slot | None:
        """See `Encoder.acquire`."""
        try:
            return self._take(wait=wait)
        except queue.Empty:
            return None

    def _take(self, *, wait: bool) -> Slot:
        if self._closed:
            raise CardrecError("this encoder is closed; open another one")
        try:
            return self._free.get(wait, SLOT_TIMEOUT_S)
        except queue.Empty:
            if wait:
                raise DeviceTimeout(f"all encoder slots were busy for {SLOT_TIMEOUT_S:.0f} s") from None
            raise

    def release(self, slot: Slot) -> None:
        """See `Encoder.release`."""
        slot.settle()
        self._free.put(slot)

    @contextmanager
    def slot(self) -> Iterator[Slot]:
        """See `Encoder.slot`."""
        slot = self._take(wait=True)
        try:
            yield slot
        finally:
            self.release(slot)

    def close(self) -> None:
        """Gives out no more slots."""
        self._closed = True


def encode_in_order(
    encoder: Encoder,
    items: Iterable[Item],
    write: Callable[[NDArray[np.uint8], list[Item]], None],
    take: Callable[[list[Item], Embeddings], None],
) -> None:
    """Sends items through an encoder in groups of its capacity, several on their way at once where it has the slots.

    Nobody waits for another's slot while holding one of his own, so callers on several threads can't block each other.

    Args:
        encoder: the backend.
        items: what is to be encoded.
        write: puts a group into a slot's pixels, (capacity, 224, 224, 3).
        take: is given each group with its vectors, in order.

    Raises:
        DeviceError: the backend failed. So does what ``write`` and ``take`` raise; no slot is kept.
    """
    flying: deque[tuple[Slot, list[Item]]] = deque()

    def land() -> None:
        slot, group = flying[0]
        vectors = slot.wait()
        flying.popleft()
        encoder.release(slot)
        take(group, vectors)

    try:
        for group in chunks(items, encoder.capacity):
            while (slot := encoder.acquire(wait=not flying)) is None:
                land()
            flying.append((slot, group))
            write(slot.pixels, group)
            slot.submit(len(group))
        while flying:
            land()
    finally:
        for slot, _ in flying:
            encoder.release(slot)


def chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items in order, in lists of ``size``; the last one may be shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def unit(vectors: Embeddings) -> NDArray[np.float32]:
    """Whatever an encoder gave as (n, dimension) float32 unit vectors, the scale of integers cancelling.

    Raises:
        InputError: a vector is zero, and has no direction.
    """
    if not isinstance(vectors, QuantisedVectors):
        return vectors
    return unit_vectors(vectors.values.astype(np.int32) - vectors.zero_point)


def page_aligned(shape: tuple[int, ...], dtype: type[np.generic] = np.uint8) -> NDArray[Any]:
    """Zeroed memory that starts on a page, which accelerators want and caches like."""
    count = math.prod(shape)
    memory = mmap.mmap(-1, count * np.dtype(dtype).itemsize)
    return np.frombuffer(memory, dtype, count=count).reshape(shape)
