"""Writes what Hailo's compiler calibrates on, and what its result is judged by.

    python -m training.calibrate_npu --images CARDS --out SET
    python -m training.calibrate_npu --config training/configs/third.toml --data DATA --out SET

SET gets `calibration.npy` (1,024 RGB pictures, (n, 224, 224, 3) uint8: bytes, since the normalisation is in the model
script), `calibration.json` (which cards, how strongly captured), and `parity.npz`: photos of other cards, with their
truth, by another model of a camera. It is all that `python -m training.compile` needs beside the bundle, wherever the
compiler is.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cardrec.model import PREPROCESSING, preprocessing_hash
from cardrec.rectify import INPUT_SIZE
from training.calibration_pictures import Drawn, draw
from training.evaluate import processes
from training.failure import one_line
from training.hailo_script import FEWEST, FULL
from training.material import add_arguments, read_material
from training.parity import questions_of, write_questions
from training.staged import staged

__all__ = ["PARITY", "main", "read_calibration"]

PARITY = "parity.npz"
PHOTOS, REFERENCES = 200, 600
"""That judge a result: the cards asked for, and those searched."""
_DARK = 32
"""Pictures of cards reach higher than that, all together; normalised ones do not."""


def write_calibration(path: Path, drawn: Sequence[Drawn]) -> None:
    """Streams the pictures into an array file."""
    shape = (len(drawn), INPUT_SIZE, INPUT_SIZE, 3)
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for one in drawn:
            file.write(one.pixels.tobytes())


def read_calibration(path: Path) -> NDArray[np.uint8]:
    """A calibration set, mapped.

    Raises:
        ValueError: it is no array of uint8 RGB pictures of 224x224, holds too few, or normalised ones.
        OSError: it can't be read.
    """
    remedy = "write one with python -m training.calibrate_npu"
    try:
        pictures = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # what NumPy raises of damaged files differs
        raise ValueError(f"{path} is no array of pictures ({error}); {remedy}") from error
    if not isinstance(pictures, np.ndarray) or pictures.ndim != 4 or pictures.shape[1:] != (INPUT_SIZE, INPUT_SIZE, 3):
        shape = getattr(pictures, "shape", "of several arrays")
        raise ValueError(f"{path} is {shape}; expected (n, {INPUT_SIZE}, {INPUT_SIZE}, 3), RGB last; {remedy}")
    if pictures.dtype != np.uint8 or pictures[:: max(1, len(pictures) // FEWEST)].max(initial=0) < _DARK:
        raise ValueError(
            f"{path} holds {pictures.dtype} up to {pictures.max(initial=0)}; expected uint8 of 0 to 255: the "
            f"normalisation is in the model script, and must not be here as well; {remedy}"
        )
    if len(pictures) < FEWEST:
        raise ValueError(f"{path} holds {len(pictures)} pictures; expected {FULL}, at least {FEWEST}; {remedy}")
    return pictures


def describe(drawn: Sequence[Drawn], seed: int, digest: str) -> dict[str, Any]:
    """The contents of `calibration.json`."""
    return {
        "pictures": len(drawn),
        "sha256": digest,
        "seed": seed,
        "preprocessing": dict(PREPROCESSING),
        "preprocessing_hash": preprocessing_hash(),
        "clean": sum(one.strength == 0 for one in drawn),
        "cards": len({one.card_id for one in drawn}),
        "sets": dict(sorted(Counter(one.group for one in drawn).items())),
        "drawn": [[one.card_id, round(one.strength, 4)] for one in drawn],
    }


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder of the set")
    parser.add_argument("--pictures", type=int, default=FULL, help=f"with fewer than {FULL} the compiler does less")
    parser.add_argument("--photos", type=int, default=PHOTOS, help="that judge the result")
    parser.add_argument("--references", type=int, default=REFERENCES, help="cards that they are searched among")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="that take photos; 0: none")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    options = arguments(given)
    cv2.setNumThreads(1)
    with one_line("python -m training.calibrate_npu"):
        if options.pictures < FEWEST or options.photos < 1:
            raise ValueError(
                f"--pictures {options.pictures} --photos {options.photos}: at least {FEWEST} and 1 are needed"
            )
        material = read_material(options, options.photos)
        with staged(options.out) as folder, processes(options.processes) as mapper:
            drawn = list(draw(material.seen, options.pictures, seed=options.seed))
            path = folder / "calibration.npy"
            write_calibration(path, drawn)
            with (folder / PARITY).open("wb") as file:
                write_questions(file, questions_of(material, options.references, mapper))
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            text = json.dumps(describe(drawn, options.seed, digest), indent=1) + "\n"
            (folder / "calibration.json").write_text(text, encoding="utf-8")
        cards, photos = len({one.card_id for one in drawn}), len(material.asked)
        print(f"{options.out / path.name}: {len(drawn)} pictures of {cards} cards; {photos} photos to judge by")


if __name__ == "__main__":
    main()
