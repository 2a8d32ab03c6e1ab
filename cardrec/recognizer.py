"""The stages in order: detect, rectify, encode, search, decide; and their lifecycle."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any
from weakref import WeakSet

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cardrec.catalog import Catalog
from cardrec.decide import Calibration
from cardrec.detect import Detector, OutlineDetector
from cardrec.embed import Embedder, Prepared, open_encoder
from cardrec.encode import Encoder, chunks
from cardrec.errors import CardrecError, InputError
from cardrec.evidence import declared_from
from cardrec.flight import IN_FLIGHT, Drop, Identify, InFlight, Lease, Submissions
from cardrec.image import Frame, check_color, load
from cardrec.model import Model
from cardrec.reader import Clock, Reader, Request, Sighting, given_sightings
from cardrec.second_look import LookCalibration, SecondLook
from cardrec.stream import AsyncStream, Stream
from cardrec.track import PATIENCE_S, Tracker
from cardrec.tracking import FRAMES_PER_SECOND, Tracking
from cardrec.types import Card, Color, ImageLike, Result

__all__ = ["DEMO_CATALOG", "Recognizer"]

DEMO_CATALOG = Path(__file__).parent / "data" / "demo.cardrec"
"""The catalog in the wheel: 1,000 fictional cards, drawn by this project."""


class Recognizer:
    """Names the cards in pictures. Open one per process and keep it: opening costs a thousand times an `identify`.

    Thread-safe; a context manager.

    Args:
        catalog: an open Catalog (which stays the caller's to close), the folder of one, or None for the bundled demo.
        model: folder of a model bundle; None is the one that comes with the library.
        backend: ``hailo``, ``onnx``, or ``auto``: the first of them that works here.
        top_k: matches to report for each card.
        max_cards: cards to look for in each frame.
        threads: threads of the encoder; 0: all cores.
        color: what arrays hold; OpenCV and Picamera2 give BGR, cameras also NV12 and I420 (see `cardrec.image.load`).
        detector: what finds the outlines; None is `OutlineDetector`.
        encoder: an open backend, such as a `HailoEncoder` with settings of one's own, instead of ``model``, ``backend``
            and ``threads``; it stays the caller's to close.
        second_look: where the catalog keeps pictures, compare the candidates of a card that is not surely recognised
            with the frame, pixel by pixel.
        max_false_accept: share of the cards that are not in the catalog that may be taken for one that is, above 0 and
            at most 0.1; None is 0.01. What is less certain is ambiguous or unknown. Rules the second look as well.

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
        encoder: Encoder | None = None,
        second_look: bool = True,
        max_false_accept: float | None = None,
    ) -> None:
        check_color(color)
        self._request = Request(_positive("top_k", top_k), _positive("max_cards", max_cards), None)
        self._color: Color = color
        self._owns_catalog = not isinstance(catalog, Catalog)
        self._catalog = catalog if isinstance(catalog, Catalog) else Catalog.open(catalog or DEMO_CATALOG)
        self._closed = False
        self._lifecycle = threading.Lock()  # nothing is opened once `close` has looked what is open
        self._submissions: Submissions | None = None
        self._streams: WeakSet[InFlight] = WeakSet()
        try:
            self._owns_encoder = encoder is None
            self._encoder = encoder or open_encoder(model, backend=backend, threads=threads)
            self._catalog.check_model(self._encoder.model.fingerprint, self._encoder.model.preprocessing_hash)
            numbers = self._catalog.calibration or self._encoder.model.calibration
            calibration, look = Calibration.from_numbers(numbers), LookCalibration()
            if self._catalog.calibration is None:
                calibration = replace(calibration, tail_scale=0.0)  # how rare strangers get depends on the catalog
            if max_false_accept is not None:
                calibration = calibration.for_false_accepts(max_false_accept)
                look = look.for_false_accepts(max_false_accept)
            looks = SecondLook(look) if second_look else None
            self._reader = Reader(self._encoder, self._catalog, calibration, looks)
            self._declared_from = declared_from(calibration, max_false_accept)
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
        return self._identify(image, 0, self._asked(top_k, max_cards, where), quads)

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

    def submit(
        self,
        image: ImageLike,
        *,
        top_k: int | None = None,
        max_cards: int | None = None,
        where: Mapping[str, object] | None = None,
    ) -> Future[Result]:
        """`identify` in the background: what it returns or raises is in the future.

        Waits while `IN_FLIGHT` frames of earlier calls are under way. The picture's memory must not change before the
        future is done. The results' ``index`` counts the calls. Arguments as `identify`.

        Raises:
            InputError: an argument can't be used.
            DeviceTimeout: the frames under way were not done within a minute.
        """
        request = self._asked(top_k, max_cards, where)
        with self._lifecycle:
            self._check_open()
            submissions = self._submissions = self._submissions or Submissions()
        return submissions.submit(lambda index: self._identify(image, index, request))

    def stream(
        self,
        frames: Iterable[ImageLike | Lease],
        *,
        in_flight: int = IN_FLIGHT,
        drop: Drop = "never",
        top_k: int | None = None,
        max_cards: int | None = None,
        where: Mapping[str, object] | None = None,
    ) -> Stream:
        """Identifies frame after frame, several at once, and gives the results in the order of the frames.

        Args:
            frames: pictures; each must be memory of its own until its result is there, or a `Lease`. They are fetched
                on another thread, at most ``in_flight`` before their results are.
            in_flight: frames under way at once, each on a thread.
            drop: ``never`` makes the source wait while so many are under way. ``oldest`` is for live cameras, which
                go on whether or not results are fetched: the newest frame takes the place of the one that waits, the
                newest result that of older ones. ``in_flight`` + 2 frames may be borrowed at once.
            top_k: as `identify`.
            max_cards: as `identify`.
            where: as `identify`.

        Returns:
            An iterator, which is a context manager as well. ``index`` is a frame's number in the source; with
            ``drop="oldest"`` numbers are missing.

        Raises:
            InputError: an argument can't be used.

        Example:
            >>> with Recognizer() as recognizer, recognizer.stream(camera, drop="oldest") as results:
            ...     for result in results:
            ...         print(result.index, result.best)
        """
        request = self._asked(top_k, max_cards, where)
        stream = Stream(self._identifier(request), frames, in_flight=in_flight, drop=drop)
        self._register(stream.in_flight)
        return stream

    def astream(
        self,
        frames: Iterable[ImageLike | Lease] | AsyncIterable[ImageLike | Lease],
        *,
        in_flight: int = IN_FLIGHT,
        drop: Drop = "oldest",
        top_k: int | None = None,
        max_cards: int | None = None,
        where: Mapping[str, object] | None = None,
    ) -> AsyncStream:
        """`stream` for asyncio: ``async for result in recognizer.astream(frames)``, in a running event loop.

        ``frames`` may also be an asynchronous iterator. The event loop is never blocked.
        """
        request = self._asked(top_k, max_cards, where)
        stream = AsyncStream(self._identifier(request), frames, in_flight=in_flight, drop=drop)
        self._register(stream.in_flight)
        return stream

    def track(
        self,
        frames: Iterable[ImageLike | Lease],
        *,
        in_flight: int = IN_FLIGHT,
        drop: Drop = "never",
        top_k: int | None = None,
        max_cards: int | None = None,
        where: Mapping[str, object] | None = None,
        patience_s: float = PATIENCE_S,
        frames_per_second: float = FRAMES_PER_SECOND,
    ) -> Tracking:
        """Follows cards through frames, and gives an event when one appears, is identified, or leaves.

        Args:
            frames: as `stream`; what `open_source` gives also says when each was taken.
            in_flight: as `stream`.
            drop: as `stream`.
            top_k: as `identify`.
            max_cards: as `identify`; as many as there may be at once, or cards will seem to come and go.
            where: as `identify`.
            patience_s: seconds that a card may be unseen, under a hand for example, before it has left.
            frames_per_second: of frames that do not say when they were taken.

        Returns:
            An iterator of `cardrec.track.Event`s, which is a context manager as well.

        Raises:
            InputError: an argument can't be used.

        Example:
            >>> with open_source("table.mp4") as video, Recognizer(max_cards=8) as recognizer:
            ...     for event in recognizer.track(video):
            ...         print(event.time_s, event.kind, event.track.id, event.track.match)
        """

        def open_stream(timed: Iterable[ImageLike | Lease]) -> Stream:
            return self.stream(timed, in_flight=in_flight, drop=drop, top_k=top_k, max_cards=max_cards, where=where)

        tracker = self.tracker(patience_s=patience_s)
        return Tracking(open_stream, frames, tracker, frames_per_second=frames_per_second)

    def tracker(self, *, patience_s: float = PATIENCE_S) -> Tracker:
        """A tracker for this recognizer's results, of which as few name a stranger as were asked for.

        Args:
            patience_s: as `track`.

        Raises:
            InputError: it is no positive number.
        """
        return Tracker(patience_s=patience_s, min_confidence=self._declared_from)

    def encode(
        self, images: ImageLike | Frame | Prepared | Sequence[ImageLike | Frame | Prepared]
    ) -> NDArray[np.float32]:
        """Embeds pictures that show one whole card each: (n, dimension) float32 unit vectors; see `Embedder.encode`."""
        self._check_open()
        return self._embedder.encode(images)

    def prepare(self, image: ImageLike | Frame) -> Prepared:
        """A picture of a whole card as the model's input; see `Embedder.prepare`."""
        return self._embedder.prepare(image)

    @property
    def color(self) -> Color:
        """What arrays hold."""
        return self._color

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
        """Ends streams, waits for what is under way, and releases what this Recognizer opened; may be called again."""
        with self._lifecycle:
            self._closed = True
            streams = list(self._streams)
        for in_flight in streams:
            in_flight.close()
        if self._submissions is not None:
            self._submissions.close()
        if hasattr(self, "_encoder") and self._owns_encoder:
            self._encoder.close()
        if self._owns_catalog:
            self._catalog.close()

    def __enter__(self) -> Recognizer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _asked(self, top_k: int | None, max_cards: int | None, where: Mapping[str, object] | None) -> Request:
        """The call's wishes over the Recognizer's own, checked."""
        self._check_open()
        return Request(
            self._request.top_k if top_k is None else _positive("top_k", top_k),
            self._request.max_cards if max_cards is None else _positive("max_cards", max_cards),
            where,
        )

    def _check_open(self) -> None:
        if self._closed:
            raise CardrecError("this Recognizer is closed; open another one")

    def _register(self, in_flight: InFlight) -> None:
        """Lets `close` end a stream; ends it now if that was called meanwhile."""
        with self._lifecycle:
            self._streams.add(in_flight)
            closed = self._closed
        if closed:
            in_flight.close()
            self._check_open()

    def _identify(self, image: ImageLike, index: int, request: Request, quads: ArrayLike | None = None) -> Result:
        self._check_open()
        clock = Clock()
        frame = load(image, color=self._color)
        with clock.stage("detect"):
            sightings = given_sightings(frame, quads) if quads is not None else self._found(frame, 0, request.max_cards)
        cards = [card for _, card in self._reader.read(sightings, request, clock)]
        return Result(index, frame.size_wh, tuple(cards), clock.timings(1))

    def _identifier(self, request: Request) -> Identify:
        return lambda image, index: self._identify(image, index, request)

    def _identify_group(self, images: Sequence[ImageLike], first_index: int, request: Request) -> list[Result]:
        clock = Clock()
        frames = [load(image, color=self._color) for image in images]
        with clock.stage("detect"):
            found = [self._found(frame, index, request.max_cards) for index, frame in enumerate(frames)]
        cards: list[list[Card]] = [[] for _ in frames]
        for index, card in self._reader.read(
            [sighting for sightings in found for sighting in sightings], request, clock
        ):
            cards[index].append(card)
        timings = clock.timings(len(frames))
        return [
            Result(first_index + index, frame.size_wh, tuple(cards[index]), timings)
            for index, frame in enumerate(frames)
        ]

    def _found(self, frame: Frame, index: int, max_cards: int) -> list[Sighting]:
        outlines = self._detector.detect(frame, max_cards=max_cards)
        return [Sighting(frame, index, outline, given=False) for outline in outlines]


def _positive(name: str, value: int) -> int:
    """The value, if it is a whole number from 1 up."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise InputError(f"{name}={value!r}; expected a whole number from 1 up")
    return int(value)
