"""Whether the accelerator and ONNX Runtime say the same of the cards on the bundled photos.

A network in 8-bit integers is not the network in floats. How far apart they are on one machine, with its driver,
firmware and HEF, is measured here, on what is in the wheel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cardrec import hailo_facts as facts
from cardrec.errors import DeviceBusy, ModelError
from cardrec.finding import Finding, ok, skip
from cardrec.labels import say_error

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["CHECKS", "check_parity"]

LEAST_COSINE = 0.9
"""Below it the device runs another network, or prepares its input otherwise: an 8-bit one loses far less."""

GOOD_COSINE = 0.97
"""Below it, catalogs made on the CPU and queries from the device no longer belong together well."""

CLEAR_LEAD = 0.05
"""Cosine between the best card and the next from which they may not change places; the demo has twins 0.002 apart."""

_CPU = "until then use the CPU: --backend onnx"
_REMEDY = f"compile the HEF again, with the normalisation in the model script and calibrated on cards; {_CPU}"


class _Crops(NamedTuple):
    """Cards cut from the photos.

    Attributes:
        pixels: (n, 224, 224, 3) uint8 RGB.
        shown: for each, the ids of the cards on its photo.
    """

    pixels: NDArray[np.uint8]
    shown: list[tuple[str | None, ...]]


def check_parity() -> Finding:
    """Cards of the bundled photos, encoded by the accelerator and by ONNX Runtime, are much the same vectors."""
    name = "hailo-parity"
    if why := facts.silence():
        return skip(name, why)
    crops = _golden_crops()
    try:
        vectors = _encoded("hailo", crops.pixels)
    except ModelError as error:
        return skip(name, f"nothing to run: see hailo-hef ({say_error(error)})")
    except DeviceBusy as error:
        return Finding(name, "warn", say_error(error), facts.BUSY_REMEDY)
    reference = _encoded("onnx", crops.pixels)
    return _judged(name, (vectors * reference).sum(axis=1), *_agreement(vectors, reference, crops.shown))


def _judged(name: str, cosines: NDArray[np.float32], agree: int, clear: int) -> Finding:
    """The finding for the (n,) cosines, and for the best matches: how many are the same, of how many that are clear."""
    least, mean = float(cosines.min()), float(cosines.mean())
    detail = (
        f"cosine to ONNX Runtime {mean:.4f} in the mean of {len(cosines)} cards, {least:.4f} at least; "
        f"{agree} of {clear} best matches are the same"
    )
    if not least >= LEAST_COSINE or agree < clear:  # so that NaN fails
        return Finding(name, "fail", detail, _REMEDY)
    if least < GOOD_COSINE:
        return Finding(name, "warn", detail, _REMEDY)
    return ok(name, detail)


def _golden_crops() -> _Crops:
    """The cards that the detector finds on the bundled photos, as `identify` would cut them out."""
    import numpy as np

    from cardrec.detect import OutlineDetector
    from cardrec.image import load
    from cardrec.rectify import INPUT_SIZE, rectify
    from cardrec.samples import read_samples

    detector, crops, shown = OutlineDetector(), [], []
    for sample in read_samples():
        frame = load(sample.path)
        for outline in detector.detect(frame, max_cards=max(len(sample.card_ids), 1)):
            crop = np.empty((1, INPUT_SIZE, INPUT_SIZE, 3), np.uint8)
            rectify(frame, outline.corners_px[None], crop)
            crops.append(crop)
            shown.append(sample.card_ids)
    return _Crops(np.concatenate(crops), shown)


def _encoded(backend: str, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The crops as (n, dimension) unit vectors.

    Raises:
        DeviceError, ModelError: as of `open_encoder` and its slots.
    """
    from cardrec.embed import Embedder, open_encoder

    with Embedder(open_encoder(backend=backend), color="rgb") as embedder:
        return embedder.encode(crops)


def _agreement(
    vectors: NDArray[np.float32], reference: NDArray[np.float32], shown: list[tuple[str | None, ...]]
) -> tuple[int, int]:
    """For how many of the crops both find the same best card of the demo catalog, and of how many.

    Those count whose card the reference finds with a clear lead: what is in no catalog resembles many cards a little.
    """
    from cardrec.catalog import Catalog
    from cardrec.recognizer import DEMO_CATALOG

    with Catalog.open(DEMO_CATALOG) as catalog:
        rows, scores = catalog.search(reference, 2)
        found, _ = catalog.search(vectors, 1)
        known = [catalog.card(row)[0] in ids for row, ids in zip(rows[:, 0], shown, strict=True)]
    clear = known & (scores[:, 0] - scores[:, 1] >= CLEAR_LEAD)
    return int((clear & (found[:, 0] == rows[:, 0])).sum()), int(clear.sum())


CHECKS: dict[str, tuple[Callable[[], Finding], str]] = {
    "hailo-parity": (check_parity, f"see the other findings on hailo; {_CPU}")
}
"""The check, with the remedy for what it raises."""
