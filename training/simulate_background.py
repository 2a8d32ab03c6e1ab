"""Table tops drawn from noise: wood, cloth, felt, carpet, leather, marble, paper, mats, plain and cluttered desks."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["BACKGROUND_KINDS", "cropped", "fractal", "procedural_background"]

Grey = NDArray[np.float32]
Picture = NDArray[np.uint8]
Stops = tuple[tuple[int, int, int], ...]
Painter = Callable[[tuple[int, int], np.random.Generator], Picture]

WOODS: tuple[Stops, ...] = (
    ((22, 34, 52), (48, 82, 122), (84, 130, 172)),  # walnut
    ((70, 110, 150), (120, 165, 205), (160, 200, 228)),  # oak
    ((120, 160, 190), (175, 205, 225), (200, 225, 238)),  # birch
    ((14, 14, 48), (26, 30, 88), (44, 52, 128)),  # mahogany
    ((40, 44, 48), (88, 94, 98), (140, 146, 150)),  # weathered grey
    ((16, 18, 20), (34, 38, 42), (60, 64, 70)),  # stained black
)
STONES: tuple[Stops, ...] = (
    ((90, 92, 96), (190, 194, 198), (236, 238, 240)),  # white with grey veins
    ((150, 150, 150), (44, 42, 40), (24, 24, 26)),  # black with white veins
)
DYES: tuple[tuple[int, int, int], ...] = (
    (48, 92, 30), (96, 44, 28), (32, 28, 130), (60, 56, 54), (28, 28, 30), (150, 150, 152),
    (205, 210, 214), (130, 96, 60), (90, 60, 100), (70, 120, 150), (36, 60, 92), (150, 120, 90),
)  # fmt: skip


def cropped(picture: Picture, size_wh: tuple[int, int], rng: np.random.Generator, *, smallest: float = 0.8) -> Picture:
    """A random part of a picture, resized to that size; ``smallest`` is its least share of the largest that fits."""
    height, width = picture.shape[:2]
    scale = min(width / size_wh[0], height / size_wh[1]) * rng.uniform(smallest, 1.0)
    crop_wh = max(int(size_wh[0] * scale), 1), max(int(size_wh[1] * scale), 1)
    left, top = (int(rng.integers(have - need + 1)) for have, need in zip((width, height), crop_wh, strict=True))
    crop = picture[top : top + crop_wh[1], left : left + crop_wh[0]]
    smooth = cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(crop, size_wh, interpolation=smooth), dtype=np.uint8)


def fractal(
    size_wh: tuple[int, int],
    rng: np.random.Generator,
    *,
    cell_px: float,
    octaves: int = 4,
    roughness: float = 0.5,
    stretch: float = 1.0,
) -> Grey:
    """Smooth noise with detail at several scales.

    Args:
        size_wh: width and height in pixels.
        rng: where the randomness comes from.
        cell_px: size of the largest blobs, in pixels down the picture.
        octaves: number of scales, each half as large as the one before.
        roughness: amplitude of an octave as a share of the one before.
        stretch: how much longer than high the blobs are.

    Returns:
        (H, W) float32, from 0 to 1.
    """
    width, height = size_wh
    field: Grey | None = None
    amplitude = 1.0
    for octave in range(octaves):
        cell = max(cell_px / 2**octave, 1.0)
        grid_wh = (min(int(width / (cell * stretch)) + 2, width), min(int(height / cell) + 2, height))
        noise = rng.random(grid_wh[::-1], dtype=np.float32) * np.float32(amplitude)
        field = noise if field is None else noise + _resized(field, grid_wh)
        amplitude *= roughness
    if field is None:
        raise ValueError(f"octaves is {octaves}, expected 1 or more")
    low, high = float(field.min()), float(field.max())
    field = (field - np.float32(low)) / np.float32(max(high - low, 1e-6))
    quarter_wh = width // 4 + 1, height // 4 + 1
    if field.shape[1] < quarter_wh[0] and field.shape[0] < quarter_wh[1]:
        field = _resized(field, quarter_wh)
    return np.clip(cv2.resize(field, size_wh), 0.0, 1.0)


def procedural_background(size_wh: tuple[int, int], rng: np.random.Generator, kind: str | None = None) -> Picture:
    """A drawn table top.

    Args:
        size_wh: width and height in pixels.
        rng: where the randomness comes from; equal states give equal pictures.
        kind: one of BACKGROUND_KINDS; drawn at random where None.

    Returns:
        (H, W, 3) uint8 BGR.

    Raises:
        ValueError: the kind is unknown.
    """
    if kind is None:
        kind = BACKGROUND_KINDS[int(rng.integers(len(BACKGROUND_KINDS)))]
    if kind not in PAINTERS:
        raise ValueError(f"background kind is {kind!r}, expected one of {', '.join(BACKGROUND_KINDS)}")
    return PAINTERS[kind](size_wh, rng)


def _resized(field: Grey, size_wh: tuple[int, int]) -> Grey:
    return np.asarray(cv2.resize(field, size_wh, interpolation=cv2.INTER_CUBIC), dtype=np.float32)


def _coloured(texture: Grey, stops: Stops) -> Picture:
    """Maps 0..1 to a ramp through the BGR stops."""
    at = np.linspace(0.0, 1.0, len(stops))
    levels = np.linspace(0.0, 1.0, 256)
    ramp = np.stack([np.interp(levels, at, [stop[c] for stop in stops]) for c in range(3)], axis=-1)
    index = cv2.convertScaleAbs(np.clip(texture, 0.0, 1.0), alpha=255.0)
    return np.asarray(cv2.applyColorMap(index, ramp.astype(np.uint8)[:, None, :]), dtype=np.uint8)


def _shades(colour: tuple[int, int, int], rng: np.random.Generator, *, contrast: float) -> Stops:
    """A dark and a light version of a colour, the colour itself varied a little."""
    base = np.asarray(colour) * rng.uniform(0.8, 1.2) + rng.uniform(-10, 10, 3)
    return _stops(np.clip(base * gain, 4, 250) for gain in (1 - contrast, 1.0, 1 + contrast))


def _stops(colours: Iterable[NDArray[np.float64]]) -> Stops:
    return tuple((int(b), int(g), int(r)) for b, g, r in colours)


def _dye(rng: np.random.Generator) -> tuple[int, int, int]:
    return DYES[int(rng.integers(len(DYES)))]


def _grain(size_wh: tuple[int, int], rng: np.random.Generator) -> Grey:
    """(H, W) of fine noise about 0, slightly blurred."""
    width, height = size_wh
    noise = np.frombuffer(rng.bytes(width * height), np.uint8).reshape(height, width)
    return np.asarray(cv2.GaussianBlur(noise, (3, 3), 0.7), dtype=np.float32) / np.float32(255) - np.float32(0.5)


def _wood(size_wh: tuple[int, int], rng: np.random.Generator) -> Picture:
    _width, height = size_wh
    bend = fractal(size_wh, rng, cell_px=height * rng.uniform(0.3, 0.8), octaves=3, stretch=rng.uniform(4, 9))
    fibre = fractal(size_wh, rng, cell_px=4, octaves=2, stretch=30)
    rows = np.linspace(0, rng.uniform(8, 22), height, dtype=np.float32)[:, None]
    rings = np.sin(2 * np.pi * (rows + bend * np.float32(rng.uniform(3, 9))), dtype=np.float32)
    texture = 0.45 + 0.2 * rings * bend + 0.45 * (fibre - 0.5) + 0.25 * (bend - 0.5)
    return _coloured(np.asarray(texture, dtype=np.float32), WOODS[int(rng.integers(len(WOODS)))])


def _planks(size_wh: tuple[int, int], rng: np.random.Generator) -> Picture:
    _width, height = size_wh
    picture = _wood(size_wh, rng)
    pitch = int(height * rng.uniform(0.12, 0.4)) + 4
    shade = np.ones(height)
    for top in range(-int(rng.integers(pitch)), height, pitch):
        shade[max(top, 0) : top + pitch] *= rng.uniform(0.8, 1.15)
        shade[max(top, 0) : max(top + 2, 0)] *= rng.uniform(0.3, 0.7)
    return np.asarray(np.clip(picture * shade[:, None, None], 0, 255), dtype=np.uint8)


def _threads(size_wh: tuple[int, int], rng: np.random.Generator) -> Grey:
    """(H, W) of woven threads, from 0 to 1."""
    width, height = size_wh
    period = rng.uniform(3.0, 12.0)
    x, y = (np.arange(n, dtype=np.float32) / np.float32(period) for n in (width, height))
    threads = [rng.uniform(0.7, 1.0, int(at[-1]) + 1).astype(np.float32)[at.astype(int)] for at in (x, y)]
    weft, warp = (t * np.abs(np.sin(np.pi * at, dtype=np.float32)) for t, at in zip(threads, (x, y), strict=True))
    over = (x.astype(int)[None, :] + y.astype(int)[:, None]) % 2 == 0
    return np.asarray(np.where(over, weft[None, :], warp[:, None]), dtype=np.float32)


def _weave(size_wh: tuple[int, int], rng: np.random.Generator) -> Picture:
    texture = 0.6 * _threads(size_wh, rng) + 0.35 * fractal(size_wh, rng, cell_px=size_wh[1] / 3)
    return _coloured(texture, _shades(_dye(rng), rng, contrast=rng.uniform(0.2, 0.5)))


def _felt(size_wh: tuple[int, int], rng: np.random.Generator) -> Picture:
    texture = 0.5 + 0.6 * (fractal(size_wh, rng, cell_px=5, octaves=3) - 0.5) + 0.7 * _grain(size_wh, rng)
    texture += 0.4 * (fractal(size_wh, rng, cell_px=size_wh[1] / 2, octaves=3) - 0.5)
    return _coloured(texture, _shades(_dye(rng), rng, contrast=rng.uniform(0.15, 0.3)))


def _carpet(size_wh: tuple[int, int], rng: np.random.Generator) -> Picture:
    texture = fractal(size_wh, rng, cell_px=rng.uniform(7, 18), octaves=3, roughness=0.7)
    texture = (texture - 0.5) * np.float32(rng.uniform(1.5, 3.0)) + 0.5 + 0.5 * _grain(size_wh, rng)
    return _coloured(texture, (_dye(rng), _dye(rng), _dye(rng)))


def _leather(size_wh: tuple[int, int], rng: np.random.Generator) -> Picture:
    cells = fractal(size_wh, rng, cell_px=rng.uniform(8, 20), octaves=2)
    creases = np.clip(np.abs(cells - 0.5) * 7, 0, 1)
    texture = 0.6 * creases + 0.4 * fractal(size_wh, rng, cell_px=size_wh[1] / 3) + 0.15 * _grain(size_wh, rng)
    return _coloured(texture, _shades(_dye(rng), rng, contrast=rng.uniform(0.2, 0.35)))


def _marble(size_wh: tuple[int, int], rng: np.random.Generator) -> Picture:
    field = fractal(size_wh, rng, cell_px=size_wh[1] * rng.uniform(0.3, 0.9), octaves=6, roughness=0.55, stretch=1.6)
    level, slope = np.float32(rng.uniform(0.4, 0.6)), np.float32(rng.uniform(25, 60))
    veins = np.exp(-np.abs(field - level) * slope, dtype=np.float32)
    clouds = fractal(size_wh, rng, cell_px=size_wh[1] / 4)
    texture = 0.65 + 0.3 * clouds - np.float32(rng.uniform(0.3, 0.7)) * veins
    return _coloured(texture, STONES[int(rng.integers(len(STONES)))])


def _plain(size_wh: tuple[int, int], rng: np.random.Generator) -> Picture:
    width, height = size_wh
    across = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :] * np.float32(rng.uniform(-1, 1))
    down = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None] * np.float32(rng.uniform(-1, 1))
    texture = 0.5 + across + down + 0.3 * (fractal(size_wh, rng, cell_px=height, octaves=3) - 0.5)
    colour = _dye(rng) if rng.random() < 0.5 else (215, 220, 222)
    return _coloured(texture + 0.04 * _grain(size_wh, rng), _shades(colour, rng, contrast=rng.uniform(0.05, 0.25)))


def _paper(size_wh: tuple[int, int], rng: np.random.Generator) -> Picture:
    _width, height = size_wh
    picture = _coloured(0.5 + 0.3 * _grain(size_wh, rng), _shades((226, 232, 234), rng, contrast=0.06))
    pitch, ink = int(height * rng.uniform(0.03, 0.08)) + 3, rng.uniform(0.6, 0.85)
    tint = np.asarray((1.0, ink + 0.08, ink)) if rng.random() < 0.6 else np.full(3, ink)
    start = int(rng.integers(pitch))
    picture[start::pitch] = picture[start::pitch] * tint
    if rng.random() < 0.5:
        picture[:, start::pitch] = picture[:, start::pitch] * tint
    return picture


def _stripes(size_wh: tuple[int, int], rng: np.random.Generator) -> Picture:
    width, height = size_wh
    bands: list[NDArray[np.uint8]] = []
    while sum(len(band) for band in bands) < max(width, height):
        bands.append(np.tile(np.asarray(_dye(rng), np.uint8), (int(height * rng.uniform(0.01, 0.12)) + 2, 1)))
    colours = np.concatenate(bands)
    picture = np.ascontiguousarray(np.broadcast_to(colours[:height, None], (height, width, 3)))
    if rng.random() < 0.5:
        across = np.ascontiguousarray(np.broadcast_to(colours[None, :width], (height, width, 3)))
        picture = np.asarray(cv2.addWeighted(picture, 0.5, across, 0.5, 0), dtype=np.uint8)
    cloth = _coloured(_threads(size_wh, rng), ((90, 90, 90), (255, 255, 255)))
    return np.asarray(cv2.multiply(picture, cloth, scale=1 / 230), dtype=np.uint8)


def _playmat(size_wh: tuple[int, int], rng: np.random.Generator) -> Picture:
    """Painted scenery, out of colour ramps through two warped fields."""
    height = size_wh[1]
    hue = np.asarray(_dye(rng)) * 0.6
    pictures = []
    for _ in range(2):
        colours = np.clip(hue + rng.uniform(-30, 110, (6, 1)) + rng.uniform(-45, 45, (6, 3)), 6, 240)
        cell_px, stretch = height * rng.uniform(0.2, 0.6), rng.uniform(0.7, 2.5)
        pictures.append(_coloured(fractal(size_wh, rng, cell_px=cell_px, octaves=7, stretch=stretch), _stops(colours)))
    mask = np.clip((fractal(size_wh, rng, cell_px=height * 0.5, octaves=6) - 0.5) * 10 + 0.5, 0, 1)
    return np.asarray(cv2.blendLinear(pictures[0], pictures[1], mask, 1 - mask), dtype=np.uint8)


def _mat(size_wh: tuple[int, int], rng: np.random.Generator) -> Picture:
    """A rubber desk mat with a stitched rim, on a desk, sometimes with printed rings."""
    width, height = size_wh
    picture = (_plain, _wood)[int(rng.integers(2))](size_wh, rng)
    left, right = sorted(int(v) for v in rng.uniform((-0.3, 0.8), (0.2, 1.3)) * width)
    top, bottom = sorted(int(v) for v in rng.uniform((-0.3, 0.8), (0.2, 1.3)) * height)
    rubber = _coloured(0.5 + 0.8 * _grain(size_wh, rng), _shades(_dye(rng), rng, contrast=0.15))
    ink = tuple(int(v) for v in rng.integers(30, 220, 3))
    for _ in range(int(rng.integers(0, 3))):
        centre = tuple(int(v) for v in rng.uniform((0, 0), size_wh))
        cv2.circle(rubber, centre, int(height * rng.uniform(0.1, 0.5)), ink, int(rng.integers(1, 8)), cv2.LINE_AA)
    cv2.rectangle(rubber, (left + 5, top + 5), (right - 6, bottom - 6), ink, 2, cv2.LINE_AA)
    area = np.s_[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    picture[area] = rubber[area]
    return picture


def _clutter(size_wh: tuple[int, int], rng: np.random.Generator) -> Picture:
    """A desk with books, papers, pens and coins; none has a card's shape."""
    _width, height = size_wh
    picture = (_wood, _plain, _felt)[int(rng.integers(3))](size_wh, rng)
    for _ in range(int(rng.integers(3, 9))):
        centre = rng.uniform((0, 0), size_wh)
        at = int(centre[0]), int(centre[1])
        colour = tuple(int(v) for v in np.clip(np.asarray(_dye(rng)) + rng.uniform(-30, 30, 3), 0, 255))
        if rng.random() < 0.25:
            cv2.circle(picture, at, int(height * rng.uniform(0.02, 0.12)), colour, -1, cv2.LINE_AA)
            continue
        long = height * rng.uniform(0.25, 0.9)
        slim = long * (rng.uniform(0.03, 0.08) if rng.random() < 0.5 else rng.uniform(0.8, 1.0))
        corners = cv2.boxPoints((centre.tolist(), (long, slim), rng.uniform(0, 180)))
        cv2.fillPoly(picture, [(corners + height * 0.006).astype(np.int32)], tuple(c // 4 for c in colour), cv2.LINE_AA)
        cv2.fillPoly(picture, [corners.astype(np.int32)], colour, cv2.LINE_AA)
        for share in np.arange(0.15, 0.9, rng.uniform(0.06, 0.2)) if slim > 0.5 * long else ():
            ends = [corners[a] * (1 - share) + corners[b] * share for a, b in ((1, 0), (2, 3))]
            cut = [tuple(int(v) for v in ends[0] * (1 - s) + ends[1] * s) for s in (0.1, rng.uniform(0.5, 0.9))]
            cv2.line(picture, cut[0], cut[1], tuple(c // 2 for c in colour), max(1, height // 360), cv2.LINE_AA)
    return picture


PAINTERS: dict[str, Painter] = {
    "wood": _wood,
    "planks": _planks,
    "weave": _weave,
    "felt": _felt,
    "carpet": _carpet,
    "leather": _leather,
    "marble": _marble,
    "plain": _plain,
    "paper": _paper,
    "stripes": _stripes,
    "playmat": _playmat,
    "mat": _mat,
    "clutter": _clutter,
}
BACKGROUND_KINDS: tuple[str, ...] = tuple(PAINTERS)
