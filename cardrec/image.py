"""A path, a PIL image or an array becomes a uint8 view whose colour order is known.

Arrays are never copied: any strides will do, also negative ones. Files are decoded by PIL, which is imported when the
first file comes in. What can't be used is refused before it costs anything: the size of a file's picture is read from
its header, so that an image bomb is never decoded.

NV12 and I420, as cameras and video decoders give them, are (H * 3/2, W) arrays whose first H rows are luma. Below it
NV12 has H/2 rows of U and V in turn, I420 all of U, then all of V, two of their rows of W/2 to a row of the array. That
is how OpenCV and Picamera2 (YUV420) lay them out. The colours are BT.601 with limited range ("video range"), and a
sample of chroma lies in the middle of its 2x2 samples of luma.
"""

from __future__ import annotations

import io
import os
import stat
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, TypeGuard, cast, get_args

import numpy as np
from numpy.typing import NDArray

from cardrec.errors import InputError
from cardrec.types import Color, ImageLike

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

__all__ = ["MAX_PIXELS", "Frame", "check_color", "decode", "load"]

MAX_PIXELS = 100_000_000
"""The largest picture taken, in pixels: above every camera (a 48 MP phone, a 61 MP camera), 300 MB when decoded."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""What is decoded. PIL knows more, some of which run other programs (EPS) or are seldom fuzzed."""

_ACCEPTED = "a uint8 array of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)"


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture, ready for detection and rectification.

    Attributes:
        pixels: (H, W), (H, W, 3) or (H, W, 4) uint8, any strides; a view of the caller's array where there was one.
            Of NV12 and I420 this is the luma, a grey picture that will do where colours don't matter.
        color: order of the first three channels, "bgr" or "rgb"; a fourth channel is alpha and ignored. Or "nv12" or
            "i420", where there is chroma.
        name: the path, ``"<array>"`` or ``"<PIL image>"``, for messages.
        chroma: U and V of such a frame, (H/2, W/2) uint8 each, any strides; else None.
    """

    pixels: NDArray[np.uint8]
    color: Color
    name: str
    chroma: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return int(self.pixels.shape[1]), int(self.pixels.shape[0])


def load(image: ImageLike, *, color: Color = "bgr") -> Frame:
    """Turns any supported picture into a frame.

    Args:
        image: a path, a PIL image or a uint8 array: (H, W) or (H, W, 1) grey, (H, W, 3) or (H, W, 4); NV12 and I420
            (H * 3/2, W), with H and W even.
        color: what arrays hold; files and PIL images know their own.

    Returns:
        The frame. An array's pixels are viewed, not copied: do not overwrite them while the frame is in use. (The
        chroma of an I420 array whose rows don't follow each other in memory is copied: its rows are halves of these.)

    Raises:
        OSError: the path can't be read (FileNotFoundError, IsADirectoryError, PermissionError, ...).
        InputError: empty, truncated or not a picture; wrong dtype or shape; more than ``MAX_PIXELS`` pixels.

    Example:
        >>> load(np.zeros((720, 1280, 3), np.uint8)).size_wh
        (1280, 720)
    """
    check_color(color)
    if isinstance(image, np.ndarray):
        return _planes(image, color) if color in ("nv12", "i420") else Frame(_view(image), color, "<array>")
    if isinstance(image, (str, os.PathLike)):
        return _from_file(os.fspath(image))
    if _is_pil(image):
        return _from_pil(image, "<PIL image>")
    kind = f"{type(image).__module__}.{type(image).__qualname__}"
    raise InputError(f"a picture can't be made of {kind}: give a path, a PIL image or {_ACCEPTED} (numpy.asarray?)")


def decode(data: bytes, name: str) -> Frame:
    """The frame of a file's contents; ``name`` is for messages.

    Raises:
        InputError: as in `load`.
    """
    return _decode(io.BytesIO(data), name)


def check_color(color: object) -> None:
    """Refuses what is none of the kinds of arrays.

    Raises:
        InputError: naming those there are.
    """
    if color not in get_args(Color):
        known = "'bgr' (cv2, Picamera2's RGB888), 'rgb', 'nv12' or 'i420' (Picamera2's YUV420)"
        raise InputError(f"color={color!r} is not what an array can hold: say {known}")


def _planes(array: NDArray[Any], color: Color) -> Frame:
    """An NV12 or I420 array as luma and chroma."""
    expected = f"a uint8 array of shape (H * 3/2, W) for color={color!r}"
    if array.dtype != np.uint8:
        raise InputError(f"the array is {array.dtype}, expected {expected}: {_dtype_remedy(array.dtype)}")
    if array.ndim != 2 or array.size == 0 or array.shape[0] % 3 or array.shape[1] % 2:
        remedy = "H and W must be even, with luma above and chroma below; pixels of 3 channels are 'bgr' or 'rgb'"
        raise InputError(f"the array has shape {array.shape}, expected {expected}: {remedy}")
    height, width = array.shape[0] // 3 * 2, array.shape[1]
    _check_size(width, height, "the array")
    if color == "nv12":
        pairs = array[height:].reshape(height // 2, width // 2, 2)
        u, v = pairs[:, :, 0], pairs[:, :, 1]
    else:
        u, v = array[height:].reshape(2, height // 2, width // 2)
    return Frame(array[:height], color, "<array>", (u, v))


def _view(array: NDArray[Any]) -> NDArray[np.uint8]:
    """The array itself, checked; (H, W, 1) loses its last axis."""
    if array.dtype != np.uint8:
        raise InputError(f"the array is {array.dtype}, expected {_ACCEPTED}: {_dtype_remedy(array.dtype)}")
    if array.ndim not in (2, 3):
        raise InputError(f"the array has shape {array.shape}, expected {_ACCEPTED}: give one picture at a time")
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4):
        hint = "transpose(1, 2, 0) puts channels last" if array.shape[0] in (1, 3, 4) else "leave 1, 3 or 4 channels"
        raise InputError(f"the array has shape {array.shape}, expected {_ACCEPTED}: {hint}")
    if array.size == 0:
        raise InputError(f"the array has shape {array.shape}: it holds no pixels")
    _check_size(int(array.shape[1]), int(array.shape[0]), "the array")
    return array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array


def _dtype_remedy(dtype: np.dtype[Any]) -> str:
    """How to get to uint8 from another dtype; only the caller knows the range of the values, so nothing is guessed."""
    if dtype.kind == "f":
        return "scale it to 0..255, replace NaN, and convert with astype(numpy.uint8)"
    if dtype == np.uint16:
        return "bring it to 8 bits, for full-range data with (array >> 8).astype(numpy.uint8)"
    if dtype.kind == "b":
        return "multiply it by 255 and convert with astype(numpy.uint8)"
    return "convert it with astype(numpy.uint8) after checking that it holds 0..255"


def _check_size(width: int, height: int, name: str) -> None:
    if width < 1 or height < 1:
        raise InputError(f"{name} is {width}x{height} pixels: it holds no picture")
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{name} is {width}x{height}, {width * height:,} pixels, at most {MAX_PIXELS:,} are taken: scale it down"
        )


def _is_pil(image: object) -> TypeGuard[PILImage]:
    """Whether it is a PIL image, without importing PIL: there is none before PIL is imported."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(image, module.Image)


def _from_file(path: str) -> Frame:
    if not isinstance(path, str) or "\0" in path:
        raise InputError(f"{path!r} is not a path: give a str or an os.PathLike of str without NUL")
    status = os.stat(path)  # noqa: PTH116 - a Path would drop what is special about the caller's spelling
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise InputError(f"{path} is a device, pipe or socket: give a regular file")
    with open(path, "rb") as file:  # noqa: PTH123 - a directory raises IsADirectoryError here
        if status.st_size == 0:
            raise InputError(f"{path} is empty (0 bytes): expected a picture ({', '.join(FORMATS)})")
        return _decode(file, path)


def _decode(file: BinaryIO, name: str) -> Frame:
    from PIL import Image, UnidentifiedImageError

    with _quietly():
        try:
            image = Image.open(file, formats=FORMATS)
        except UnidentifiedImageError:
            raise InputError(f"{name} is not a picture that can be read: expected {', '.join(FORMATS)}") from None
        except Image.DecompressionBombError as error:
            raise InputError(f"{name} is too large, at most {MAX_PIXELS:,} pixels are taken: {error}") from None
        except Exception as error:  # noqa: BLE001 - decoders fail in many ways
            _raise_undecodable(name, error)
        with image:
            return _from_pil(image, name)


def _from_pil(image: PILImage, name: str) -> Frame:
    """Decodes, turns upright and converts: L stays grey, everything else becomes RGB."""
    from PIL import ImageOps

    _check_size(*image.size, name)
    with _quietly():
        try:
            upright = ImageOps.exif_transpose(image)
            pixels = _eight_bit(upright, wide_is_16_bit=image.mode != "I" or image.format in ("PNG", "PPM"))
        except InputError:
            raise
        except Exception as error:  # noqa: BLE001 - decoders fail in many ways
            _raise_undecodable(name, error)
    if pixels is None:
        raise InputError(f"{name} holds {image.mode!r} pixels, whose range is unknown: convert it to 8 bits a channel")
    return Frame(pixels, "rgb", name)


def _eight_bit(image: PILImage, *, wide_is_16_bit: bool) -> NDArray[np.uint8] | None:
    """The pixels as (H, W) or (H, W, 3) uint8; None where their range is unknown (floating point, 32-bit integers)."""
    if image.mode == "F" or (image.mode.startswith("I") and not wide_is_16_bit):
        return None
    if image.mode.startswith("I"):  # 16-bit grey is I;16, I;16B or, of PNG and PPM files in some versions of PIL, I
        wide = np.asarray(image).astype(np.uint32)
        return ((wide + 128) // 257).astype(np.uint8)  # 65535 -> 255, rounded to nearest
    grey = image.mode in ("1", "L", "LA", "La")
    return np.asarray(image.convert("L" if grey else "RGB"))


def _raise_undecodable(name: str, error: Exception) -> NoReturn:
    """Passes on the system's own errors; the decoder's (OSError, SyntaxError, struct.error, ...) become InputError."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None):
        raise error
    detail = f"{type(error).__name__}: {error}"
    raise InputError(f"{name} is damaged and can't be decoded ({detail}): get the file again") from error


class _QuietThread(threading.local):
    """The message pattern of a warning filter that matches only in a thread that is decoding.

    PIL warns of large and of odd files. ``warnings.catch_warnings`` would silence it, but it swaps the process's
    filters and so isn't thread-safe before Python 3.14; PIL's own limits are globals that belong to the application.
    """

    decoding = False

    def match(self, _text: str) -> bool:
        return self.decoding


_QUIET = _QuietThread()


@contextmanager
def _quietly() -> Iterator[None]:
    """Ignores warnings raised in this thread meanwhile, by a filter that never matches in any other."""
    filters = cast("list[tuple[Any, ...]]", warnings.filters)
    if not filters or filters[0][1] is not _QUIET:
        filters.insert(0, ("ignore", _QUIET, Warning, None, 0))
    before, _QUIET.decoding = _QUIET.decoding, True
    try:
        yield
    finally:
        _QUIET.decoding = before
