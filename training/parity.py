"""Whether a quantised network says what the bundle's says: the report that stands before every HEF.

Photos of cards whose truth is known are encoded by both, and searched among catalog vectors of the CPU, as a catalog
that was built there and a device that asks it. Three ways: the two networks against each other, and each against the
truth; two that agree may both be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from cardrec.doctor_parity import GOOD_COSINE
from cardrec.image import load
from cardrec.rectify import INPUT_SIZE, whole
from training.data import CardImage
from training.material import Material
from training.queries import Condition, photograph, thinned
from training.references import Mapper

__all__ = ["Limits", "Parity", "Questions", "measure_parity", "questions_of", "read_questions", "write_questions"]

LEVELS = ("easy", "hard")
CORNER_ERROR = 0.01
QUANTILES = (0.0, 0.01, 0.05, 0.5)

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a network must reach. 8 bits by ONNX Runtime, weights of 7, reach a cosine of 0.999 and change no answer.

    Attributes:
        cosine: of all photos but the worst hundredth. Under it catalogs of the CPU and queries of the device no longer
            belong together well, as `cardrec doctor` says.
        agreement: share of the photos that both networks name alike.
        loss: share of the photos that the bundle's network names rightly, less that of the quantised one.
    """

    cosine: float = GOOD_COSINE
    agreement: float = 0.98
    loss: float = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Questions:
    """Photos with their truth.

    Attributes:
        photos: (n, 224, 224, 3) uint8 RGB, cut out of simulated photos; every other one is hard.
        faces: (n,) number of the face of each.
        catalog: (m, 224, 224, 3), cards as in a catalog.
        catalog_faces: (m,) number of the face of each.
    """

    photos: Bytes
    faces: NDArray[np.int64]
    catalog: Bytes
    catalog_faces: NDArray[np.int64]


def questions_of(material: Material, references: int, mapper: Mapper = map) -> Questions:
    """One photo of each card that is asked for, and so many others beside them in the catalog."""
    asked = list(material.asked)
    faces = {card.face for card in asked}
    others = thinned([card for card in material.catalog if card.face not in faces], max(1, references - len(asked)))
    number = {face: place for place, face in enumerate(sorted(faces | {card.face for card in others}))}
    photos = np.empty((len(asked), INPUT_SIZE, INPUT_SIZE, 3), np.uint8)
    for start, level in enumerate(LEVELS):
        condition = Condition("easy" if level == "easy" else "hard", CORNER_ERROR)
        for place, photo in enumerate(mapper(partial(photograph, condition), asked[start::2])):
            photos[start + 2 * place] = photo
    catalog = np.empty((len(asked) + len(others), INPUT_SIZE, INPUT_SIZE, 3), np.uint8)
    for pixels, card in zip(catalog, asked + others, strict=True):
        whole(load(card.pixels, color="rgb"), pixels)
    return Questions(photos, _numbers(asked, number), catalog, _numbers(asked + others, number))


def _numbers(cards: Sequence[CardImage], number: dict[str, int]) -> NDArray[np.int64]:
    return np.array([number[card.face] for card in cards], np.int64)


def write_questions(file: Path | IO[bytes], questions: Questions) -> None:
    np.savez(file, **{name: getattr(questions, name) for name in Questions.__slots__})


def read_questions(path: Path) -> Questions:
    """What `write_questions` wrote.

    Raises:
        ValueError: it is something else, or cards of another size.
        OSError: it can't be read.
    """
    remedy = "write it again with python -m training.calibrate_npu"
    try:
        with np.load(path, allow_pickle=False) as stored:
            found = Questions(*(stored[name] for name in Questions.__slots__))
    except OSError:
        raise
    except Exception as error:  # zipfile's, NumPy's and KeyError
        raise ValueError(f"{path} holds no photos with their truth ({error}); {remedy}") from error
    for pictures, faces in ((found.photos, found.faces), (found.catalog, found.catalog_faces)):
        expected = (len(faces), INPUT_SIZE, INPUT_SIZE, 3)
        if pictures.dtype != np.uint8 or pictures.shape != expected or not len(faces):
            raise ValueError(
                f"{path}: pictures are {pictures.shape} {pictures.dtype}; expected {expected} uint8; {remedy}"
            )
    return found


@dataclass(frozen=True, slots=True)
class Parity:
    """How two networks compare.

    Attributes:
        photos: how many were asked about.
        references: how many cards were searched.
        cosine: the least, 1 % and 5 % quantiles, and the median.
        agreement: share of photos that both name alike.
        reference_right, right: share that the bundle's network, and the quantised one, names rightly.
    """

    photos: int
    references: int
    cosine: tuple[float, ...]
    agreement: float
    reference_right: float
    right: float

    def faults(self, limits: Limits) -> list[str]:
        """What is under the limits, in words."""
        found = []
        if not self.cosine[1] >= limits.cosine:  # so that NaN fails
            found.append(f"the 1 % quantile of the cosines is {self.cosine[1]:.4f}, under {limits.cosine:g}")
        if not self.agreement >= limits.agreement:
            found.append(f"{self.agreement:.1%} of the photos are named alike, under {limits.agreement:.0%}")
        if not self.reference_right - self.right <= limits.loss + 1e-9:
            found.append(f"{self.right:.1%} are named rightly, {self.reference_right:.1%} before")
        return found

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> list[str]:
        cosines = ", ".join(f"{value:.4f}" for value in self.cosine)
        rightly = f"{self.right:.1%}, by ONNX Runtime {self.reference_right:.1%}"
        return [
            f"parity with ONNX Runtime on {self.photos} photos among {self.references} cards",
            f"  cosine: {cosines} (least, 1 %, 5 %, median)",
            f"  named alike: {self.agreement:.1%}; rightly: {rightly}",
        ]


def measure_parity(questions: Questions, catalog: Floats, reference: Floats, quantised: Floats) -> Parity:
    """Compares unit vectors of the questions' photos.

    Args:
        questions: the truth.
        catalog: (m, d) of its catalog, by the bundle's network.
        reference: (n, d) of its photos, by the same.
        quantised: (n, d) of its photos, by the other network.
    """
    cosines = (reference * quantised).sum(axis=1)
    ours, theirs = (questions.catalog_faces[(vectors @ catalog.T).argmax(axis=1)] for vectors in (reference, quantised))
    return Parity(
        len(reference),
        len(catalog),
        tuple(round(float(np.quantile(cosines, share)), 5) for share in QUANTILES),
        float((ours == theirs).mean()),
        float((ours == questions.faces).mean()),
        float((theirs == questions.faces).mean()),
    )
