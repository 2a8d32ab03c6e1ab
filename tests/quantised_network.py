"""The bundled network in 8-bit integers, as a compiler for an NPU would leave it: for the simulated device.

Weights by channel, what flows between the layers as a whole; ranges from rendered cards, as sharp and as blurred as
cameras show them. The last step, the norm of the vector, stays on the host, as on the real device.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cardrec.image import load
from cardrec.rectify import INPUT_SIZE, whole
from training.integers import to_integers
from training.quantize import OPERATIONS
from training.render import deck, render

CALIBRATION_CARDS = 32
CALIBRATION_SEED = 77
"""Of a deck that is neither the demo's nor in its photos."""


def rendered_cards(count: int = CALIBRATION_CARDS, *, seed: int = CALIBRATION_SEED) -> NDArray[np.uint8]:
    """(count, 224, 224, 3) RGB cards of the renderer, every other one blurred and darkened."""
    cards = np.empty((count, INPUT_SIZE, INPUT_SIZE, 3), np.uint8)
    for number, (place, spec) in enumerate(zip(cards, deck(count, seed=seed), strict=True)):
        whole(load(render(spec, height_px=352), color="rgb"), place)
        if number % 2:
            place[...] = cv2.GaussianBlur(place, (0, 0), 1.5) * 0.75 + 8
    return cards


def quantise(network: Path, folder: Path, cards: NDArray[np.uint8]) -> Path:
    """Writes the network in integers, up to the vector before its norm, into the folder."""
    cut, quantised = folder / "cut.onnx", folder / "quantised.onnx"
    _without_norm(network, cut)
    to_integers(cut, quantised, cards, in_floats=lambda _: [], operations=OPERATIONS)
    return quantised


def _without_norm(network: Path, path: Path) -> None:
    """The network up to its last linear layer."""
    import onnx

    model = onnx.load(str(network))
    (last,) = (node for node in model.graph.node if node.op_type == "Gemm")
    onnx.utils.extract_model(str(network), str(path), [model.graph.input[0].name], [last.output[0]])
