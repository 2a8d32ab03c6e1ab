"""The `photo` augmentation for whole batches in torch, on a GPU: workers only scale cards, which is not what limits.

The same effects as `training/augment.py`, with the same ranges and chances, in the same order; not the same numbers.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from training.augment import outline_error
from training.settings import Phase, between

__all__ = ["OVERSIZE", "photo_batch", "samples"]

OVERSIZE = 1.2
"""Side of the squares that cards are given as, relative to what comes of them: what a warp then samples from."""


class _Dice:
    """Draws for each picture of a batch, of one generator on its device."""

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self.count, self.generator, self.device = count, generator, generator.device

    def even(self, low: float, high: float, *shape: int) -> Tensor:
        """(n, *shape) evenly between two values."""
        return low + (high - low) * torch.rand(self.count, *shape, generator=self.generator, device=self.device)

    def normal(self, deviation: float, *shape: int) -> Tensor:
        """(n, *shape) about 0."""
        return deviation * torch.randn(self.count, *shape, generator=self.generator, device=self.device)

    def happens(self, chance: float) -> Tensor:
        """(n, 1, 1, 1) bool."""
        return self.even(0, 1, 1, 1, 1) < chance


def samples(cards: Tensor, phase: Phase, progress: float, generator: torch.Generator) -> Tensor:
    """What a phase shows of a batch of cards (n, H, W, 3) uint8, photos and catalog pictures: (n, size, size, 3) uint8.

    Args:
        cards: whole faces, on the generator's device.
        phase: with `photo` augmentation.
        progress: 0..1 of the way through the phase.
        generator: the only source of chance.
    """
    photos = photo_batch(cards, phase.size, generator, between(phase.strength, progress))
    dice = _Dice(len(cards), generator)
    planes = cards.permute(0, 3, 1, 2).float()
    small = F.interpolate(planes, (phase.size, phase.size), mode="bilinear", antialias=True, align_corners=False)
    clean = _tone(small, dice, 0.15).round().byte().permute(0, 2, 3, 1)
    return torch.where(dice.happens(phase.clean_share), clean, photos)


def photo_batch(cards: Tensor, size: int, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Cards as cut out of photographs, (n, size, size, 3) uint8 RGB.

    Args:
        cards: (n, H, W, 3) uint8 RGB, whole faces, on the generator's device; best a little larger than ``size``.
        size: side of the results in pixels.
        generator: the only source of chance.
        strength: 0..1, scales how often and how much.
    """
    dice = _Dice(len(cards), generator)
    planes = cards.permute(0, 3, 1, 2).float()
    crop = _on_table(planes, size, dice, strength)
    crop = torch.where(dice.happens(0.12 * strength), _finger(crop, dice), crop)
    crop = torch.where(dice.happens(0.5 * strength), _lower_resolution(crop, dice), crop)
    crop = torch.where(dice.happens(0.5 * strength), _blur(crop, dice), crop)
    crop = _tone(crop, dice, strength)
    lit = crop
    lit = torch.where(dice.happens(0.2), lit + _sheen(size, dice), lit)
    lit = torch.where(dice.happens(0.3), _haze(lit, dice), lit)
    lit = lit * _light_field(size, dice)
    lit = torch.where(dice.happens(0.4), lit + _glare(size, dice), lit)
    lit = torch.where(dice.happens(0.25), lit + _blotches(size, dice), lit)
    lit = torch.where(dice.happens(0.6), lit + _noise(size, dice), lit)
    crop = torch.where(dice.happens(0.85 * strength), lit.clamp(0, 255), crop)
    crop = torch.where(dice.happens(0.35 * strength), _jpeg(crop, dice), crop)
    return crop.clamp(0, 255).round().byte().permute(0, 2, 3, 1).contiguous()


def _on_table(cards: Tensor, size: int, dice: _Dice, strength: float) -> Tensor:
    """Cards with their outlines off, on a ground that shows at the rim."""
    rng = np.random.default_rng(int(torch.randint(2**31, (), generator=dice.generator, device=dice.device)))
    off = torch.from_numpy(np.stack([outline_error(rng, strength) for _ in range(dice.count)])).to(dice.device)
    square = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]], device=dice.device)
    matrices = _homographies(square + off, square.expand_as(off))
    places = (torch.arange(size, device=dice.device) + 0.5) / size
    y, x = torch.meshgrid(places, places, indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)], dim=-1).reshape(1, -1, 3) @ matrices.mT
    where = (points[..., :2] / points[..., 2:]).reshape(dice.count, size, size, 2)
    shown = F.grid_sample(cards, where * 2 - 1, mode="bilinear", padding_mode="border", align_corners=False)
    inside = ((where >= 0) & (where <= 1)).all(dim=-1)[:, None]
    base = dice.even(10, 245, 3, 1, 1) * 0.4 + dice.even(0, 150, 1, 1, 1)
    ground = base + _grown(dice.normal(12, 3, 6, 6), size)
    return torch.where(inside, shown, ground.clamp(0, 255))


def _homographies(source: Tensor, target: Tensor) -> Tensor:
    """The projective maps (n, 3, 3) of four points (n, 4, 2) to four others."""
    x, y, u, v = source[..., 0], source[..., 1], target[..., 0], target[..., 1]
    one, none = torch.ones_like(x), torch.zeros_like(x)
    across = torch.stack([x, y, one, none, none, none, -u * x, -u * y], dim=-1)
    down = torch.stack([none, none, none, x, y, one, -v * x, -v * y], dim=-1)
    eight = torch.linalg.solve(torch.cat([across, down], dim=1), torch.cat([u, v], dim=1))
    return torch.cat([eight, torch.ones_like(eight[:, :1])], dim=1).reshape(-1, 3, 3)


def _grown(coarse: Tensor, size: int) -> Tensor:
    return F.interpolate(coarse, (size, size), mode="bicubic", align_corners=False)


def _axes(size: int, dice: _Dice) -> tuple[Tensor, Tensor]:
    """Coordinates 0..1 of the pixels, (1, 1, 1, size) across and (1, 1, size, 1) down."""
    places = torch.arange(size, device=dice.device) / size
    return places.view(1, 1, 1, -1), places.view(1, 1, -1, 1)


def _finger(picture: Tensor, dice: _Dice) -> Tensor:
    """A skin-coloured bar with a round tip that reaches in over one edge."""
    x, y = _axes(picture.shape[-1], dice)
    inward, along, slant = dice.even(0.05, 0.22, 1, 1, 1), dice.even(0, 1, 1, 1, 1), dice.normal(0.7, 1, 1, 1)
    edge = torch.randint(4, (dice.count, 1, 1, 1), generator=dice.generator, device=dice.device)
    depth = torch.where(edge < 2, torch.where(edge == 0, y, 1 - y), torch.where(edge == 2, x, 1 - x))
    side = torch.where(edge < 2, x, y)
    below = (depth - inward).clamp(min=0)
    aside = side - along - slant * (inward - depth).clamp(min=0)
    mask = (below.square() + aside.square()).sqrt() < dice.even(0.04, 0.1, 1, 1, 1)
    skin = torch.tensor([224.0, 172, 140], device=dice.device).view(1, 3, 1, 1)
    colour = skin * dice.even(0.3, 1.1, 1, 1, 1) + dice.normal(8, 3, 1, 1)
    return torch.where(mask, colour.clamp(0, 255), picture)


def _lower_resolution(picture: Tensor, dice: _Dice) -> Tensor:
    """As if the card had covered fewer camera pixels; the batch is done in four lots, each at one resolution."""
    size = picture.shape[-1]
    done = []
    for lot in picture.chunk(4):
        share = float(torch.rand((), generator=dice.generator, device=dice.device))
        small = int(size * (0.3 + 0.6 * share))
        shrunk = F.interpolate(lot, (small, small), mode="bilinear", antialias=True, align_corners=False)
        done.append(F.interpolate(shrunk, (size, size), mode="bilinear", align_corners=False))
    return torch.cat(done)


def _blur(picture: Tensor, dice: _Dice) -> Tensor:
    """Defocus (Gaussian) or motion along a line, one kernel a picture."""
    count, channels, size, _ = picture.shape
    reach = max(2, math.ceil(0.033 * size))
    steps = torch.arange(-reach, reach + 1, device=dice.device).float()
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    sigma = 0.3 + (0.011 * size - 0.3) * dice.even(0, 1, 1, 1)
    round_ = torch.exp(-(x.square() + y.square()) / (2 * sigma.square()))
    angle, half = dice.even(0, math.pi, 1, 1), dice.even(1.0, max(1.5, 0.0175 * size), 1, 1)
    along, aside = x * torch.cos(angle) + y * torch.sin(angle), y * torch.cos(angle) - x * torch.sin(angle)
    line = (half + 0.5 - along.abs()).clamp(0, 1) * (1 - aside.abs()).clamp(min=0)
    kernel = torch.where(dice.happens(0.6)[:, 0], round_, line)
    kernel = kernel / kernel.sum(dim=(1, 2), keepdim=True)
    padded = F.pad(picture, (reach,) * 4, mode="reflect").reshape(1, count * channels, *(size + 2 * reach,) * 2)
    filters = kernel.repeat_interleave(channels, dim=0)[:, None]
    return F.conv2d(padded, filters, groups=count * channels).reshape(picture.shape)


def _tone(picture: Tensor, dice: _Dice, strength: float) -> Tensor:
    """Exposure, contrast, gamma, white balance and saturation."""
    one = (1, 1, 1)
    gain = torch.exp(dice.normal(0.35 * strength, *one) - 0.05 + dice.normal(0.08 * strength, 3, 1, 1))
    curve = (picture / 255 * gain).clamp(0, 1) ** torch.exp(dice.normal(0.2 * strength, *one))
    curve = 0.5 + (curve - 0.5) * (1 - dice.even(0, 0.4 * strength, *one)) + dice.normal(0.06 * strength, *one)
    toned = curve.clamp(0, 1) * 255
    luma = torch.tensor([0.299, 0.587, 0.114], device=dice.device).view(1, 3, 1, 1)
    grey = (toned * luma).sum(dim=1, keepdim=True)
    saturation = (1 + dice.normal(0.25 * strength, *one)).clamp(0.1, 1.6)
    return (grey + (toned - grey) * saturation).clamp(0, 255)


def _light_field(size: int, dice: _Dice) -> Tensor:
    """Uneven light, sometimes with the edge of a shadow: a factor (n, 1, size, size) around 1."""
    field = _grown(torch.exp(dice.normal(0.22, 1, 3, 3)), size)
    x, y = _axes(size, dice)
    angle, offset, width = (
        dice.even(0, 2 * math.pi, 1, 1, 1),
        dice.even(-0.4, 0.4, 1, 1, 1),
        dice.even(0.01, 0.15, 1, 1, 1),
    )
    side = ((x - 0.5) * torch.cos(angle) + (y - 0.5) * torch.sin(angle) - offset) / width
    shadowed = field * (1 - dice.even(0.2, 0.6, 1, 1, 1) * torch.sigmoid(side))
    return torch.where(dice.happens(0.25), shadowed, field)


def _glare(size: int, dice: _Dice) -> Tensor:
    """Reflections to add: one to three soft ellipses or bands, (n, 1, size, size)."""
    x, y = _axes(size, dice)
    total = torch.zeros(dice.count, 1, size, size, device=dice.device)
    for chance in (1.0, 2 / 3, 1 / 3):
        across, down, angle = (
            dice.even(-0.1, 1.1, 1, 1, 1),
            dice.even(-0.1, 1.1, 1, 1, 1),
            dice.even(0, math.pi, 1, 1, 1),
        )
        u = (x - across) * torch.cos(angle) + (y - down) * torch.sin(angle)
        v = (y - down) * torch.cos(angle) - (x - across) * torch.sin(angle)
        long, short = dice.even(0.1, 0.8, 1, 1, 1), dice.even(0.03, 0.16, 1, 1, 1)
        spot = dice.even(40, 260, 1, 1, 1) * torch.exp(-(u / long).square() - (v / short).square())
        total = total + torch.where(dice.happens(chance), spot, torch.zeros_like(spot))
    return total


def _haze(picture: Tensor, dice: _Dice) -> Tensor:
    """The veil that a sleeve lays over the card."""
    share = dice.even(0.02, 0.4, 1, 1, 1)
    return picture * (1 - share) + share * dice.even(150, 255, 1, 1, 1)


def _sheen(size: int, dice: _Dice) -> Tensor:
    """The rainbow bands of a holographic card, to add: (n, 3, size, size)."""
    x, y = _axes(size, dice)
    angle, first = dice.even(0, 2 * math.pi, 1, 1, 1), dice.even(0, 2 * math.pi, 1, 1, 1)
    phase = (x * torch.cos(angle) + y * torch.sin(angle)) * dice.even(1, 6, 1, 1, 1) * 2 * math.pi
    thirds = torch.tensor([0.0, 2.1, 4.2], device=dice.device).view(1, 3, 1, 1) + first
    bright = torch.exp(-(torch.sin(phase * 0.35 + first) / dice.even(0.3, 1.0, 1, 1, 1)).square())
    return (0.5 + 0.5 * torch.cos(phase + thirds)) * bright * dice.even(15, 110, 1, 1, 1)


def _blotches(size: int, dice: _Dice) -> Tensor:
    """The coarse colour noise of a sensor in low light, to add: (n, 3, size, size)."""
    coarse = dice.normal(1, 3, size // 5, size // 5) * dice.even(1, 14, 1, 1, 1)
    return F.interpolate(coarse, (size, size), mode="bilinear", align_corners=False)


def _noise(size: int, dice: _Dice) -> Tensor:
    """Sensor noise of up to 14 levels standard deviation, to add: (n, 3, size, size)."""
    return dice.normal(1, 3, size, size) * dice.even(0.5, 3, 1, 1, 1) ** 2.4


_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
"""Steps of the brightness at quality 50: ITU-T T.81, table K.1. Used for the colours, too, at half the resolution."""


def _jpeg(picture: Tensor, dice: _Dice) -> Tensor:
    """What JPEG loses at quality 30 to 95: coefficients of 8x8 blocks, rounded to steps."""
    quality = dice.even(30, 95, 1, 1, 1)
    scale = torch.where(quality < 50, 50 / quality, 2 - quality / 50)
    steps = (torch.tensor(_LUMA, device=dice.device).float() * scale).clamp(min=1)
    red, green, blue = picture.unbind(1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    colours = F.avg_pool2d(torch.stack([(blue - luma) / 1.772, (red - luma) / 1.402], dim=1), 2, ceil_mode=True)
    luma = _rounded(luma[:, None] - 128, steps)[:, 0] + 128
    colours = F.interpolate(_rounded(colours, steps), picture.shape[-2:], mode="bilinear", align_corners=False)
    blueness, redness = colours.unbind(1)
    green = luma - 0.344136 * blueness - 0.714136 * redness
    return torch.stack([luma + 1.402 * redness, green, luma + 1.772 * blueness], dim=1).clamp(0, 255)


def _rounded(planes: Tensor, steps: Tensor) -> Tensor:
    """Planes (n, c, h, w) after the transform of their 8x8 blocks, rounding to steps (n, 1, 8, 8), and back."""
    count, channels, height, width = planes.shape
    padded = F.pad(planes, (0, -width % 8, 0, -height % 8), mode="replicate")
    tall, wide = padded.shape[-2] // 8, padded.shape[-1] // 8
    blocks = padded.reshape(count, channels, tall, 8, wide, 8).permute(0, 1, 2, 4, 3, 5)
    place = torch.arange(8, device=planes.device)
    cosines = torch.cos((2 * place + 1) * place[:, None] * math.pi / 16) / 2
    cosines[0] /= math.sqrt(2)
    step = steps[:, :, None, None]
    kept = ((cosines @ blocks @ cosines.T) / step).round() * step
    back = (cosines.T @ kept @ cosines).permute(0, 1, 2, 4, 3, 5).reshape(count, channels, tall * 8, wide * 8)
    return back[..., :height, :width]
