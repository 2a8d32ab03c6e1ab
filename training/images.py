"""Reads pictures of cards: every file as (H, W, 3) uint8 RGB, upright, and none that nothing can be learned from.

PIL decodes, as it does for catalogs (`cardrec/image.py`); of JPEG files its bytes are OpenCV's. Unlike OpenCV it
refuses files that are cut off, and it opens every path.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from cardrec.image import FORMATS, MAX_PIXELS
from cardrec.importer import IMAGE_SUFFIXES

__all__ = ["SUFFIXES", "Picture", "check_images", "read_bgr", "read_card", "read_rgb"]

Picture = NDArray[np.uint8]

SUFFIXES = IMAGE_SUFFIXES | {".npy", ".exr"}
"""Files with other endings are no pictures and are passed over. OpenEXR can't be decoded here, and is said to be so."""

MIN_SIDE_PX = 32
"""The encoder's deepest maps have one cell for 32 pixels: a smaller picture is less than one cell."""

MIN_RANGE = 8
"""Levels between darkest and brightest pixel, of the channel where they are most. The least among 198 of the
development data's pictures, plain textures included, is 29; JPEG may make a few levels of a single colour."""

SHOWN_FAULTS = 20


def read_rgb(path: Path) -> Picture:
    """The picture as (H, W, 3) uint8 RGB, upright by its EXIF orientation.

    Grey becomes three equal channels. 16 bits are scaled to 8; floats are taken as 0..1 where none is above 1, else as
    0..255. Transparency is laid over white, as paper is, so that cut-out corners don't become black.

    Raises:
        ValueError: no picture, damaged, too large, or with values that are no colours; names the file.
    """
    try:
        return _decode(path.read_bytes(), array=path.suffix.lower() == ".npy")
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a readable image: {_reason(error)}") from error


def read_bgr(path: Path) -> Picture:
    """The same as BGR."""
    return np.ascontiguousarray(read_rgb(path)[:, :, ::-1])


def check_images(paths: Sequence[Path]) -> list[Picture]:
    """Reads pictures of cards, each once and in parallel, and refuses the lot where any of them can't be learned from.

    Returns:
        (H, W, 3) uint8 RGB each, in the order of the paths.

    Raises:
        ValueError: files that can't be read, are cut off, empty, smaller than 32 px, of one colour or not finite; the
            message has the number of them, and path and reason of the first 20.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = list(pool.map(read_card, paths))
    faults = [fault for fault in read if isinstance(fault, str)]
    if faults:
        more = [f"and {len(faults) - SHOWN_FAULTS} more"] if len(faults) > SHOWN_FAULTS else []
        listed = "\n  ".join(faults[:SHOWN_FAULTS] + more)
        raise ValueError(
            f"{len(faults)} of {len(paths)} images can't be trained on; replace them or take them out:\n  {listed}"
        )
    return [picture for picture in read if not isinstance(picture, str)]


def read_card(path: Path) -> Picture | str:
    """The picture of a card as `read_rgb` gives it, or why nothing can be learned from it."""
    try:
        picture = read_rgb(path)
    except ValueError as error:
        return str(error)
    height, width = picture.shape[:2]
    if min(height, width) < MIN_SIDE_PX:
        return f"{path} is {width}x{height} pixels; at least {MIN_SIDE_PX} each way were expected"
    if np.ptp(picture.reshape(-1, 3), axis=0).max() < MIN_RANGE:
        return f"{path} is of a single colour: it shows nothing"
    return picture


def _reason(error: OSError | ValueError) -> str:
    """The system's errors in words, without the path that the message has already."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _decode(content: bytes, *, array: bool) -> Picture:
    if not content:
        raise ValueError("it is empty (0 bytes)")
    if array:
        return _three_channels(_eight_bit(np.load(BytesIO(content), allow_pickle=False)))
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            return _from_pil(image)
    except UnidentifiedImageError:
        raise ValueError(f"expected {', '.join(FORMATS)} or an array in .npy; convert it") from None
    except (OSError, ValueError, MemoryError):
        raise
    except Exception as error:  # decoders fail in many ways
        raise ValueError(f"it is damaged ({type(error).__name__}: {error})") from error


def _from_pil(image: Image.Image) -> Picture:
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"it is {image.width}x{image.height}; at most {MAX_PIXELS:,} pixels are taken: scale it down")
    upright = ImageOps.exif_transpose(image)
    if upright.mode == "I" and image.format in ("PNG", "PPM"):  # what older versions of PIL make of 16-bit files
        return _three_channels(_eight_bit(np.asarray(upright).astype(np.uint16)))
    if upright.mode == "F" or upright.mode.startswith("I"):
        return _three_channels(_eight_bit(np.asarray(upright)))
    return np.array(_over_white(upright).convert("RGB"))


def _over_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))


def _eight_bit(values: NDArray[Any]) -> Picture:
    """uint8, uint16 or floats as uint8."""
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:  # of either byte order
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)  # 65535 -> 255, rounded to nearest
    if values.dtype.kind != "f":
        raise ValueError(f"it holds {values.dtype}; uint8, uint16 or floats were expected")
    if not np.isfinite(values).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(values)):,} of its values are not finite")
    scaled = values * 255.0 if values.max(initial=0) <= 1 else values
    if scaled.min(initial=0) < 0 or scaled.max(initial=0) > 255:
        raise ValueError(f"its values go from {values.min():g} to {values.max():g}; 0..1 or 0..255 were expected")
    return np.rint(scaled).astype(np.uint8)


def _three_channels(values: Picture) -> Picture:
    """(H, W), (H, W, 1), (H, W, 3) or (H, W, 4) as (H, W, 3), alpha laid over white."""
    if values.ndim == 2:
        values = values[:, :, None]
    if values.ndim != 3 or values.shape[2] not in (1, 3, 4) or values.size == 0:
        raise ValueError(f"its shape is {values.shape}; (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) was expected")
    if values.shape[2] == 4:
        return np.array(_over_white(Image.fromarray(values)).convert("RGB"))
    return np.ascontiguousarray(np.broadcast_to(values, (*values.shape[:2], 3)))
