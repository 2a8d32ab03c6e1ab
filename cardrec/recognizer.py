"""The stages in order: detect, rectify, encode, search, decide; and their lifecycle."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cardrec.catalog import Catalog
from cardrec.decide import Calibration, decide
from cardrec.detect import Detection, Detector, OutlineDetector
from cardrec.embed import Embedder, chunks, open_encoder
from cardrec.errors import CardrecError, InputError
from cardrec.image import Frame, check_color, load
from cardrec.model import Model
from cardrec.quads import side_lengths
from cardrec.rectify import rectify
from cardrec.snapshot import Snapshot
from cardrec.types import Card, Color, ImageLike, Match, Result, Timings

__all__ = ["DEMO_CATALOG", "Recognizer"]

DEMO_CATALOG = Path(__file__).parent / "data" / "demo.cardrec"
"""The catalog in the wheel: 1,000 fictional cards, drawn by this project."""


SURE = 0.98
"""Confidence of a match from which the card is not read the other way up as well, which doubles the encoder's work."""


@dataclass(slots=True)
class _Clock:
    """Milliseconds by stage of one frame or batch."""

    started: float = field(default_factory=time.perf_counter)
    spent_ms: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.spent_ms[name] = self.spent_ms.get(name, 0.0) + (time.perf_counter() - begun) * 1e3

    def timings(self, frames: int) -> Timings:
        """The mean of each stage over the frames that were processed together."""
        total_ms = (time.perf_counter() - self.started) * 1e3
        detect, rectify_, encode, search = (
            self.spent_ms.get(name, 0.0) / frames for name in ("detect", "rectify", "encode", "search")
        )
        return Timings(detect, rectify_, encode, search, total_ms / frames)


@dataclass(frozen=True, slots=True)
class _Request:
    """What one call asks for."""

    top_k: int
    max_cards: int
    where: Mapping[str, object] | None


@dataclass(frozen=True, slots=True)
class _Sighting:
    """An outline in one of the frames, and the corner that is read as the card's top left."""

    frame: Frame
    index: int
    outline: Detection
    given: bool
    start: int = 0

    @property
    def corners_px(self) -> NDArray[np.float32]:
        """(4, 2) corners as they are read."""
        return self.outline.corners_px[(_CORNERS + self.start) % 4]

    def other_ways(self) -> list[_Sighting]:
        """How else the outline may have to be read.

        A detector can't be sure which end is up; a caller's corners are the card's own, but a card in landscape is
        turned in the catalog (`cardrec.rectify.whole`), and seen aslant a card may look as if it were one.
        """
        if not self.given:
            return [replace(self, start=2)]
        top, right, bottom, left = side_lengths(self.outline.corners_px[None])[0]
        return [replace(self, start=3)] if top + bottom > left + right else []

    def seen(self) -> NDArray[np.float32]:
        """(4, 2) corners to report: a caller's stay as they are."""
        return self.outline.corners_px if self.given else self.corners_px


_CORNERS = np.arange(4)


class Recognizer:
    """Names the cards in pictures. Open one per process and keep it: opening costs a thousand times an `identify`.

    Thread-safe; a context manager.

    Args:
        catalog: an open Catalog (which stays the caller's to close), the folder of one, or None for the bundled demo.
        model: folder of a model bundle; None is the one that comes with the library.
        backend: ``auto`` or ``onnx``.
        top_k: matches to report for each card.
        max_cards: cards to look for in each frame.
        threads: threads of the encoder; 0: all cores.
        color: what arrays hold; OpenCV and Picamera2 give BGR, cameras also NV12 and I420 (see `cardrec.image.load`).
        detector: what finds the outlines; None is `OutlineDetector`.

    Raises:
        CatalogMismatchError: the catalog was built with another model.
        CatalogFormatError, ModelError: damaged files.
        DeviceUnavailable: the backend is not there.

    Example:
        >>> with Recognizer("my-cards.cardrec") as recognizer:
        ...     for card in recognizer.identify("photo.jpg").cards:
        ...         print(card.status, card.match)
    """

    def __init__(
        self,
        catalog: Catalog | str | Path | None = None,
        *,
        model: Model | str | Path | None = None,
        backend: str = "auto",
        top_k: int = 5,
        max_cards: int = 1,
        threads: int = 0,
        color: Color = "bgr",
        detector: Detector | None = None,
    ) -> None:
        check_color(color)
        self._request = _Request(_positive("top_k", top_k), _positive("max_cards", max_cards), None)
        self._color: Color = color
        self._owns_catalog = not isinstance(catalog, Catalog)
        self._catalog = catalog if isinstance(catalog, Catalog) else Catalog.open(catalog or DEMO_CATALOG)
        self._closed = False
        try:
            self._encoder = open_encoder(model, backend=backend, threads=threads)
            self._catalog.check_model(self._encoder.model.fingerprint, self._encoder.model.preprocessing_hash)
            numbers = self._catalog.calibration or self._encoder.model.calibration
            self._calibration = Calibration.from_numbers(numbers)
            self._detector: Detector = OutlineDetector() if detector is None else detector
        except BaseException:
            self.close()
            raise
        self._embedder = Embedder(self._encoder, color=color)

    def identify(
        self,
        image: ImageLike,
        *,
        top_k: int | None = None,
        max_cards: int | None = None,
        where: Mapping[str, object] | None = None,
        quads: ArrayLike | None = None,
    ) -> Result:
        """Finds and names the cards in one picture.

        Args:
            image: a path, a PIL image or a uint8 array.
            top_k: matches to report for each card; None: as the Recognizer was opened.
            max_cards: cards to look for; None: as the Recognizer was opened.
            where: only cards whose metadata has these values, e.g. ``{"set": "A1", "language": ["en", "de"]}``.
            quads: (n, 4, 2) outlines from a detector of the caller's, in pixels, each card's own top left, top right,
                bottom right, bottom left; taken as they are, `max_cards` does not limit them.

        Returns:
            The cards, most certain outline first (in the order of ``quads`` where given); none is not an error.

        Raises:
            InputError: the picture or an argument can't be used.
            OSError: the path can't be read.
        """
        request = self._asked(top_k, max_cards, where)
        clock = _Clock()
        frame = load(image, color=self._color)
        with clock.stage("detect"):
            sightings = self._given(frame, quads) if quads is not None else self._found(frame, 0, request.max_cards)
        cards = [card for _, card in self._read(sightings, request, clock)]
        return Result(0, frame.size_wh, tuple(cards), clock.timings(1))

    def identify_batch(
        self,
        images: Iterable[ImageLike],
        *,
        top_k: int | None = None,
        max_cards: int | None = None,
        where: Mapping[str, object] | None = None,
    ) -> list[Result]:
        """`identify` for many pictures, their cards encoded together; results in input order, ``index`` counting up.

        The timings are each frame's share of the group that it was processed with. Arguments and errors as `identify`.
        """
        request = self._asked(top_k, max_cards, where)
        results: list[Result] = []
        for group in chunks(images, self._encoder.capacity):
            results += self._identify_group(group, len(results), request)
        return results

    def encode(self, images: ImageLike | Frame | Sequence[ImageLike | Frame]) -> NDArray[np.float32]:
        """Embeds pictures that show one whole card each: (n, dimension) float32 unit vectors; see `Embedder.encode`."""
        self._check_open()
        return self._embedder.encode(images)

    @property
    def fingerprint(self) -> str:
        """Names the embedding space; with `encode`, what `Catalog.build` asks of an encoder."""
        return self._encoder.model.fingerprint

    @property
    def preprocessing_hash(self) -> str:
        """Names the preprocessing."""
        return self._encoder.model.preprocessing_hash

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        return self._encoder.model.dimension

    @property
    def catalog(self) -> Catalog:
        """The catalog that is searched."""
        return self._catalog

    def info(self) -> dict[str, Any]:
        """Versions, model, backend, catalog and instruction set in use, as plain JSON types."""
        from cardrec import __version__
        from cardrec.rectify import simd_tier as image_tier
        from cardrec.search import simd_tier as search_tier

        self._check_open()
        model = self._encoder.model
        return {
            "version": __version__,
            "backend": self._encoder.name,
            "simd": search_tier(),
            "simd_image": image_tier(),
            "model": {"name": model.name, "fingerprint": model.fingerprint, "dimension": model.dimension},
            "catalog": self._catalog.info(),
        }

    def close(self) -> None:
        """Releases the encoder, and the catalog if this Recognizer opened it; further calls do nothing."""
        self._closed = True
        if hasattr(self, "_encoder"):
            self._encoder.close()
        if self._owns_catalog:
            self._catalog.close()

    def __enter__(self) -> Recognizer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _asked(self, top_k: int | None, max_cards: int | None, where: Mapping[str, object] | None) -> _Request:
        """The call's wishes over the Recognizer's own, checked."""
        self._check_open()
        return _Request(
            self._request.top_k if top_k is None else _positive("top_k", top_k),
            self._request.max_cards if max_cards is None else _positive("max_cards", max_cards),
            where,
        )

    def _check_open(self) -> None:
        if self._closed:
            raise CardrecError("this Recognizer is closed; open another one")

    def _identify_group(self, images: Sequence[ImageLike], first_index: int, request: _Request) -> list[Result]:
        clock = _Clock()
        frames = [load(image, color=self._color) for image in images]
        with clock.stage("detect"):
            found = [self._found(frame, index, request.max_cards) for index, frame in enumerate(frames)]
        cards: list[list[Card]] = [[] for _ in frames]
        for index, card in self._read([sighting for sightings in found for sighting in sightings], request, clock):
            cards[index].append(card)
        timings = clock.timings(len(frames))
        return [
            Result(first_index + index, frame.size_wh, tuple(cards[index]), timings)
            for index, frame in enumerate(frames)
        ]

    def _found(self, frame: Frame, index: int, max_cards: int) -> list[_Sighting]:
        outlines = self._detector.detect(frame, max_cards=max_cards)
        return [_Sighting(frame, index, outline, given=False) for outline in outlines]

    def _given(self, frame: Frame, quads: ArrayLike) -> list[_Sighting]:
        try:
            corners = np.asarray(quads, np.float32)
        except (TypeError, ValueError):
            raise InputError(f"quads is {type(quads).__name__}; expected numbers of shape (n, 4, 2)") from None
        if corners.ndim != 3 or corners.shape[1:] != (4, 2):
            raise InputError(f"quads has shape {corners.shape}; expected (n, 4, 2)")
        return [_Sighting(frame, 0, Detection(quad, 1.0), given=True) for quad in corners]

    def _read(self, sightings: list[_Sighting], request: _Request, clock: _Clock) -> list[tuple[int, Card]]:
        """Names each outline, in order, with the index of its frame.

        What is not surely recognised as it stands is read in its other ways as well, together; the reading that
        resembles a catalog card most is kept.
        """
        cards = self._read_as_they_are(sightings, request, clock)
        doubtful = [n for n, card in enumerate(cards) if not _is_sure(card)]
        ways = [(n, way) for n in doubtful for way in sightings[n].other_ways()]
        read = self._read_as_they_are([way for _, way in ways], request, clock)
        for (n, _), card in zip(ways, read, strict=True):
            if _best_score(card) > _best_score(cards[n]):
                cards[n] = card
        return [(sighting.index, card) for sighting, card in zip(sightings, cards, strict=True)]

    def _read_as_they_are(self, sightings: list[_Sighting], request: _Request, clock: _Clock) -> list[Card]:
        cards: list[Card] = []
        for chunk in chunks(sightings, self._encoder.capacity):
            vectors = self._vectors(chunk, clock)
            with clock.stage("search"):
                matches = self._matches(vectors, request)
            cards += [
                self._card(sighting, found, request.top_k) for sighting, found in zip(chunk, matches, strict=True)
            ]
        return cards

    def _vectors(self, sightings: list[_Sighting], clock: _Clock) -> NDArray[np.float32]:
        """Rectifies the outlines into the encoder's own memory and encodes them together."""
        with self._encoder.slot() as slot:
            with clock.stage("rectify"):
                for place, sighting in enumerate(sightings):
                    rectify(sighting.frame, sighting.corners_px[None], slot.pixels[place : place + 1])
            with clock.stage("encode"):
                slot.submit(len(sightings))
                return slot.wait()

    def _matches(self, vectors: NDArray[np.float32], request: _Request) -> list[tuple[Match, ...]]:
        """For each vector the best cards, one match per card_id, at least two where the catalog has them.

        Several views of one card take several rows, so more rows are asked for until the cards suffice.
        """
        wanted = max(request.top_k, 2)
        rows_asked = wanted
        state = self._catalog.snapshot()  # rows keep their cards while another thread compacts
        while True:
            rows, scores = state.search(vectors, rows_asked, where=request.where)
            found = [_distinct(state, *ranked) for ranked in zip(rows, scores, strict=True)]
            if rows.shape[1] < rows_asked or all(len(matches) >= wanted for matches in found):
                return [matches[:wanted] for matches in found]
            rows_asked *= 4

    def _card(self, sighting: _Sighting, matches: tuple[Match, ...], top_k: int) -> Card:
        status, confidence = decide([match.score for match in matches], self._calibration)
        return Card(sighting.seen(), sighting.outline.score, matches[:top_k], status, confidence)


def _distinct(state: Snapshot, rows: NDArray[np.int64], scores: NDArray[np.float32]) -> tuple[Match, ...]:
    """The best row of each card_id, best first."""
    best: dict[str, Match] = {}
    for row, score, (card_id, meta) in zip(rows.tolist(), scores.tolist(), state.cards(rows), strict=True):
        best.setdefault(card_id, Match(card_id, score, row, meta))
    return tuple(best.values())


def _is_sure(card: Card) -> bool:
    return card.status == "match" and card.confidence >= SURE


def _best_score(card: Card) -> float:
    return card.matches[0].score if card.matches else -1.0


def _positive(name: str, value: int) -> int:
    """The value, if it is a whole number from 1 up."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise InputError(f"{name}={value!r}; expected a whole number from 1 up")
    return int(value)
