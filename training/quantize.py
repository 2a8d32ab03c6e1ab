"""Gives a model bundle's network in 8-bit integers, as a bundle of its own, and says what that costs.

    python -m training.quantize BUNDLE --images CARDS --out BUNDLE_INT8

For CPUs, and as the stand-in for an NPU. Ranges come from pictures of the cards (`calibration_pictures.py`), weights
are by channel, the norm of the vector stays in floats. Weights have 7 bits unless --full-range is given, which is
safe on ARM and on x86 with VNNI only: elsewhere the product of two bytes, twice, overflows 16 bits.

The table compares both networks on simulated photos of cards that the calibration did not see. The bundle has a
fingerprint of its own, since its vectors are others: catalogs have to be built with it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from cardrec.embed import open_encoder
from cardrec.model import Model, fingerprint_of
from training.calibration_pictures import draw
from training.compare_networks import compare, lines
from training.data import CardImage
from training.evaluate import processes
from training.failure import one_line
from training.integers import to_integers
from training.material import Material, add_arguments, read_material
from training.staged import staged

__all__ = ["OPERATIONS", "describe", "main", "quantize"]

OPERATIONS = ["Conv", "Clip", "Add", "AveragePool", "Gemm"]
"""In integers; what is left is the input's and the norm's."""
PICTURES = 256
"""For the ranges."""
COUNT = 200
"""Photos at each level."""


def quantize(model: Model, out: Path, cards: Sequence[CardImage], *, count: int, seed: int, reduced: bool) -> None:
    """Writes a bundle's network in integers, with ranges from so many pictures of the cards."""
    pictures = (one.pixels for one in draw(cards, count, seed=seed))
    to_integers(model.network, out, pictures, in_floats=norm_of, operations=OPERATIONS, reduced=reduced)


def norm_of(nodes: Sequence[Any]) -> list[Any]:
    """The nodes behind the last linear layer."""
    linear = [place for place, node in enumerate(nodes) if node.op_type in ("Gemm", "MatMul")]
    if not linear:
        raise ValueError("the network has no linear layer; expected one that training.export wrote")
    return list(nodes[linear[-1] + 1 :])


def describe(model: Model, network: Path, about: dict[str, Any]) -> dict[str, Any]:
    """The contents of the new bundle's `model.json`; figures and compiled networks are the other's, and left out."""
    digest = hashlib.sha256(network.read_bytes()).hexdigest()
    kept = {name: value for name, value in model.details.items() if name not in ("figures", "hailo")}
    return kept | {
        "name": f"{model.name}, 8 bits" + (", full range" if about["weight_bits"] == 8 else ""),
        "file": network.name,
        "sha256": digest,
        "fingerprint": fingerprint_of(digest, model.preprocessing_hash),
        "integers": about,
        "calibration": {},
    }


def measured(model: Model, folder: Path, material: Material, about: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Compares both networks; figures and calibration go into the new bundle's description."""
    with processes(count) as mapper:
        encoders = {"floats": open_encoder(model, backend="onnx")}
        encoders["integers"] = open_encoder(Model.load(folder), backend="onnx")
        floats, integers = compare(encoders, material, mapper)
    found = [one.figures(floats) for one in (floats, integers)]
    details = describe(model, folder / "model.onnx", about | {"figures": found})
    write_description(folder, details | {"calibration": dict(integers.calibration)})
    return found


def write_description(folder: Path, details: dict[str, Any]) -> None:
    (folder / "model.json").write_text(json.dumps(details, indent=2) + "\n", encoding="utf-8")


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of the bundle")
    add_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder of the new bundle")
    parser.add_argument("--pictures", type=int, default=PICTURES, help="for the ranges")
    parser.add_argument("--count", type=int, default=COUNT, help="photos at each level; 0: no table, no calibration")
    parser.add_argument("--full-range", action="store_true", help="weights of 8 bits, not 7")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="that take photos; 0: none")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    options = arguments(given)
    cv2.setNumThreads(1)
    with one_line("python -m training.quantize"):
        model = Model.load(options.model)
        if options.out.resolve() == options.model.resolve():
            raise ValueError(f"{options.out} is the bundle itself; name another folder with --out")
        material = read_material(options, options.count)
        about = {"bits": 8, "weight_bits": 8 if options.full_range else 7, "pictures": options.pictures}
        with staged(options.out) as folder:
            network = folder / "model.onnx"
            quantize(
                model, network, material.seen, count=options.pictures, seed=options.seed, reduced=not options.full_range
            )
            write_description(folder, describe(model, network, about))
            found = measured(model, folder, material, about, options.processes) if material.asked else []
        size = (options.out / "model.onnx").stat().st_size
        print(f"{options.out}: {size / 1e6:.1f} MB, of {model.network.stat().st_size / 1e6:.1f} in floats")
        if found:
            print("\n".join(lines(found)))


if __name__ == "__main__":
    main()
