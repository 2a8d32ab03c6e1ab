"""How long a frame takes here, on the backend that is there or on a simulated NPU, and what is answered right."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cardrec.errors import InputError

if TYPE_CHECKING:
    from cardrec.catalog import Catalog
    from cardrec.detect import Detector
    from cardrec.model import Model
    from cardrec.recognizer import Recognizer
    from cardrec.samples import Sample
    from cardrec.types import Card, Timings

__all__ = [
    "FRAME_WH",
    "STAGES",
    "accuracy",
    "by_stage",
    "camera_frame",
    "frames_per_second",
    "is_right",
    "simulated_recognizer",
    "summary",
    "timings_of",
]

STAGES = ("detect_ms", "rectify_ms", "encode_ms", "search_ms", "total_ms")
FRAME_WH = (1280, 720)
WARM_UP = 10

PERCENTILES = {"p50": 50, "p95": 95, "p99": 99}

MOST_CARDS = 18
"""Cards to look for in a bundled photo: more than any shows."""


def camera_frame(picture: Path | None = None) -> NDArray[np.uint8]:
    """A picture, by default the first bundled photo of a demo card, as a camera gives it: (720, 1280, 3) BGR."""
    import cv2

    from cardrec.image import load

    rgb = load(picture or _known_photo()).pixels
    if rgb.ndim == 2:
        rgb = np.repeat(rgb[:, :, None], 3, axis=2)
    scale = min(FRAME_WH[0] / rgb.shape[1], FRAME_WH[1] / rgb.shape[0])
    size = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
    frame = np.full((FRAME_WH[1], FRAME_WH[0], 3), 90, np.uint8)
    left, top = (FRAME_WH[0] - size[0]) // 2, (FRAME_WH[1] - size[1]) // 2
    shrunk = cv2.resize(np.ascontiguousarray(rgb[:, :, 2::-1]), size, interpolation=cv2.INTER_AREA)
    frame[top : top + size[1], left : left + size[0]] = shrunk
    return frame


def _known_photo() -> Path:
    from cardrec.samples import known_sample

    sample = known_sample()
    if sample is None:
        raise InputError("there is no bundled photo; name a picture of your own")
    return sample.path


def timings_of(recognizer: Recognizer, frame: NDArray[np.uint8], repeats: int) -> list[Timings]:
    """The timings of some frames, one after the other; a few more go before."""
    return [recognizer.identify(frame).timings for _ in range(WARM_UP + repeats)][WARM_UP:]


def frames_per_second(recognizer: Recognizer, frame: NDArray[np.uint8], repeats: int, *, in_flight: int) -> float:
    """How many frames a second come out of `Recognizer.stream`, from the first result to the last."""
    with recognizer.stream([frame] * (WARM_UP + repeats), in_flight=in_flight) as results:
        for _ in range(WARM_UP):
            next(results)
        begun = time.perf_counter()
        count = sum(1 for _ in results)
    return count / (time.perf_counter() - begun)


def accuracy(recognizer: Recognizer) -> dict[str, Any]:
    """How many of the bundled photos are answered right, and which are not.

    Returns:
        ``photos`` and ``right``, both counts, and ``wrong``, the photos' names. Where the catalog is not the demo's,
        whose cards the photos show, the counts are 0 and ``why`` says so.
    """
    from cardrec.recognizer import DEMO_CATALOG
    from cardrec.samples import read_samples

    if recognizer.catalog.path.resolve() != DEMO_CATALOG.resolve():
        return {"photos": 0, "right": 0, "wrong": [], "why": "the bundled photos show cards of the demo catalog"}
    samples = read_samples()
    wrong = [
        sample.path.stem
        for sample in samples
        if not is_right(sample, recognizer.identify(sample.path, max_cards=MOST_CARDS).cards)
    ]
    return {"photos": len(samples), "right": len(samples) - len(wrong), "wrong": wrong}


def is_right(sample: Sample, cards: Sequence[Card]) -> bool:
    """Whether a photo is answered as its truth says.

    Each card of it that the catalog has must be named, or be one of those that an ambiguous answer leaves (a printing
    that looks the same); and nothing else may be named.
    """
    known = {card_id for card_id in sample.card_ids if card_id is not None}
    named = {card.match.card_id for card in cards if card.match}
    possible = {match.card_id for card in cards for match in card.group}
    return named <= known <= possible


def by_stage(timings: Sequence[Timings], npu_ms: float | None = None) -> dict[str, dict[str, float]]:
    """`summary` of each stage, and of ``host``: all but detection and encoding.

    Args:
        timings: of some frames.
        npu_ms: what a simulated NPU takes by itself; ``host`` is then all but detection and that, so that handing
            cards over counts.
    """
    spent = {stage.removesuffix("_ms"): summary([getattr(each, stage) for each in timings]) for stage in STAGES}
    host = [each.total_ms - each.detect_ms - (each.encode_ms if npu_ms is None else npu_ms) for each in timings]
    return spent | {"host": summary(host)}


def summary(spent_ms: Sequence[float]) -> dict[str, float]:
    """Median (p50), 95th and 99th percentile, in microsecond resolution."""
    return {name: round(float(np.percentile(spent_ms, share)), 3) for name, share in PERCENTILES.items()}


@contextmanager
def simulated_recognizer(
    latency_ms: float,
    *,
    catalog: Catalog | Path | None = None,
    model: Model | Path | None = None,
    detector: Detector | None = None,
    **options: Any,
) -> Iterator[Recognizer]:
    """A recognizer on a simulated NPU, `cardrec.backends.simulated`, that takes so long for each card.

    Args:
        latency_ms: of each card, one after the other.
        catalog: as of `Recognizer`.
        model: as of `Recognizer`; the network is its own, with an output of 8 bits.
        detector: as of `Recognizer`.
        options: of `HailoEncoder`.
    """
    from cardrec.backends.hailo import HailoEncoder
    from cardrec.backends.simulated import SimulatedPlatform, make_bundle
    from cardrec.model import Model
    from cardrec.recognizer import Recognizer

    bundle = model if isinstance(model, Model) else Model.load(model)
    patterns = np.random.default_rng(0).integers(0, 256, (8, 7, 7, 3), np.uint8).repeat(32, axis=1).repeat(32, axis=2)
    options.setdefault("platform", SimulatedPlatform(latency_ms=latency_ms))
    with tempfile.TemporaryDirectory(prefix="cardrec-") as folder:
        encoder = HailoEncoder(make_bundle(bundle, Path(folder) / "bundle", patterns), **options)
        try:
            with Recognizer(catalog, encoder=encoder, detector=detector) as recognizer:
                yield recognizer
        finally:
            encoder.close()
