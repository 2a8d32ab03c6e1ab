"""Pictures of whole cards to unit vectors: what building a catalog needs of an encoder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from cardrec import hailo_facts
from cardrec.encode import Embeddings, Encoder, encode_in_order, unit
from cardrec.errors import DeviceError, InputError, ModelError
from cardrec.image import Frame, load
from cardrec.model import Model
from cardrec.rectify import INPUT_SIZE, whole
from cardrec.types import Color, ImageLike

__all__ = ["Embedder", "Prepared", "open_encoder"]


def open_encoder(model: Model | str | Path | None = None, *, backend: str = "auto", threads: int = 0) -> Encoder:
    """The encoder of a model on a backend.

    Args:
        model: a bundle or its folder; None is the one that comes with the library.
        backend: ``hailo``, ``onnx``, or ``auto``: Hailo where there is a device that takes the model, else ONNX
            Runtime, which the log says once. ``hailo`` never falls back.
        threads: threads for one inference on the CPU; 0: all cores.

    Raises:
        DeviceUnavailable: the backend is not there.
        DeviceBusy: the device is taken.
        InputError: no such backend, or a negative number of threads.
        ModelError: the bundle is missing or damaged, or not compiled for the device.
    """
    if backend not in ("auto", "onnx", "hailo"):
        raise InputError(f"backend={backend!r}; expected 'auto', 'onnx' or 'hailo'")
    if threads < 0:
        raise InputError(f"threads={threads}; expected 0 (all cores) or a positive number")
    bundle = model if isinstance(model, Model) else Model.load(model)
    if backend == "hailo":
        from cardrec.backends.hailo import HailoEncoder

        return HailoEncoder(bundle)
    encoder = _hailo_if_it_works(bundle) if backend == "auto" else None
    if encoder is None:
        from cardrec.backends.onnx import OnnxEncoder

        encoder = OnnxEncoder(bundle, threads=threads)
    return encoder


def _hailo_if_it_works(model: Model) -> Encoder | None:
    """The device, if there is one for the model."""
    if not hailo_facts.nodes():
        _say_once(logging.INFO, "there is no Hailo device: the model runs on the CPU")
        return None
    from cardrec.backends.hailo import HailoEncoder

    try:
        return HailoEncoder(model)
    except (DeviceError, ModelError) as error:
        _say_once(logging.WARNING, f"the model runs on the CPU, not on the Hailo device: {error}")
        return None


@lru_cache
def _say_once(level: int, message: str) -> None:
    logging.getLogger(__name__).log(level, message)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A picture of a whole card as the model takes it: (224, 224, 3) uint8 RGB; see `Embedder.prepare`."""

    pixels: NDArray[np.uint8]


class Embedder:
    """Turns pictures of whole cards into unit vectors; thread-safe, a context manager.

    Args:
        encoder: the backend, or None for the bundled model on the default backend. `close` closes it.
        color: what arrays hold.

    Example:
        >>> with Embedder() as embedder:
        ...     embedder.encode(["a.jpg", "b.png"]).shape
        (2, 768)
    """

    def __init__(self, encoder: Encoder | None = None, *, color: Color = "bgr") -> None:
        self._encoder = open_encoder() if encoder is None else encoder
        self._color = color

    @property
    def fingerprint(self) -> str:
        """Names the embedding space."""
        return self._encoder.model.fingerprint

    @property
    def preprocessing_hash(self) -> str:
        """Names the preprocessing."""
        return self._encoder.model.preprocessing_hash

    @property
    def color(self) -> Color:
        """What arrays hold."""
        return self._color

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._encoder.model.dimension

    def encode(
        self, images: ImageLike | Frame | Prepared | Sequence[ImageLike | Frame | Prepared]
    ) -> NDArray[np.float32]:
        """Embeds pictures that show one whole card each, nothing around it.

        Args:
            images: one picture or a sequence of them; a (n, H, W, 3) uint8 array is n pictures.

        Returns:
            (n, dimension) float32 unit vectors.

        Raises:
            InputError: a picture can't be used.
            OSError: a path can't be read.
        """
        vectors: list[NDArray[np.float32]] = []

        def keep(_: object, some: Embeddings) -> None:
            vectors.append(unit(some))

        encode_in_order(self._encoder, images if _is_sequence(images) else [images], self._write, keep)  # type: ignore[arg-type]
        return np.concatenate(vectors) if vectors else np.empty((0, self.dimension), np.float32)

    def prepare(self, image: ImageLike | Frame) -> Prepared:
        """Scales a picture to the model's input, which `encode` takes instead; on several threads at once if need be.

        Raises:
            InputError: the picture can't be used.
            OSError: a path can't be read.
        """
        made = Prepared(np.empty((INPUT_SIZE, INPUT_SIZE, 3), np.uint8))
        self._scale(image, made.pixels)
        return made

    def _write(self, pixels: NDArray[np.uint8], images: Sequence[ImageLike | Frame | Prepared]) -> None:
        for place, image in zip(pixels, images, strict=False):
            if isinstance(image, Prepared):
                place[:] = image.pixels
            else:
                self._scale(image, place)

    def _scale(self, image: ImageLike | Frame, place: NDArray[np.uint8]) -> None:
        whole(image if isinstance(image, Frame) else load(image, color=self._color), place)

    def close(self) -> None:
        """Closes the encoder; further calls do nothing."""
        self._encoder.close()

    def __enter__(self) -> Embedder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _is_sequence(images: object) -> bool:
    """Whether this is several pictures rather than one."""
    return isinstance(images, (list, tuple)) or (isinstance(images, np.ndarray) and images.ndim == 4)
