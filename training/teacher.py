"""Features of an ImageNet network as regression targets: a warm start where no pretrained student can be had.

The teacher is a quantised MobileNet v2 in a TFLite file (see the model card for its origin and licence). Its last map
is 7x7x1280 for a 224x224 picture, the shape of EfficientNet-Lite0's own last map; the student regresses it, pooled to
the head's grid. Targets are those of the clean card, whatever the student sees: to learn features and to ignore the
light.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from training.model import GRID

SIZE = 224
FEATURES = 1280


class MobileNetTeacher:
    """Runs the TFLite network on single pictures."""

    def __init__(self, path: Path, threads: int = 2) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._network = Interpreter(str(path), num_threads=threads, experimental_preserve_all_tensors=True)
        self._network.allocate_tensors()
        self._input = self._network.get_input_details()[0]["index"]
        maps = [t for t in self._network.get_tensor_details() if tuple(t["shape"]) == (1, 7, 7, FEATURES)]
        if not maps:
            raise ValueError(f"{path} has no 7x7x{FEATURES} feature map; expected MobileNet v2 for 224x224 pictures")
        self._map = maps[-1]["index"]
        self._zero = int(maps[-1]["quantization"][1])

    def __call__(self, picture: NDArray[np.uint8]) -> NDArray[np.float16]:
        """(H, W, 3) uint8 RGB to (FEATURES, GRID, GRID) float16, up to a scale, pooled as the student's map."""
        levels = self.levels(picture)
        window = levels.shape[0] - GRID + 1
        sums = sum(levels[y : y + GRID, x : x + GRID] for y in range(window) for x in range(window))
        return np.ascontiguousarray((sums / window**2).transpose(2, 0, 1)).astype(np.float16)

    def levels(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(H, W, 3) uint8 RGB to the last map, (7, 7, FEATURES), up to a scale."""
        square = cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        self._network.set_tensor(self._input, square[None])
        self._network.invoke()
        return self._network.get_tensor(self._map)[0].astype(np.float32) - self._zero


def targets(pictures: Sequence[NDArray[np.uint8]], network: Path, cache: Path) -> NDArray[np.float16]:
    """The maps of all pictures, (n, FEATURES, GRID, GRID) float16, computed once and kept in ``cache``."""
    shape = (len(pictures), FEATURES, GRID, GRID)
    if cache.exists():
        kept = np.load(cache, mmap_mode="r")
        if kept.shape == shape:
            return kept  # type: ignore[no-any-return]
    teacher = MobileNetTeacher(network)
    maps = np.lib.format.open_memmap(cache, mode="w+", dtype=np.float16, shape=shape)
    for row, picture in enumerate(pictures):
        maps[row] = teacher(picture)
    maps.flush()
    return maps


def first_proxies(maps: NDArray[np.float16], labels: Sequence[int], fitted: int, dimension: int) -> torch.Tensor:
    """A unit vector for each class, (classes, dimension), from the teacher's maps of its clean pictures.

    Principal components of the first ``fitted`` maps, half whitened: cards that look alike start near each other, and
    no few components dominate. Starting so, the classifier teaches from the first step; random proxies take hours to
    order.
    """
    flat = torch.tensor(np.asarray(maps)).reshape(len(maps), -1).float()
    flat = torch.nn.functional.normalize(flat, dim=1)
    flat -= flat[:fitted].mean(dim=0)
    _, spread, basis = torch.svd_lowrank(flat[:fitted], q=dimension + 32, niter=2)
    vectors = flat @ (basis[:, :dimension] / spread[:dimension].sqrt())
    vectors = torch.nn.functional.normalize(vectors, dim=1)
    classes = torch.zeros(max(labels) + 1, dimension).index_add_(0, torch.tensor(labels), vectors)
    return torch.nn.functional.normalize(classes, dim=1)
