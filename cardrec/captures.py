"""What a camera, a light and an imperfect outline do to a card: captures, simulated from a picture of the card.

A rectified card in a photograph: outline error, something of the table at the rim, low resolution, blur, noise,
exposure, white balance, uneven light, a sleeve's haze, holographic sheen, glare, a finger, JPEG. No mirror images and
no turns: cards carry text, and the recognizer settles the orientation itself.

The encoder is trained on such captures, and a catalog is calibrated on those of its own cards. Evaluation uses
`training/simulate.py`, a different model of a camera, on purpose.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from cardrec.quads import UNIT_SQUARE

__all__ = ["Picture", "capture", "drawn_error", "tone"]

Picture = NDArray[np.uint8]
Image32 = NDArray[np.float32]


def drawn_error(rng: np.random.Generator, strength: float) -> NDArray[np.float32]:
    """Where the corners of a card lie in its crop, less where they should lie: (4, 2), in sides of the crop.

    Up to 4 %, a shared shift and scale making up half of it.
    """
    error = 0.04 * strength * rng.beta(1.2, 2.0)
    common = rng.normal(0, error * 0.7, 2) + (UNIT_SQUARE - 0.5) * rng.normal(0, error * 1.4, 2)
    return np.asarray(common + rng.normal(0, error * 0.7, (4, 2)), np.float32)


def capture(
    card: Picture, size: int, rng: np.random.Generator, off: NDArray[np.float32], strength: float = 1.0
) -> Picture:
    """The card as cut out of a photograph, (size, size, 3) uint8 RGB.

    Args:
        card: (H, W, 3) uint8 RGB, the whole face.
        size: side of the result in pixels.
        rng: the only source of chance.
        off: (4, 2) error of the outline, in sides of the crop, such as `drawn_error`.
        strength: 0..1, scales how often and how much.
    """
    crop = outline_warp(card, size, off, table(size, rng))
    if rng.random() < 0.12 * strength:
        crop = finger(crop, rng)
    if rng.random() < 0.5 * strength:
        crop = lower_resolution(crop, rng)
    if rng.random() < 0.5 * strength:
        crop = blur(crop, rng)
    crop = tone(crop, rng, strength)
    if rng.random() < 0.85 * strength:
        lit = crop.astype(np.float32)
        if rng.random() < 0.2:
            lit += sheen(size, rng)
        if rng.random() < 0.3:
            lit = haze(lit, rng)
        lit *= light_field(size, rng)
        if rng.random() < 0.4:
            lit += glare(size, rng)
        if rng.random() < 0.25:
            lit += blotches(size, rng)
        if rng.random() < 0.6:
            lit = sensor_noise(lit, rng)
        crop = np.clip(lit, 0, 255).astype(np.uint8)
    return jpeg(crop, rng) if rng.random() < 0.35 * strength else crop


def outline_warp(card: Picture, size: int, off: NDArray[np.float32], ground: Picture) -> Picture:
    """The card stretched to (size, size), its corners off by (4, 2) sides of the crop, on a ground that shows there."""
    height, width = card.shape[:2]
    source = (UNIT_SQUARE * (width, height)).astype(np.float32)
    shrink = max(width, height) / size
    if shrink > 1.6:  # warping alone would alias
        card = cv2.resize(card, None, fx=1.3 / shrink, fy=1.3 / shrink, interpolation=cv2.INTER_AREA).astype(np.uint8)
        source *= np.array([card.shape[1] / width, card.shape[0] / height], np.float32)
    matrix = cv2.getPerspectiveTransform(source, ((UNIT_SQUARE + off) * size).astype(np.float32))
    return cv2.warpPerspective(
        card, matrix, (size, size), dst=ground.copy(), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT
    ).astype(np.uint8)


def table(size: int, rng: np.random.Generator) -> Picture:
    """A small patch of ground to show at the rim: a colour with coarse and fine variation."""
    coarse = rng.normal(0, 12, (6, 6, 3)).astype(np.float32)
    base = rng.uniform(10, 245, 3).astype(np.float32) * np.float32(0.4) + np.float32(rng.uniform(0, 150))
    patch = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC) + base
    return np.clip(patch, 0, 255).astype(np.uint8)


def lower_resolution(picture: Picture, rng: np.random.Generator) -> Picture:
    """The picture as if the card had covered fewer camera pixels than the model's input."""
    size = picture.shape[0]
    small = int(size * rng.uniform(0.3, 0.9))
    shrunk = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunk, (size, size), interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def blur(picture: Picture, rng: np.random.Generator) -> Picture:
    """Defocus (Gaussian) or motion along a line, up to about 3 % of the width."""
    size = picture.shape[0]
    if rng.random() < 0.6:
        return cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.3, 0.011 * size))).astype(np.uint8)
    length = int(rng.integers(3, max(4, int(0.035 * size)) + 1))
    kernel = np.zeros((length, length), np.float32)
    angle = rng.uniform(0, np.pi)
    reach = np.array([np.cos(angle), np.sin(angle)]) * (length - 1) / 2
    start, end = ((length - 1) / 2 - reach).round().astype(int), ((length - 1) / 2 + reach).round().astype(int)
    cv2.line(kernel, start.tolist(), end.tolist(), 1.0)
    return cv2.filter2D(picture, -1, kernel / kernel.sum()).astype(np.uint8)


def tone(picture: Picture, rng: np.random.Generator, strength: float) -> Picture:
    """Exposure, contrast, gamma and white balance, as one look-up table a channel, then saturation."""
    level = np.linspace(0, 1, 256, dtype=np.float32)[:, None]
    gain = np.exp(rng.normal(-0.05, 0.35 * strength) + rng.normal(0, 0.08 * strength, 3))
    curve = np.clip(level * gain, 0, 1) ** np.exp(rng.normal(0, 0.2 * strength))
    curve = 0.5 + (curve - 0.5) * (1 - rng.uniform(0, 0.4 * strength)) + rng.normal(0, 0.06 * strength)
    lut = (np.clip(curve, 0, 1) * 255).astype(np.uint8)
    toned = cv2.LUT(picture, lut[None])
    saturation = float(np.clip(rng.normal(1.0, 0.25 * strength), 0.1, 1.6))
    grey = cv2.cvtColor(cv2.cvtColor(toned, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(toned, saturation, grey, 1 - saturation, 0).astype(np.uint8)


def light_field(size: int, rng: np.random.Generator) -> Image32:
    """Uneven light: a smooth factor around 1, sometimes with the edge of a shadow; (size, size, 1) float32."""
    corners = np.exp(rng.normal(0, 0.22, (3, 3))).astype(np.float32)
    field = cv2.resize(corners, (size, size), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.25:
        y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
        angle, offset, width = rng.uniform(0, 2 * np.pi), rng.uniform(-0.4, 0.4), rng.uniform(0.01, 0.15)
        side = (x * np.cos(angle) + y * np.sin(angle) - offset) / width
        field = field * (1 - rng.uniform(0.2, 0.6) / (1 + np.exp(-np.clip(side, -30, 30)))).astype(np.float32)
    return field[:, :, None].astype(np.float32)


def glare(size: int, rng: np.random.Generator) -> Image32:
    """Reflections to add: one to three soft ellipses or bands, (size, size, 1) float32 in levels."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    total = np.zeros((size, size), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        centre, angle = rng.uniform(-0.1, 1.1, 2), rng.uniform(0, np.pi)
        u = (x - centre[0]) * np.cos(angle) + (y - centre[1]) * np.sin(angle)
        v = -(x - centre[0]) * np.sin(angle) + (y - centre[1]) * np.cos(angle)
        long, short = rng.uniform(0.1, 0.8), rng.uniform(0.03, 0.16)
        total += rng.uniform(40, 260) * np.exp(-((u / long) ** 2) - (v / short) ** 2).astype(np.float32)
    return total[:, :, None]


def finger(picture: Picture, rng: np.random.Generator) -> Picture:
    """A skin-coloured rounded bar that reaches in over one edge, by up to a fifth."""
    size = picture.shape[0]
    inward = rng.uniform(0.05, 0.22) * size
    along = rng.uniform(0, size)
    tip, root = (along, inward), (along + rng.normal(0, 0.2 * size), -0.3 * size)
    if rng.random() < 0.5:
        tip, root = (tip[0], size - tip[1]), (root[0], size - root[1])
    if rng.random() < 0.5:
        tip, root = tip[::-1], root[::-1]
    colour = np.array([224, 172, 140]) * rng.uniform(0.3, 1.1) + rng.normal(0, 8, 3)
    thickness = int(rng.uniform(0.08, 0.2) * size)
    start, end = (int(tip[0]), int(tip[1])), (int(root[0]), int(root[1]))
    return cv2.line(picture.copy(), start, end, np.clip(colour, 0, 255).tolist(), thickness, cv2.LINE_AA).astype(
        np.uint8
    )


def haze(picture: Image32, rng: np.random.Generator) -> Image32:
    """The veil that a sleeve or a pocket lays over a card: light added to the card's own, most seen on black."""
    share = np.float32(rng.uniform(0.02, 0.4))
    return picture * (1 - share) + share * np.float32(rng.uniform(150, 255))


def sheen(size: int, rng: np.random.Generator) -> Image32:
    """The rainbow bands of a holographic card, to add: (size, size, 3) float32 in levels."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    angle, bands, first = rng.uniform(0, 2 * np.pi), rng.uniform(1.0, 6.0), rng.uniform(0, 2 * np.pi)
    phase = (x * np.cos(angle) + y * np.sin(angle)).astype(np.float32) * np.float32(bands * 2 * np.pi)
    thirds = np.array([0.0, 2.1, 4.2], np.float32) + np.float32(first)
    bright = np.exp(-((np.sin(phase * 0.35 + np.float32(first)) / rng.uniform(0.3, 1.0)) ** 2)).astype(np.float32)
    return np.asarray((0.5 + 0.5 * np.cos(phase[:, :, None] + thirds)) * bright[:, :, None] * rng.uniform(15, 110))


def blotches(size: int, rng: np.random.Generator) -> Image32:
    """The coarse colour noise of a sensor in low light, to add: (size, size, 3) float32 in levels."""
    coarse = rng.normal(0, rng.uniform(1, 14), (size // 5, size // 5, 3)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)


@lru_cache(maxsize=2)
def _noise_bank(size: int) -> NDArray[np.float32]:
    """Unit Gaussian noise to cut patches from: drawing it afresh would be half of the cost of a crop."""
    return np.random.default_rng(0).normal(0, 1, (size * 3, size * 3, 3)).astype(np.float32)


def sensor_noise(picture: Image32, rng: np.random.Generator) -> Image32:
    """Adds noise of up to 14 levels standard deviation."""
    size = picture.shape[0]
    bank = _noise_bank(size)
    y, x = rng.integers(0, bank.shape[0] - size, 2)
    return picture + bank[y : y + size, x : x + size] * np.float32(rng.uniform(0.5, 3) ** 2.4)


def jpeg(picture: Picture, rng: np.random.Generator) -> Picture:
    """Compressed and decompressed at quality 30 to 95."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 96))]
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", picture, quality)[1], cv2.IMREAD_COLOR), np.uint8)
