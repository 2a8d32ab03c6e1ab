"""What light, lens, sensor and file do to a painted frame.

Light is added and multiplied in linear values, taken as the square of the stored ones: gamma 2 instead of sRGB's mean
2.2, so that encoding is a square root. Shot noise, which grows with the root of the light, is then the same at every
stored level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from training.simulate_background import fractal
from training.simulate_scene import CARD_HEIGHT_MM

if TYPE_CHECKING:
    from training.simulate_levels import Look

__all__ = ["Moment", "expose"]

Grey = NDArray[np.float32]
Picture = NDArray[np.uint8]

COARSE = 4
"""Light, shadows and reflections are drawn at a quarter of the frame's size: they are smooth."""


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """What one frame of a camera that is held does not share with the others.

    Attributes:
        motion_mm: (4, 4) rigid motion of the table before the camera, in homogeneous millimetres.
        reflections_mm: (2,) by how far reflections have wandered over the cards.
        sensor: where the randomness of blur, noise and file comes from.
    """

    motion_mm: NDArray[np.float64]
    reflections_mm: NDArray[np.float64]
    sensor: np.random.Generator


def expose(
    canvas: Picture,
    gloss: Picture,
    look: Look,
    rng: np.random.Generator,
    *,
    card_px: float,
    moment: Moment | None = None,
) -> Picture:
    """Takes the photo.

    Args:
        canvas: (H, W, 3) uint8 BGR, evenly lit.
        gloss: (H, W) uint8, 255 where a surface reflects.
        look: the ranges of the effects.
        rng: where the randomness comes from.
        card_px: height of a card in the frame, in pixels: blur is measured in it.
        moment: what is this frame's own; None: it is the only one.

    Returns:
        (H, W, 3) uint8 BGR, as decoded from the camera's JPEG.
    """
    linear = _lit(canvas, look, rng)
    if rng.random() < look.glare:
        shift_px = np.zeros(2) if moment is None else moment.reflections_mm * card_px / CARD_HEIGHT_MM
        _add_glare(linear, gloss, look, rng, card_px=card_px, shift_px=shift_px)
    rng = rng if moment is None else moment.sensor
    linear = _blurred(linear, look, rng, card_px=card_px)
    picture = np.asarray(cv2.convertScaleAbs(cv2.sqrt(linear), alpha=255.0), dtype=np.uint8)
    picture = _noisy(picture, look, rng)
    if rng.random() < look.sharpen:
        amount = rng.uniform(0.2, 0.8)
        picture = np.asarray(cv2.addWeighted(picture, 1 + amount, cv2.GaussianBlur(picture, (5, 5), 1.2), -amount, 0))
    return _jpeg(picture, int(rng.uniform(*look.jpeg)))


def _lit(canvas: Picture, look: Look, rng: np.random.Generator) -> Grey:
    """(H, W, 3) linear light after exposure, white balance and the light's fall over the table."""
    height, width = canvas.shape[:2]
    warmth = rng.uniform(-look.tint, look.tint)
    gains = np.asarray([1 - warmth, 1 + rng.uniform(-look.tint, look.tint) / 4, 1 + warmth])
    table = np.square(np.arange(256) / 255.0)[:, None] * gains * rng.uniform(*look.exposure)
    linear = cv2.LUT(canvas, table.astype(np.float32)[None])
    light = _light((width // COARSE + 1, height // COARSE + 1), look, rng)
    full = cv2.cvtColor(cv2.resize(light, (width, height)), cv2.COLOR_GRAY2BGR)
    return np.asarray(cv2.multiply(linear, full, dst=linear), dtype=np.float32)


def _axes(size_wh: tuple[int, int]) -> tuple[Grey, Grey]:
    """x (1, W) and y (H, 1) from -1 to 1 over the longer side."""
    width, height = size_wh
    longer = max(width, height)
    x = np.linspace(-width / longer, width / longer, width, dtype=np.float32)
    return x[None, :], np.linspace(-height / longer, height / longer, height, dtype=np.float32)[:, None]


def _light(size_wh: tuple[int, int], look: Look, rng: np.random.Generator) -> Grey:
    """(H, W) gain of the light: gradient, vignette, a lamp's pool, cast shadows."""
    x, y = _axes(size_wh)
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, look.gradient) / 2
    light = 1 + np.float32(slope * np.cos(angle)) * x + np.float32(slope * np.sin(angle)) * y
    light *= 1 - np.float32(rng.uniform(0, look.vignette)) * (x * x + y * y)
    if rng.random() < look.lamp:
        at, width = rng.uniform(-0.8, 0.8, 2).astype(np.float32), np.float32(rng.uniform(0.3, 1.0))
        pool = 1 / (1 + ((x - at[0]) ** 2 + (y - at[1]) ** 2) / width**2) ** np.float32(1.5)
        light *= np.float32(rng.uniform(0.35, 0.7)) + pool
    if rng.random() < look.shadow:
        light *= _cast_shadow(size_wh, rng)
    return np.asarray(np.clip(light, 0.08, 2.0), dtype=np.float32)


def _cast_shadow(size_wh: tuple[int, int], rng: np.random.Generator) -> Grey:
    """(H, W) gain under the shadow of a hand, head or phone that reaches in from outside."""
    size = np.asarray(size_wh, dtype=np.float64)
    angle = rng.uniform(0, 2 * np.pi)
    inward = np.asarray([np.cos(angle), np.sin(angle)])
    tip = size / 2 + inward * rng.uniform(-0.35, 0.3) * size.min()
    side = np.asarray([-inward[1], inward[0]]) * size.min() * rng.uniform(0.1, 0.5)
    away = -inward * size.sum()
    wide = rng.uniform(1, 2.5, 2)
    outline = [tip - side, tip + side, tip + side * wide[0] + away, tip - side * wide[1] + away]
    mask = np.zeros(size_wh[::-1], np.float32)
    cv2.fillPoly(mask, [np.asarray(outline).astype(np.int32)], 1.0)
    mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), float(size.max() * rng.uniform(0.006, 0.06))), dtype=np.float32)
    return np.asarray(1 - mask * np.float32(rng.uniform(0.3, 0.75)), dtype=np.float32)


def _add_glare(
    linear: Grey, gloss: Picture, look: Look, rng: np.random.Generator, *, card_px: float, shift_px: NDArray[np.float64]
) -> None:
    """Adds reflections of lamps and windows, in place, where the surface is glossy; all are moved by the shift."""
    height, width = gloss.shape
    left, top, wide, high = cv2.boundingRect(gloss)
    if wide == 0:
        return
    size_wh = (width // COARSE + 1, height // COARSE + 1)
    field = np.zeros(size_wh[::-1], np.float32)
    for _ in range(int(rng.integers(2, 6) if look.page else rng.integers(1, 4))):
        centre = np.asarray([left, top]) + rng.uniform(0, 1, 2) * (wide, high) + shift_px
        blob = _stripe if rng.random() < 0.4 else _spot
        field += blob(size_wh, centre / COARSE, card_px / COARSE, rng) * np.float32(rng.uniform(*look.glare_gain))
    waves = fractal(size_wh, rng, cell_px=card_px / COARSE / 2, octaves=3, stretch=rng.uniform(0.4, 2.5))
    field *= 1 - np.float32(rng.uniform(0, 0.9)) * waves
    area = np.s_[top : top + high, left : left + wide]
    colour = np.asarray([1.0, 0.97, 0.92] if rng.random() < 0.6 else [0.9, 0.97, 1.0], np.float32)
    shine = np.asarray(cv2.resize(field, (width, height)))[area] * gloss[area].astype(np.float32) * np.float32(1 / 255)
    linear[area] += cv2.merge([shine * gain for gain in colour])


def _spot(size_wh: tuple[int, int], centre: NDArray[np.float64], card_px: float, rng: np.random.Generator) -> Grey:
    """(H, W) up to 1: a lamp, round or long, with a bright core and a wide skirt."""
    x, y = (np.arange(n, dtype=np.float32) - np.float32(at) for n, at in zip(size_wh, centre, strict=True))
    angle = rng.uniform(0, np.pi)
    u = x[None, :] * np.float32(np.cos(angle)) + y[:, None] * np.float32(np.sin(angle))
    v = y[:, None] * np.float32(np.cos(angle)) - x[None, :] * np.float32(np.sin(angle))
    long, slim = card_px * rng.uniform(0.05, 0.22), card_px * rng.uniform(0.04, 0.12)
    distance = (u / np.float32(long)) ** 2 + (v / np.float32(slim)) ** 2
    return np.asarray(0.8 * np.exp(-distance * distance) + 0.2 / (1 + distance), dtype=np.float32)


def _stripe(size_wh: tuple[int, int], centre: NDArray[np.float64], card_px: float, rng: np.random.Generator) -> Grey:
    """(H, W) up to 1: a window or tube across the surface, with soft sides."""
    x, y = (np.arange(n, dtype=np.float32) - np.float32(at) for n, at in zip(size_wh, centre, strict=True))
    angle = rng.uniform(0, np.pi)
    v = y[:, None] * np.float32(np.cos(angle)) - x[None, :] * np.float32(np.sin(angle))
    slim, edge = card_px * rng.uniform(0.02, 0.12), card_px * rng.uniform(0.01, 0.08)
    beyond = np.clip((np.abs(v) - np.float32(slim)) / np.float32(edge), -30, 30)
    return np.asarray(0.7 / (1 + np.exp(beyond)), dtype=np.float32)


def _blurred(linear: Grey, look: Look, rng: np.random.Generator, *, card_px: float) -> Grey:
    """Defocus by a disc (a Gaussian where the disc is small), then motion along a line."""
    radius = rng.uniform(*look.defocus) * card_px
    if radius > 0.25:
        linear = np.asarray(
            cv2.filter2D(linear, -1, _disc(radius)) if radius > 1.5 else cv2.GaussianBlur(linear, (5, 5), radius / 2),
            dtype=np.float32,
        )
    if rng.random() < look.motion:
        length = rng.uniform(*look.motion_length) * card_px
        linear = np.asarray(cv2.filter2D(linear, -1, _line(length, rng.uniform(0, np.pi))), dtype=np.float32)
    return linear


def _disc(radius: float) -> Grey:
    """A centred kernel of a disc up to 4.5 px, at most 9x9 so that cv2 filters directly."""
    reach = np.arange(-4, 5, dtype=np.float32)
    disc = np.clip(min(radius, 4.5) + 0.5 - np.hypot(reach[None, :], reach[:, None]), 0, 1)
    return np.asarray(disc / disc.sum(), dtype=np.float32)


def _line(length: float, angle: float) -> Grey:
    """A centred kernel of a straight line up to 10 px, 11x11."""
    kernel = np.zeros((11, 11), np.float32)
    reach = min(max(length, 1.0), 10.0) / 2
    for step in np.linspace(-reach, reach, 41):
        x, y = 5 + step * np.cos(angle), 5 + step * np.sin(angle)
        column, row = min(int(x), 9), min(int(y), 9)
        weights = np.outer((1 - (y - row), y - row), (1 - (x - column), x - column))
        kernel[row : row + 2, column : column + 2] += weights.astype(np.float32)
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)


def _noisy(picture: Picture, look: Look, rng: np.random.Generator) -> Picture:
    """Adds grain, and coarse colour blotches where the light is low."""
    grain = np.frombuffer(rng.bytes(picture.size), np.uint8).reshape(picture.shape)
    softness = rng.uniform(0.4, 0.8)
    picture = _add_noise(picture, cv2.GaussianBlur(grain, (3, 3), softness), sigma=rng.uniform(*look.noise))
    if rng.random() < look.blotch:
        height, width = picture.shape[:2]
        shape = (height // COARSE + 1, width // COARSE + 1, 3)
        coarse = np.frombuffer(rng.bytes(int(np.prod(shape))), np.uint8).reshape(shape)
        picture = _add_noise(picture, cv2.resize(coarse, (width, height)), sigma=rng.uniform(*look.noise) / 3)
    return picture


def _add_noise(picture: Picture, noise: cv2.typing.MatLike, *, sigma: float) -> Picture:
    """Adds uint8 noise about its mean, scaled to a standard deviation in grey levels."""
    mean, spread = (float(v[0, 0]) for v in cv2.meanStdDev(noise[:64, :64, 1]))
    gain = sigma / max(spread, 1.0)
    return np.asarray(cv2.addWeighted(picture, 1.0, noise, gain, -mean * gain), dtype=np.uint8)


def _jpeg(picture: Picture, quality: int) -> Picture:
    """The picture after JPEG at a quality from 1 to 100."""
    ok, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise ValueError(f"a picture of shape {picture.shape} could not be encoded as JPEG")
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)
