from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from cardrec.search import Arrays

@final
class Matrix:
    def __init__(
        self, segments: Sequence[Arrays], basis: NDArray[np.float32] | None = None, delta: float = 0.0, tier: str = ""
    ) -> None: ...
    @property
    def rows(self) -> int: ...
    @property
    def dimension(self) -> int: ...
    @property
    def tier(self) -> str: ...
    def search(
        self,
        queries: NDArray[Any],
        k: int,
        allowed: NDArray[np.uint64] | None = None,
        threads: int = 1,
        zero_point: int = 0,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]: ...

def quantise(
    vectors: NDArray[np.float32], codes: NDArray[np.int8]
) -> tuple[NDArray[np.float32], NDArray[np.float32], float]: ...
def simd_tiers() -> list[str]: ...
def simd_tier() -> str: ...
