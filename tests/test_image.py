"""Every kind of picture that comes in, good and bad."""

from __future__ import annotations

import io
import os
import random
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cardrec.errors import InputError
from cardrec.image import _QUIET, MAX_PIXELS, Frame, load
from cardrec.types import Color


def picture(width: int = 40, height: int = 30) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), np.uint8)


def png_header(width: int, height: int) -> bytes:
    """A PNG file that claims a size and holds a few bytes: an image bomb that costs nothing to write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


def jpeg_bytes(array: np.ndarray[Any, Any] | None = None, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture() if array is None else array).save(buffer, "JPEG", **options)
    return buffer.getvalue()


# arrays: views without a copy


@pytest.mark.parametrize("shape", [(30, 40), (30, 40, 1), (30, 40, 3), (30, 40, 4), (1, 1), (1, 1, 3), (1, 500, 3)])
def test_arrays_are_viewed(shape: tuple[int, ...]) -> None:
    array = np.zeros(shape, np.uint8)
    frame = load(array)
    assert np.shares_memory(frame.pixels, array)
    assert frame.pixels.shape == (shape[:2] if shape[2:] == (1,) else shape)
    assert (frame.size_wh, frame.color, frame.name) == ((shape[1], shape[0]), "bgr", "<array>")


@pytest.mark.parametrize(
    "index",
    [np.s_[::2, ::3], np.s_[::-1], np.s_[:, ::-1], np.s_[:, :, ::-1], np.s_[::-2, ::-1, ::-1], np.s_[3:9, 4:20]],
    ids=["step", "flip-rows", "flip-columns", "flip-channels", "flip-all", "crop"],
)
def test_any_strides_are_viewed(index: Any) -> None:
    array = picture()
    frame = load(array[index], color="rgb")
    assert np.shares_memory(frame.pixels, array)
    assert frame.color == "rgb"
    np.testing.assert_array_equal(frame.pixels, array[index])


def test_transposed_and_read_only_arrays_are_viewed() -> None:
    array = picture()
    array.flags.writeable = False
    assert np.shares_memory(load(array.transpose(1, 0, 2)).pixels, array)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), "float32.*scale it to 0..255"),
        (np.full((4, 4, 3), np.nan), "float64.*NaN"),
        (np.zeros((4, 4), np.uint16), "uint16.*>> 8"),
        (np.zeros((4, 4), bool), "bool.*255"),
        (np.zeros((4, 4), np.int8), "int8"),
        (np.zeros((4, 4), object), "object"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
        (np.zeros((4, 0), np.uint8), "no pixels"),
        (np.zeros((40, 4, 0), np.uint8), "leave 1, 3 or 4 channels"),
        (np.zeros((40, 4, 2), np.uint8), "leave 1, 3 or 4 channels"),
        (np.zeros((3, 40, 50), np.uint8), "transpose"),
        (np.zeros(4, np.uint8), "one picture at a time"),
        (np.array(4, np.uint8), "one picture at a time"),
        (np.zeros((2, 4, 4, 3), np.uint8), "one picture at a time"),
        (np.broadcast_to(np.uint8(0), (20_000, 20_000, 3)), "20000x20000"),
        (np.broadcast_to(np.uint8(0), (1, MAX_PIXELS + 1)), "100,000,000"),
    ],
    ids=lambda value: f"{value.dtype}{value.shape}" if isinstance(value, np.ndarray) else "",
)
def test_bad_arrays(array: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(array)


@pytest.mark.parametrize("thing", [None, 3, b"\xff\xd8", [[1, 2], [3, 4]], object()], ids=repr)
def test_other_things_are_refused(thing: Any) -> None:
    with pytest.raises(InputError, match="can't be made of"):
        load(thing)


def test_a_wrong_colour_order_is_refused() -> None:
    with pytest.raises(InputError, match="'bgr'"):
        load(picture(), color="gbr")  # type: ignore[arg-type]


# files


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.bmp", "a.tiff", "a.ppm"])
@pytest.mark.parametrize("kind", [str, Path])
def test_lossless_files(tmp_path: Path, name: str, kind: Any) -> None:
    path = tmp_path / name
    Image.fromarray(picture()).save(path, lossless=True)
    frame = load(kind(path))
    assert (frame.color, frame.name, frame.size_wh) == ("rgb", str(path), (40, 30))
    np.testing.assert_array_equal(frame.pixels, picture())


def test_the_array_order_says_nothing_about_files(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.png")
    assert load(tmp_path / "a.png", color="bgr").color == "rgb"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "CMYK", "YCbCr", "HSV"])
def test_pil_modes_become_grey_or_rgb(mode: str) -> None:
    image = Image.new("RGB", (8, 6), (255, 255, 255)).convert(mode)
    frame = load(image)
    assert frame.pixels.dtype == np.uint8
    assert frame.pixels.shape == ((6, 8) if mode in ("1", "L", "LA") else (6, 8, 3))
    assert frame.pixels.min() >= 254


def test_alpha_is_ignored(tmp_path: Path) -> None:
    rgba = np.dstack([picture(), np.zeros((30, 40), np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "a.png")
    np.testing.assert_array_equal(load(tmp_path / "a.png").pixels, picture())


def test_a_palette_with_transparency_in_bytes(tmp_path: Path) -> None:
    image = Image.fromarray(picture()).convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    image.save(tmp_path / "a.png", transparency=bytes(range(16)))
    assert load(tmp_path / "a.png").pixels.shape == (30, 40, 3)


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
def test_16_bit_files_are_scaled(tmp_path: Path, name: str) -> None:
    values = np.array([[0, 128, 129, 257], [32767, 32768, 65406, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / name)
    np.testing.assert_array_equal(load(tmp_path / name).pixels, [[0, 0, 1, 1], [127, 128, 254, 255]])


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_files_of_unknown_range_are_refused(tmp_path: Path, dtype: Any) -> None:
    path = tmp_path / "a.tiff"
    Image.fromarray(np.ones((4, 4), dtype)).save(path)
    with pytest.raises(InputError, match="range is unknown") as caught:
        load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture()).save(tmp_path / "a.png", exif=exif)
    array = picture().transpose(1, 0, 2) if orientation >= 5 else picture()
    flips: dict[int, Any] = {
        2: np.s_[:, ::-1],
        3: np.s_[::-1, ::-1],
        4: np.s_[::-1],
        6: np.s_[:, ::-1],
        7: np.s_[::-1, ::-1],
        8: np.s_[::-1],
    }
    np.testing.assert_array_equal(load(tmp_path / "a.png").pixels, array[flips.get(orientation, np.s_[:])])
    np.testing.assert_array_equal(load(Image.open(tmp_path / "a.png")).pixels, array[flips.get(orientation, np.s_[:])])


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing here"):
        load(tmp_path / "nothing here.jpg")


def test_directory(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=tmp_path.name):
        load(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg_bytes())
    path.chmod(0)
    with pytest.raises(PermissionError):
        load(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="regular file"):
        load(tmp_path / "pipe")


def test_a_path_with_nul() -> None:
    with pytest.raises(InputError, match="NUL"):
        load("a\0b.jpg")


BAD_FILES = {
    "zero-byte": (b"", "empty"),
    "text": (b"not a picture at all\n" * 9, "not a picture"),
    "html": (b"<!doctype html><html></html>", "not a picture"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
    "truncated JPEG": (jpeg_bytes()[:-200], "damaged"),
    "JPEG header only": (jpeg_bytes()[:30], "damaged|not a picture"),
    "PNG with too little data": (png_header(400, 400), "damaged"),
    "20,000x20,000": (png_header(20_000, 20_000), "too large|400,000,000"),
    "100,000,001": (png_header(MAX_PIXELS + 1, 1), "at most 100,000,000"),
    "image bomb": (png_header(0x7FFFFFFF, 0x7FFFFFFF), "too large"),
    "no width": (png_header(0, 5), "not a picture|damaged|no picture"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_name_themselves(tmp_path: Path, case: str) -> None:
    content, message = BAD_FILES[case]
    path = tmp_path / "bad.jpg"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match=message) as caught:
            load(path)
    assert str(path) in str(caught.value)


def test_flipped_bits_never_escape_as_other_errors(tmp_path: Path) -> None:
    generator, path = random.Random(3), tmp_path / "a.bin"
    buffers = []
    for kind in ("JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP", "PPM"):
        buffer = io.BytesIO()
        Image.fromarray(picture()).save(buffer, kind)
        buffers.append(buffer.getvalue())
    for _ in range(300):
        content = bytearray(generator.choice(buffers))
        for _ in range(generator.randint(1, 4)):
            content[generator.randrange(len(content))] = generator.randrange(256)
        path.write_bytes(content[: generator.choice([len(content), generator.randrange(1, len(content))])])
        with suppress(InputError):
            assert load(path).pixels.dtype == np.uint8


def test_a_lazily_opened_truncated_pil_image() -> None:
    with pytest.raises(InputError, match="<PIL image> is damaged"):
        load(Image.open(io.BytesIO(jpeg_bytes()[:-200])))


def test_a_huge_pil_image_is_refused_before_decoding() -> None:
    image = Image.new("1", (1, 1))
    image._size = (20_000, 20_000)
    with pytest.raises(InputError, match="20000x20000"):
        load(image)


# warnings and threads


def test_large_files_warn_nobody_and_pil_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(png_header(10_000, 9_500))  # 95 million: PIL warns, we don't; the data are too short
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(InputError, match="damaged"):
            load(path)
        warnings.warn("the application's own", UserWarning, stacklevel=1)
    assert [str(warning.message) for warning in caught] == ["the application's own"]
    assert limit == Image.MAX_IMAGE_PIXELS
    assert not _QUIET.decoding


def test_threads(tmp_path: Path) -> None:
    """Good and bad files, loaded at once: right results, no warning of PIL's, none of the application's lost."""
    good, large = tmp_path / "good.jpg", tmp_path / "large.png"
    good.write_bytes(jpeg_bytes(picture(200, 100)))
    large.write_bytes(png_header(10_000, 9_500))
    expected = load(good).pixels
    stop = threading.Event()

    def work(number: int) -> None:
        for turn in range(20):
            if (turn + number) % 3:
                np.testing.assert_array_equal(load(good).pixels, expected)
            else:
                with pytest.raises(InputError):
                    load(large)

    def warn() -> int:
        count = 0
        while not stop.is_set() and count < 2000:
            warnings.warn("the application's own", UserWarning, stacklevel=1)
            count += 1
        return count

    with warnings.catch_warnings(record=True) as caught, ThreadPoolExecutor(5) as pool:
        warnings.simplefilter("always")
        warned = pool.submit(warn)
        for future in [pool.submit(work, number) for number in range(4)]:
            future.result(60)
        stop.set()
        count = warned.result(60)
    assert {str(warning.message) for warning in caught} <= {"the application's own"}
    assert len(caught) == count


def test_arrays_need_no_pil() -> None:
    program = (
        "import sys, numpy as np; from cardrec.image import load; load(np.zeros((9, 9, 3), np.uint8));"
        "sys.exit(any(name in sys.modules for name in ('PIL', 'cv2', 'onnxruntime')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_frames_are_frozen() -> None:
    frame = load(picture())
    with pytest.raises(AttributeError):
        frame.name = "other"  # type: ignore[misc]
    assert isinstance(frame, Frame)


# luma and chroma


@pytest.mark.parametrize("color", ["nv12", "i420"])
def test_planes_are_views_of_the_array(color: Color) -> None:
    array = np.random.default_rng(3).integers(0, 256, (45, 44), np.uint8)
    frame = load(array, color=color)
    assert (frame.size_wh, frame.color) == ((44, 30), color)
    assert frame.chroma is not None
    assert np.shares_memory(frame.pixels, array) and all(np.shares_memory(plane, array) for plane in frame.chroma)
    assert [plane.shape for plane in frame.chroma] == [(15, 22), (15, 22)]
    expected = (array[30:, ::2], array[30:, 1::2]) if color == "nv12" else array[30:].reshape(2, 15, 22)
    np.testing.assert_array_equal(frame.chroma, expected)


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (4, 4), (2, 4), (3, 3), (6, 5), (6, 4, 1), (4, 4, 3), (6,)], ids=str)
@pytest.mark.parametrize("color", ["nv12", "i420"])
def test_planes_of_another_shape_are_refused(shape: tuple[int, ...], color: Color) -> None:
    with pytest.raises(InputError, match="must be even"):
        load(np.zeros(shape, np.uint8), color=color)


def test_planes_of_another_type_or_too_large_are_refused() -> None:
    with pytest.raises(InputError, match="float32"):
        load(np.zeros((6, 4), np.float32), color="nv12")
    wide = np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (30_000, 20_000), (0, 0))
    with pytest.raises(InputError, match="at most"):
        load(wide, color="i420")


def test_files_know_their_own_colours(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.png")
    frame = load(tmp_path / "a.png", color="nv12")
    assert (frame.color, frame.chroma) == ("rgb", None)
