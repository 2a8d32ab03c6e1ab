"""The easel that the cards' pictures are painted on: seeded random numbers, colours, outlines and lit shapes.

Everything is placed in units of the picture's height and every random draw is independent of the resolution, so that
one seed gives one picture, whatever its size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Easel", "Field", "Points", "generator", "hsv", "limb", "ngon", "ramp", "smooth"]

Field = NDArray[np.float32]
Real = NDArray[np.floating[Any]]
Points = NDArray[np.float64]
Mask = NDArray[np.uint8]


def generator(*seeds: int) -> np.random.Generator:
    """Random numbers that depend on these non-negative integers alone."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(list(seeds))))


def hsv(hue: float, saturation: float, value: float) -> Field:
    """(3,) RGB in 0..1; the hue is in turns."""
    wheel = np.abs((hue * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1
    return np.asarray(value * (1 - saturation * (1 - np.clip(wheel, 0, 1))), np.float32)


def ramp(hue: float, saturation: float, steps: int = 6) -> Field:
    """(steps, 3) RGB from dark to pale; shadows lean to blue and lights to yellow, as painters have it."""
    rise = np.linspace(0, 1, steps)
    lean = 0.07 * np.sin((hue - 0.4) * 2 * np.pi)
    return np.stack(
        [hsv(hue - lean * (t - 0.5), saturation * (1.05 - 0.75 * t**2), 0.12 + 0.88 * t**0.75) for t in rise]
    )


def smooth(line: Points, rounds: int = 3) -> Points:
    """An open line with its corners cut (Chaikin); further columns are smoothed alike."""
    for _ in range(rounds):
        near, far = line[:-1] * 0.75 + line[1:] * 0.25, line[:-1] * 0.25 + line[1:] * 0.75
        line = np.vstack([line[:1], np.stack([near, far], 1).reshape(-1, line.shape[1]), line[-1:]])
    return line


def limb(path: Sequence[tuple[float, float]] | Points, widths: Sequence[float] | Points) -> Points:
    """The outline of a curved limb: a path and its half width at each point."""
    points = np.asarray(path, np.float64)
    half = np.interp(np.linspace(0, 1, len(points)), np.linspace(0, 1, len(widths)), widths)
    line = smooth(np.column_stack([points, half]))
    step = np.gradient(line[:, :2], axis=0)
    side = (
        np.column_stack([-step[:, 1], step[:, 0]]) / (np.linalg.norm(step, axis=1, keepdims=True) + 1e-9) * line[:, 2:]
    )
    return np.vstack([line[:, :2] + side, (line[:, :2] - side)[::-1]])


def ngon(
    x: float, y: float, rx: float, ry: float | None = None, *, sides: int = 28, inner: float = 1.0, turn: float = 0.0
) -> Points:
    """An ellipse, a regular polygon, or with `inner` below 1 a star of `sides` points."""
    count = sides * (2 if inner < 1 else 1)
    angle = (np.arange(count) / count) * 2 * np.pi - np.pi / 2
    reach = np.where(np.arange(count) % 2, inner, 1.0) if inner < 1 else np.ones(count)
    local = np.column_stack([np.cos(angle) * rx, np.sin(angle) * (rx if ry is None else ry)]) * reach[:, None]
    c, s = np.cos(turn * 2 * np.pi), np.sin(turn * 2 * np.pi)
    return np.asarray(local @ np.array([[c, s], [-s, c]]) + (x, y))


class Easel:
    """A picture being painted: planar float pixels in 0..1, a palette, a light, and where its subject stands."""

    def __init__(self, rng: np.random.Generator, aspect: float, height_px: int) -> None:
        self.rng, self.aspect = rng, aspect
        self.h, self.w = height_px, round(aspect * height_px)
        self.y = ((np.arange(self.h, dtype=np.float32) + 0.5) / self.h)[:, None]
        self.x = ((np.arange(self.w, dtype=np.float32) + 0.5) / self.w * aspect)[None]
        self.pixels = np.zeros((3, self.h, self.w), np.float32)
        hue, apart = rng.random(), rng.choice([0.08, 0.33, 0.42, 0.5, 0.58, 0.67])
        self.scene = ramp(hue, rng.uniform(0.35, 0.9))
        self.coat = ramp(hue + apart, rng.uniform(0.45, 1.0))
        self.trim = ramp(hue + apart + rng.choice([-0.3, -0.12, 0.12, 0.5]), rng.uniform(0.3, 0.9))
        self.shine = hsv(rng.choice([0.1, 0.14, hue, hue + 0.5]), rng.uniform(0.1, 0.5), 1.0)
        angle = rng.uniform(-2.6, -0.6)
        self.light = np.array([np.cos(angle) * 0.7, np.sin(angle) * 0.7, 0.62])
        self.ink, self.gloss = rng.choice([0.0, 0.0, 0.7, 1.0]), rng.uniform(0.1, 0.8)
        self.grain = self.noise(rng.uniform(9, 26), 2)
        small = 0.82 * min(1.0, aspect)
        self.size = small * rng.uniform(0.9, 1.15)
        self.at: tuple[float, float] = (aspect * rng.uniform(0.42, 0.58), rng.uniform(0.5, 0.56))

    def pick(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def noise(self, cells: float, octaves: int = 4) -> Field:
        """(h, w) fractal noise of about 0..1; `cells` is the number of its coarsest waves over the height."""
        total = np.zeros((self.h, self.w), np.float32)
        for octave in range(octaves):
            rows = int(np.ceil(cells * 2**octave)) + 1
            grid = self.rng.random((rows, int(np.ceil(rows * self.aspect)) + 1), dtype=np.float32) - 0.5
            total += cv2.resize(grid, (self.w, self.h), interpolation=cv2.INTER_CUBIC) * 0.55**octave
        return np.asarray(np.clip(total * 0.8 + 0.5, 0, 1), np.float32)

    def curve(self, waves: float, octaves: int = 5) -> Field:
        """(1, w) fractal noise along x, about -1..1."""
        total = np.zeros((1, self.w), np.float32)
        for octave in range(octaves):
            knots = self.rng.uniform(-1, 1, (1, int(waves * 2**octave * max(self.aspect, 1)) + 2)).astype(np.float32)
            total += (
                cv2.resize(knots, (self.w, 1), interpolation=cv2.INTER_LINEAR if octave else cv2.INTER_CUBIC)
                * 0.5**octave
            )
        return total

    def tint(self, field: Real, colours: Field) -> Field:
        """(3, h, w): a field of 0..1 through a ramp of colours."""
        stops = np.linspace(0, 1, len(colours))
        table = np.stack([np.interp(np.linspace(0, 1, 256), stops, colours[:, c]) for c in range(3)]).astype(np.float32)
        index = cv2.convertScaleAbs(np.maximum(field, 0).astype(np.float32, copy=False), alpha=255)  # saturates
        return np.stack([cv2.LUT(index, row) for row in table])

    def lay(self, mask: Mask | Real, colour: Field, opacity: float = 1.0) -> None:
        """Blend a colour, (3,) or (3, h, w), where the mask is: uint8 to 255, or float to 1."""
        left, top, width, height = (0, 0, self.w, self.h)
        if mask.dtype == np.uint8:
            left, top, width, height = cv2.boundingRect(mask)
            opacity /= 255
        else:
            rows = np.flatnonzero(mask.max(1) > 0)
            top, height = (int(rows[0]), int(rows[-1] - rows[0]) + 1) if len(rows) else (0, 0)
        window = np.s_[top : top + height, left : left + width]
        area = self.pixels[:, *window]
        area += (mask[window] * np.float32(opacity)) * (
            (colour[:, *window] if colour.ndim == 3 else colour[:, None, None]) - area
        )

    def add(self, field: Real, colour: Field) -> None:
        """Light on top of what is there, without clipping to flat white."""
        self.pixels += (
            np.clip(field, 0, 1).astype(np.float32, copy=False)
            * colour[:, None, None]
            * (1.05 - np.clip(self.pixels, 0, 1))
        )

    def glow(self, x: float, y: float, radius: float, power: float = 2.0) -> Field:
        return np.asarray((1 + ((self.x - x) ** 2 + (self.y - y) ** 2) / radius**2) ** -power, np.float32)

    def mask(self, *shapes: Points, stroke: float = 0.0) -> Mask:
        """The shapes filled (each its own, so that they may overlap) or drawn as open lines, in picture units."""
        mask = np.zeros((self.h, self.w), np.uint8)
        for shape in shapes:
            points = np.round(shape * self.h * 16).astype(np.int32)
            if stroke:
                cv2.polylines(mask, [points], False, 255, max(1, round(stroke * self.h)), cv2.LINE_AA, 4)
            else:
                cv2.fillPoly(mask, [points], 255, cv2.LINE_AA, 4)
        return mask

    def place(self, shape: Points) -> Points:
        """From the subject's units (about -0.5..0.5 around it) to the picture's."""
        return np.asarray(shape * self.size + self.at)

    def part(self, colour: Field, *shapes: Points, bulge: float = 0.07, texture: float = 0.25) -> None:
        """A solid part of the subject: a silhouette puffed up by its distance transform, then lit."""
        outlines = [self.place(shape) for shape in shapes]
        mask = self.mask(*outlines)
        left, top, width, height = cv2.boundingRect(mask)
        if width < 2 or height < 2:
            return
        if self.ink:
            self.lay(self.mask(*[np.vstack([o, o[:1]]) for o in outlines], stroke=0.012), self.coat[0] * 0.5, self.ink)
        window = np.s_[top : top + height, left : left + width]
        deep = bulge * self.size * self.h
        # The distance is the largest float where no pixel of the window is empty: bounded first, it can't overflow.
        rise = np.minimum(cv2.distanceTransform(mask[window], cv2.DIST_L2, 3), deep) / deep
        rise = (
            cv2.GaussianBlur(np.sqrt(rise * (2 - rise)), (0, 0), max(deep * 0.16, 0.6))
            + texture * 0.5 * self.grain[window]
        )
        gx, gy = (cv2.Sobel(rise, cv2.CV_32F, *axis, ksize=3) * (deep / 8) for axis in ((1, 0), (0, 1)))
        length = np.sqrt(gx * gx + gy * gy + 0.35)
        facing = (-gx * self.light[0] - gy * self.light[1] + 0.6 * self.light[2]) / length
        dull = 0.3 + 0.85 * np.clip(facing, 0, 1) - 0.3 * np.clip(-facing, 0, 1) + 0.2 * (self.grain[window] - 0.5)
        lit = colour[:, None, None] * dull + self.shine[:, None, None] * (self.gloss * np.clip(facing, 0, 1) ** 14)
        lit += self.scene[4][:, None, None] * (0.35 * np.clip(-facing, 0, 1) ** 2)
        area = self.pixels[:, *window]
        area += mask[window].astype(np.float32) / 255 * (lit - area)

    def halo(self, x: float, y: float, radius: float) -> None:
        """Light behind or on a part of the subject, in its units."""
        px, py = self.place(np.array((x, y)))
        self.add(self.glow(px, py, radius * self.size * 0.6) * 0.7, self.shine)

    def eye(self, x: float, y: float, radius: float) -> None:
        for colour, scale in (
            (self.coat[0] * 0.4, 1.35),
            (self.shine, 1.0),
            (self.trim[3], 0.72),
            (self.coat[0] * 0.2, 0.4),
        ):
            self.lay(
                self.mask(self.place(ngon(x, y, radius * scale, radius * scale * (1.0 if scale != 0.4 else 1.5)))),
                colour,
            )
        self.lay(self.mask(self.place(ngon(x - radius * 0.3, y - radius * 0.3, radius * 0.22))), np.ones(3, np.float32))
