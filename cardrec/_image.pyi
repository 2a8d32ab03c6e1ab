import numpy as np
from numpy.typing import NDArray

MAX_SIDE: int

def rectify(
    frame: NDArray[np.uint8], swap_rb: bool, quads: NDArray[np.float32], out: NDArray[np.uint8], tier: str = ""
) -> None: ...
def rectify_yuv(
    luma: NDArray[np.uint8],
    u: NDArray[np.uint8],
    v: NDArray[np.uint8],
    quads: NDArray[np.float32],
    out: NDArray[np.uint8],
    tier: str = "",
) -> None: ...
def resize(frame: NDArray[np.uint8], swap_rb: bool, out: NDArray[np.uint8], tier: str = "") -> None: ...
def resize_yuv(
    luma: NDArray[np.uint8], u: NDArray[np.uint8], v: NDArray[np.uint8], out: NDArray[np.uint8], tier: str = ""
) -> None: ...
def simd_tiers() -> list[str]: ...
def simd_tier(tier: str = "") -> str: ...
