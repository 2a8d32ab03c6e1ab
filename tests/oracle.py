"""NumPy twins of the native modules: the same numbers, bit for bit, from short and slow code."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Bytes = NDArray[np.uint8]

# --- cardrec._search


def quantise(vectors: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Codes and scales; the errors are an upper bound, not a number to reproduce."""
    scales = (np.abs(vectors).max(axis=1, initial=0.0) / np.float32(127)).astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = vectors.astype(np.float64) / scales.astype(np.float64)[:, None]
    ratios = np.clip(np.where(scales[:, None] > 0, ratios, 0.0), -127.0, 127.0)
    return np.trunc(ratios + np.copysign(0.5, ratios)).astype(np.int8), scales


def scores(vectors: NDArray[np.float32] | NDArray[np.float16], query: NDArray[np.float32]) -> Doubles:
    """Inner products in double: element i goes to partial sum i % 8, and the eight are added as a tree."""
    padding = -vectors.shape[1] % 8
    products = np.pad(vectors.astype(np.float64) * query.astype(np.float64), ((0, 0), (0, padding)))
    partial = np.zeros((len(vectors), 8))
    for start in range(0, products.shape[1], 8):
        partial += products[:, start : start + 8]
    partial = partial[:, :4] + partial[:, 4:]
    partial = partial[:, :2] + partial[:, 2:]
    return np.asarray(partial[:, 0] + partial[:, 1])


def unit(query: NDArray[np.float32]) -> NDArray[np.float32]:
    """The query scaled to length 1, as float32."""
    return np.asarray(query.astype(np.float64) * (1.0 / np.sqrt(scores(query[None], query)[0])), np.float32)


def top_k(
    vectors: NDArray[np.float32] | NDArray[np.float16],
    query: NDArray[np.float32],
    k: int,
    mask: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The best k allowed rows, best first, equal scores by the lower row."""
    rows = np.arange(len(vectors)) if mask is None else np.flatnonzero(mask)
    found = scores(vectors[rows], unit(query))
    order = np.lexsort((rows, -found))[:k]
    return rows[order].astype(np.int64), found[order].astype(np.float32)


# --- cardrec._image

SPACING, ONE_SAMPLE, MOST, TILE, UNIT = 1.7, 1.25, 16, 16, 2.0**-16


def to_rgb(frame: Bytes, swap_rb: bool) -> Bytes:
    """(height, width, 1 | 3 | 4) to (height, width, 3) RGB."""
    planes = [0, 0, 0] if frame.shape[2] == 1 else [2, 1, 0] if swap_rb else [0, 1, 2]
    return frame[:, :, planes]


def homography(quad: NDArray[np.float32]) -> tuple[float, ...]:
    """Heckbert's a..h of the map from the unit square to the quad."""
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = quad.astype(np.float64).tolist()
    dx1, dy1, dx2, dy2 = x1 - x2, y1 - y2, x3 - x2, y3 - y2
    sum_x, sum_y = (x0 - x1) + (x2 - x3), (y0 - y1) + (y2 - y3)
    determinant = dx1 * dy2 - dx2 * dy1
    g, h = (sum_x * dy2 - dx2 * sum_y) / determinant, (dx1 * sum_y - sum_x * dy1) / determinant
    return (x1 - x0) + g * x1, (x3 - x0) + h * x3, x0, (y1 - y0) + g * y1, (y3 - y0) + h * y3, y0, g, h


def _fixed(value: float) -> int:
    return round(value / UNIT)  # to even, as a processor rounds


def _count(x: float, y: float) -> int:
    squared = x * x + y * y
    if squared <= ONE_SAMPLE * ONE_SAMPLE:
        return 1
    return next((n for n in range(2, MOST) if squared <= (n * SPACING) * (n * SPACING)), MOST)


def _pattern(quad_map: tuple[float, ...], u: float, v: float, pixel: float) -> list[tuple[int, int]]:
    """Offsets of the samples of the pixels about (u, v), in units of 2^-16 frame pixels."""
    a, b, c, d, e, f, g, h = quad_map
    inverse = 1.0 / (g * u + h * v + 1.0)
    x, y = (a * u + b * v + c) * inverse, (d * u + e * v + f) * inverse
    scale = inverse * pixel
    ux, uy, vx, vy = (a - g * x) * scale, (d - g * y) * scale, (b - h * x) * scale, (e - h * y) * scale
    nx, ny = _count(ux, uy), _count(vx, vy)
    per_x, per_y = 1.0 / nx, 1.0 / ny
    both = per_x * per_y
    first_u, first_v = 0.5 * both - 0.5, per_y - 0.5 * both - 0.5
    start = _fixed(first_u * ux + first_v * vx), _fixed(first_u * uy + first_v * vy)
    step = _fixed(ux * per_x - vx * both), _fixed(uy * per_x - vy * both)
    line = _fixed(vx * per_y + ux * both), _fixed(vy * per_y + uy * both)
    grid = [(i, j) for j in range(ny) for i in range(nx)]
    return [(start[0] + i * step[0] + j * line[0], start[1] + i * step[1] + j * line[1]) for i, j in grid]


def _sample(rgb: Bytes, x: NDArray[np.int64], y: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Bilinear samples at positions in 2^-16 pixels (pixel centres at integers), times 4^bits."""
    height, width = rgb.shape[:2]
    half, one = 1 << (15 - bits), 1 << bits
    x, y = x + half, y + half
    fx, fy = ((x >> (16 - bits)) % one)[:, None], ((y >> (16 - bits)) % one)[:, None]
    left, right = np.clip(x >> 16, 0, width - 1), np.clip((x >> 16) + 1, 0, width - 1)
    upper, lower = np.clip(y >> 16, 0, height - 1), np.clip((y >> 16) + 1, 0, height - 1)
    wide = rgb.astype(np.int64)
    top = (one - fx) * wide[upper, left] + fx * wide[upper, right]
    bottom = (one - fx) * wide[lower, left] + fx * wide[lower, right]
    return np.asarray((one - fy) * top + fy * bottom)


def rectify(frame: Bytes, swap_rb: bool, quad: NDArray[np.float32], side: int) -> Bytes:
    """One quad, stretched to a square."""
    rgb, quad_map, pixel = to_rgb(frame, swap_rb), homography(quad), 1.0 / side
    a, b, c, d, e, f, g, h = quad_map
    out = np.empty((side, side, 3), dtype=np.uint8)
    for row in range(side):
        v = (row + 0.5) * pixel
        for first in range(0, side, TILE):
            last = min(side, first + TILE)
            u = (np.arange(first, last) + 0.5) * pixel
            inverse = 1.0 / (g * u + (h * v + 1.0))
            x = np.rint(((a * u + (b * v + c)) * inverse - 0.5) / UNIT).astype(np.int64)
            y = np.rint(((d * u + (e * v + f)) * inverse - 0.5) / UNIT).astype(np.int64)
            pattern = _pattern(quad_map, 0.5 * (first + last) * pixel, v, pixel)
            bits = 4 if len(pattern) == 1 else 3
            total = np.sum([_sample(rgb, x + dx, y + dy, bits) for dx, dy in pattern], axis=0)
            reciprocal = np.float32(1) / np.float32(len(pattern) << (2 * bits))
            out[row, first:last] = (total.astype(np.float32) * reciprocal + np.float32(0.5)).astype(np.int32)
    return out


def supersampled(frame: Bytes, swap_rb: bool, quad: NDArray[np.float32], side: int, samples: int = 8) -> Doubles:
    """What rectify approximates: samples x samples exact bilinear samples per output pixel, in double."""
    rgb, (a, b, c, d, e, f, g, h) = to_rgb(frame, swap_rb).astype(np.float64), homography(quad)
    grid = (np.arange(side * samples) + 0.5) / (side * samples)
    u, v = np.meshgrid(grid, grid)
    w = g * u + h * v + 1.0
    x, y = (a * u + b * v + c) / w - 0.5, (d * u + e * v + f) / w - 0.5
    ix, iy = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = (x - ix)[..., None], (y - iy)[..., None]
    columns, lines = np.clip([ix, ix + 1], 0, rgb.shape[1] - 1), np.clip([iy, iy + 1], 0, rgb.shape[0] - 1)
    upper = rgb[lines[0], columns[0]] * (1 - fx) + rgb[lines[0], columns[1]] * fx
    lower = rgb[lines[1], columns[0]] * (1 - fx) + rgb[lines[1], columns[1]] * fx
    mean = (upper * (1 - fy) + lower * fy).reshape(side, samples, side, samples, 3).mean(axis=(1, 3))
    return np.asarray(mean)


def _axis(size: int, outputs: int) -> list[tuple[int, list[int]]]:
    """For each output: the first source pixel and the weights, in 2^-16."""

    def ramp(t: float) -> float:
        return t if t <= 0.0 else t - 0.5 * t * t if t < 1.0 else 0.5

    axis = []
    for i in range(outputs):
        begin, end = float(i) * float(size) / float(outputs), float(i + 1) * float(size) / float(outputs)
        first, last = (int(np.clip(p, 0, size - 1)) for p in (np.floor(begin - 0.5), np.ceil(end - 0.5)))
        totals = [0]
        for pixel in range(first, last + 1):
            centre = pixel + 0.5
            running = 1.0 if pixel == last else (ramp(end - centre) - ramp(begin - centre)) / (end - begin)
            totals.append(int(65536.0 * running + 0.5))
        axis.append((first, [min(weight, 65535) for weight in np.diff(totals).tolist()]))
    return axis


def resize(frame: Bytes, swap_rb: bool, height: int, width: int) -> Bytes:
    """The whole frame, averaged over each output pixel's footprint."""
    rgb = to_rgb(frame, swap_rb).astype(np.int64)
    out = np.empty((height, width, 3), dtype=np.uint8)
    columns = _axis(rgb.shape[1], width)
    for v, (top, line_weights) in enumerate(_axis(rgb.shape[0], height)):
        start = min(len(line_weights) // 2, 127)
        lines = sum(((rgb[top + j] << 8) * weight) >> 16 for j, weight in enumerate(line_weights)) + start
        for u, (left, weights) in enumerate(columns):
            total = sum(lines[left + j] * weight for j, weight in enumerate(weights))
            out[v, u] = (total + (1 << 23)) >> 24
    return out


def yuv_to_rgb(luma: Bytes, u: Bytes, v: Bytes) -> Bytes:
    """BT.601, limited range, of three equally large planes; coefficients times 2^13."""
    y = 9539 * np.maximum(luma.astype(np.int32) - 16, 0) + 4096
    blue, red = u.astype(np.int32) - 128, v.astype(np.int32) - 128
    sums = np.stack([y + 13075 * red, y - 6660 * red - 3209 * blue, y + 16525 * blue], axis=-1)
    return np.asarray(np.clip(sums >> 13, 0, 255), np.uint8)


def rectify_yuv(luma: Bytes, u: Bytes, v: Bytes, quad: NDArray[np.float32], side: int) -> Bytes:
    """Each plane as a grey picture, chroma with the quad of half the size, then converted."""
    quads = quad, quad * np.float32(0.5), quad * np.float32(0.5)
    planes = [rectify(p[:, :, None], False, q, side)[..., 0] for p, q in zip((luma, u, v), quads, strict=True)]
    return yuv_to_rgb(*planes)


def resize_yuv(luma: Bytes, u: Bytes, v: Bytes, height: int, width: int) -> Bytes:
    """Each plane as a grey picture, then converted."""
    return yuv_to_rgb(*(resize(plane[:, :, None], False, height, width)[..., 0] for plane in (luma, u, v)))


def psnr(image: Bytes, reference: Doubles) -> float:
    """Peak signal-to-noise ratio in decibels."""
    error = max(float(np.mean((image.astype(np.float64) - reference) ** 2)), 1e-12)
    return float(10.0 * np.log10(255.0**2 / error))
