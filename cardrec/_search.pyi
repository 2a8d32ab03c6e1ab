from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

@final
class Matrix:
    def __init__(
        self,
        segments: Sequence[
            tuple[NDArray[np.float32] | NDArray[np.float16], NDArray[np.int8], NDArray[np.float32], NDArray[np.float32]]
        ],
    ) -> None: ...
    @property
    def rows(self) -> int: ...
    @property
    def dimension(self) -> int: ...
    def search(
        self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.uint64] | None = None, threads: int = 1
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]: ...

def quantise(vectors: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32], NDArray[np.float32]]: ...
def simd_tier() -> str: ...
