"""Exports the detector's networks to ONNX, and checks that ONNX Runtime says what PyTorch does.

    python -m training.export_outlines RUN --out cardrec/data/detector --calibrate FRAMES --trained-on "..."

RUN holds `outlines.pt` and, once they are trained, `corners.pt` and `sides.pt`. The graphs take uint8 RGB pictures (n,
H, W, 3), the first of any size in multiples of 16; the normalisation is in them. With FRAMES, a folder that
`training.outline_frames` wrote, the first network is given in integers.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cardrec.corners import CROP_SIDE
from cardrec.sides import ACROSS, ALONG
from training.arrange_outlines import arrange
from training.outline_frames import StoredFrames
from training.outline_model import CornerNet, OutlineNet, SideNet
from training.quantise_outlines import quantise

OPSET = 17
TOLERANCE = 5e-4
"""Largest difference in any channel; they are of the order of 1 to 10, and float32 sums some thousand products."""
FRAMES = ((1, 144, 256, 3), (1, 256, 144, 3), (1, 192, 256, 3), (1, 32, 256, 3))
STRIPS = ((4, ALONG, ACROSS, 3), (20, ALONG, ACROSS, 3))
CROPS = ((1, CROP_SIDE, CROP_SIDE, 3), (7, CROP_SIDE, CROP_SIDE, 3))


def export(net: torch.nn.Module, path: Path, shape: tuple[int, ...], *, free: dict[int, str]) -> None:
    """Writes the network in evaluation mode, its batch normalisation folded into the convolutions.

    Args:
        net: takes pictures (n, H, W, 3).
        path: the ONNX file.
        shape: of some pictures.
        free: axes of the pictures whose length is left open, and their names.
    """
    net.eval()
    given = torch.zeros(shape, dtype=torch.uint8)
    names: dict[str, Any] = {"input_names": ["pictures"], "output_names": ["said"], "dynamic_axes": {"pictures": free}}
    torch.onnx.export(net, (given,), str(path), dynamo=False, opset_version=OPSET, **names)


@torch.no_grad()
def largest_difference(net: torch.nn.Module, path: Path, shapes: tuple[tuple[int, ...], ...]) -> float:
    """Between ONNX Runtime and PyTorch, over pictures of these shapes."""
    import onnxruntime as ort

    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    worst = 0.0
    for shape in shapes:
        pictures: NDArray[np.uint8] = rng.integers(0, 256, shape, dtype=np.uint8)
        said = session.run(None, {"pictures": pictures})[0]
        worst = max(worst, float(np.abs(said - net(torch.from_numpy(pictures)).numpy()).max()))
    return worst


def written(
    net: torch.nn.Module, weights: Path, path: Path, *, free: dict[int, str], shapes: tuple[tuple[int, ...], ...]
) -> dict[str, Any]:
    """Exports one network; what `detector.json` says of it."""
    net.load_state_dict(torch.load(weights, weights_only=True))
    export(net, path, shapes[0], free=free)
    difference = largest_difference(net, path, shapes)
    if difference > TOLERANCE:
        raise SystemExit(f"{path} differs from PyTorch by {difference:.2g}, more than {TOLERANCE:g}")
    parameters = sum(weight.numel() for weight in net.parameters())
    print(f"{path}: {parameters} parameters, differs from PyTorch by at most {difference:.2g}")
    return {"sha256": _digest(path), "parameters": parameters}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder with outlines.pt, corners.pt, sides.pt")
    parser.add_argument("--out", type=Path, required=True, help="folder for the networks and detector.json")
    parser.add_argument("--calibrate", type=Path, metavar="FRAMES", help="frames for the ranges of the integers")
    parser.add_argument("--trained-on", default="", help="what detector.json says of the training")
    options = parser.parse_args()

    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "outlines.onnx"
    frames = {1: "height", 2: "width"}
    about = {path.name: written(OutlineNet(), options.run / "outlines.pt", path, free=frames, shapes=FRAMES)}
    if options.calibrate:
        shift = quantise(path, StoredFrames(options.calibrate))
        arrange(path)
        print(f"{path}: in integers its outlines move by {shift:.2g} of a card's size")
        about[path.name] |= {"sha256": _digest(path), "integers": f"8 bits, weights 7; outlines move by {shift:.2g}"}
    for name, net, shapes in (("corners", CornerNet(), CROPS), ("sides", SideNet(), STRIPS)):
        if (options.run / f"{name}.pt").exists():
            path = options.out / f"{name}.onnx"
            about[path.name] = written(net, options.run / f"{name}.pt", path, free={0: "n"}, shapes=shapes)
    text = json.dumps({"networks": about, "training": options.trained_on}, indent=2) + "\n"
    (options.out / "detector.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
