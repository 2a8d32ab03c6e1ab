"""Between the rectifier and the search: the encoder, as slots to write into.

A backend owns a few *slots*. A caller takes one, writes cards into its pixels, submits it and waits for the vectors:

    with encoder.slot() as slot:
        rectify(frame, quads, slot.pixels[: len(quads)])
        slot.submit(len(quads))
        vectors = slot.wait()

Slots exist so that preprocessing writes straight into the accelerator's memory and several cards can be on their way.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cardrec.model import Model

__all__ = ["Encoder", "Slot"]


class Slot(Protocol):
    """The memory of one submission; one user at a time."""

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """(capacity, 224, 224, 3) uint8 RGB, C-contiguous, to write cards into."""

    def submit(self, count: int) -> None:
        """Starts encoding the first ``count`` cards; the pixels must not change until `wait` has returned."""

    def wait(self) -> NDArray[np.float32]:
        """The (count, dimension) unit vectors of what was submitted, in memory of their own.

        Raises:
            DeviceError: the backend failed.
        """


class Encoder(Protocol):
    """A backend: turns rectified cards into unit vectors. Thread-safe."""

    @property
    def model(self) -> Model:
        """The bundle it runs."""

    @property
    def name(self) -> str:
        """The backend's name, e.g. ``onnx``."""

    @property
    def capacity(self) -> int:
        """Cards that one slot holds."""

    def slot(self) -> AbstractContextManager[Slot]:
        """A free slot; waits while all are taken."""

    def close(self) -> None:
        """Releases everything; further calls do nothing."""
