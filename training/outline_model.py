"""The detector's two networks: one finds outlines in a small copy of the frame, one looks at each of them again.

Convolutions, additions, ReLU, one doubling of size by repetition and linear layers: operations that Hailo's compiler
and every CPU runtime know. `cardrec/outlines.py` and `cardrec/corners.py` say what the channels mean, and decode them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cardrec.corners import CHANNELS as CORNER_CHANNELS
from cardrec.outlines import CHANNELS


class Block(nn.Module):
    """A residual block: one kernel over each channel, then two 1 x 1 with twice the channels between them."""

    def __init__(self, channels: int, kernel: tuple[int, int] = (5, 5)) -> None:
        super().__init__()
        around = kernel[0] // 2, kernel[1] // 2
        self.spread = nn.Sequential(
            nn.Conv2d(channels, channels, kernel, padding=around, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.mix = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, 1, bias=False),
            nn.BatchNorm2d(2 * channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(2 * channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        nn.init.zeros_(self.mix[4].weight)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.mix(self.spread(x)))


def step(inputs: int, outputs: int, *, kernel: int = 3, stride: int | tuple[int, int] = 2) -> nn.Sequential:
    """A convolution with its normalisation and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class OutlineNet(nn.Module):
    """uint8 (n, H, W, 3), sides multiples of 16, to float32 (n, CHANNELS, H / 8, W / 8)."""

    def __init__(self, widths: tuple[int, int, int, int] = (16, 32, 48, 96), blocks: tuple[int, int, int] = (1, 5, 1)):
        super().__init__()
        first, second, third, fourth = widths
        self.fine = nn.Sequential(
            step(3, first), step(first, second), step(second, third), *[Block(third) for _ in range(blocks[0])]
        )
        self.coarse = nn.Sequential(step(third, fourth), *[Block(fourth) for _ in range(blocks[1])])
        self.up = nn.Sequential(
            nn.Conv2d(fourth, third, 1, bias=False), nn.BatchNorm2d(third), nn.Upsample(scale_factor=2)
        )
        self.joint = nn.Sequential(*[Block(third) for _ in range(blocks[2])])
        self.head = nn.Sequential(step(third, third, kernel=1, stride=1), nn.Conv2d(third, CHANNELS, 1))
        nn.init.constant_(self.head[1].bias[:1], -3.0)

    def forward(self, frames: Tensor) -> Tensor:
        x = frames.permute(0, 3, 1, 2).to(self.head[1].weight.dtype) * (1 / 64) - 2.0
        fine = self.fine(x)
        return self.head(self.joint(fine + self.up(self.coarse(fine))))


class CornerNet(nn.Module):
    """uint8 crops (n, 80, 80, 3) to float32 (n, 13): what `cardrec/corners.py` decodes."""

    def __init__(self, widths: tuple[int, int, int, int] = (16, 32, 48, 64)) -> None:
        super().__init__()
        first, second, third, fourth = widths
        self.features = nn.Sequential(
            step(3, first),
            step(first, second),
            Block(second, kernel=(3, 3)),
            step(second, third),
            Block(third),
            Block(third),
            step(third, fourth),
            Block(fourth, kernel=(3, 3)),
        )
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(25 * fourth, 96), nn.ReLU(inplace=True), nn.Linear(96, CORNER_CHANNELS)
        )

    def forward(self, crops: Tensor) -> Tensor:
        x = crops.permute(0, 3, 1, 2).to(self.head[1].weight.dtype) * (1 / 64) - 2.0
        return self.head(self.features(x))


class SideNet(nn.Module):
    """uint8 strips (n, 16, 32, 3) to float32 (n, 8, 32): what `cardrec/sides.py` decodes."""

    def __init__(self, widths: tuple[int, int, int] = (16, 32, 32)) -> None:
        super().__init__()
        first, second, third = widths
        self.features = nn.Sequential(
            step(3, first, stride=1),
            step(first, second, stride=(2, 1)),
            Block(second, kernel=(3, 7)),
            Block(third, kernel=(3, 9)),
            Block(third, kernel=(5, 9)),
            nn.Conv2d(third, 1, 1),
        )

    def forward(self, strips: Tensor) -> Tensor:
        x = strips.permute(0, 3, 1, 2).to(self.features[5].weight.dtype) * (1 / 64) - 2.0
        return self.features(x)[:, 0]
