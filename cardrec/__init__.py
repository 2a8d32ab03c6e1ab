"""Names the trading cards in a camera frame.

    import cardrec
    with cardrec.Recognizer("my-cards.cardrec") as recognizer:
        for card in recognizer.identify(frame).cards:
            print(card.status, card.match)

Importing the package loads nothing heavy; the public names are loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cardrec.errors import (
    CardrecError,
    CatalogError,
    CatalogFormatError,
    CatalogMismatchError,
    DeviceBusy,
    DeviceError,
    DeviceTimeout,
    DeviceUnavailable,
    InputError,
    ModelError,
)

if TYPE_CHECKING:
    from cardrec.backends.hailo import HailoEncoder
    from cardrec.catalog import Catalog
    from cardrec.draw import annotate, annotate_tracks
    from cardrec.embed import Embedder
    from cardrec.flight import Lease
    from cardrec.model import Model
    from cardrec.recognizer import Recognizer
    from cardrec.samples import sample_photos
    from cardrec.sources import Source, open_source
    from cardrec.stream import AsyncStream, Stream
    from cardrec.track import Event, Track, Tracker
    from cardrec.tracking import Tracking
    from cardrec.types import Card, ImageLike, Match, Result, Timings

__version__ = "0.1.0"

__all__ = [
    "AsyncStream",
    "Card",
    "CardrecError",
    "Catalog",
    "CatalogError",
    "CatalogFormatError",
    "CatalogMismatchError",
    "DeviceBusy",
    "DeviceError",
    "DeviceTimeout",
    "DeviceUnavailable",
    "Embedder",
    "Event",
    "HailoEncoder",
    "ImageLike",
    "InputError",
    "Lease",
    "Match",
    "Model",
    "ModelError",
    "Recognizer",
    "Result",
    "Source",
    "Stream",
    "Timings",
    "Track",
    "Tracker",
    "Tracking",
    "__version__",
    "annotate",
    "annotate_tracks",
    "open_source",
    "sample_photos",
]

_HOME = {
    "AsyncStream": "cardrec.stream",
    "HailoEncoder": "cardrec.backends.hailo",
    "Lease": "cardrec.flight",
    "Stream": "cardrec.stream",
    "Catalog": "cardrec.catalog",
    "Embedder": "cardrec.embed",
    "Model": "cardrec.model",
    "Recognizer": "cardrec.recognizer",
    "Event": "cardrec.track",
    "Track": "cardrec.track",
    "Tracker": "cardrec.track",
    "Tracking": "cardrec.tracking",
    "Card": "cardrec.types",
    "ImageLike": "cardrec.types",
    "Match": "cardrec.types",
    "Result": "cardrec.types",
    "Timings": "cardrec.types",
    "Source": "cardrec.sources",
    "annotate": "cardrec.draw",
    "annotate_tracks": "cardrec.draw",
    "open_source": "cardrec.sources",
    "sample_photos": "cardrec.samples",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'cardrec' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
