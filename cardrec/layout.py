"""The files of a segment: names, types, shapes and headers.

Arrays are .npy files with a header of exactly 128 bytes, so that it can be written last, when the number of rows is
known, and checked byte for byte: a file is either the array that the manifest describes, or refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cardrec.pruning import LANES, REST_CODES

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DESCR", "HEADER_BYTES", "bitmap_words", "groups_shape", "layout", "npy_header", "segments_folder"]

HEADER_BYTES = 128
DESCR = {"float32": "<f4", "float16": "<f2", "int8": "|i1", "int64": "<i8", "uint64": "<u8"}


def segments_folder(folder: Path) -> Path:
    """Where the segments of a catalog lie."""
    return folder / "segments"


def npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """The header of a .npy file, format version 1.0, padded to ``HEADER_BYTES``."""
    text = f"{{'descr': '{DESCR[dtype]}', 'fortran_order': False, 'shape': {shape!r}, }}"
    length = HEADER_BYTES - 10
    return b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + text.encode().ljust(length - 1) + b"\n"


def layout(rows: int, dimension: int, dtype: str) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The arrays of a segment: file name -> (dtype, shape)."""
    return {
        "vectors.npy": (dtype, (rows, dimension)),
        "codes.npy": ("int8", (rows, dimension)),
        "scales.npy": ("float32", (rows,)),
        "errors.npy": ("float32", (rows,)),
    }


def groups_shape(rows: int, length: int) -> tuple[int, int, int, int]:
    """The shape of the prefix codes of some rows, in a basis of that length."""
    return -(-rows // LANES), (length + REST_CODES) // 4, LANES, 4


def bitmap_words(rows: int) -> int:
    """64-bit words of a bitmap of some rows."""
    return (rows + 63) // 64
