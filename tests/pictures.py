"""Card images and photos of them, drawn in milliseconds: for tests that need no realistic pictures."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

CARD_WH = (250, 350)


def card_picture(seed: int) -> NDArray[np.uint8]:
    """The BGR image of a card: a dark frame, a body in one colour, coarse shapes; all follow from the seed."""
    rng = np.random.default_rng(seed)
    card = np.full((CARD_WH[1], CARD_WH[0], 3), 30, np.uint8)
    card[10:-10, 10:-10] = rng.integers(90, 255, 3)
    art = np.full((200, CARD_WH[0] - 44, 3), rng.integers(0, 256, 3), np.uint8)
    for _ in range(4):
        ink = tuple(int(value) for value in rng.integers(0, 256, 3))
        centre = int(rng.integers(20, 186)), int(rng.integers(20, 180))
        axes = int(rng.integers(20, 80)), int(rng.integers(20, 80))
        cv2.ellipse(art, centre, axes, float(rng.integers(180)), 0, 360, ink, int(rng.choice([-1, 12])), cv2.LINE_AA)
    card[40:240, 22:-22] = art
    for line in range(6):
        cv2.line(card, (24, 262 + 13 * line), (24 + int(rng.integers(60, 200)), 262 + 13 * line), (40, 40, 40), 3)
    return card


def photo(
    cards: Sequence[NDArray[np.uint8]], *, size_wh: tuple[int, int] = (1280, 720), turn_deg: float = 6.0
) -> NDArray[np.uint8]:
    """A BGR frame of cards beside each other on a plain table, turned a little; lit unevenly and slightly blurred."""
    width, height = size_wh
    frame = np.full((height, width, 3), (96, 120, 134), np.uint8)
    card_height = 0.72 * min(height, 1.3 * width / max(1, len(cards)))
    for place, card in enumerate(cards):
        centre = np.array([width * (place + 0.5) / len(cards), height / 2])
        half = np.array([card_height * CARD_WH[0] / CARD_WH[1], card_height]) / 2
        angle = np.deg2rad(turn_deg)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        corners = (np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half) @ turn.T + centre
        source = np.array([[0, 0], [CARD_WH[0], 0], [CARD_WH[0], CARD_WH[1]], [0, CARD_WH[1]]], np.float32) - 0.5
        matrix = cv2.getPerspectiveTransform(source, corners.astype(np.float32))
        cv2.warpPerspective(card, matrix, size_wh, dst=frame, borderMode=cv2.BORDER_TRANSPARENT, flags=cv2.INTER_AREA)
    light = np.linspace(0.85, 1.05, width)[None, :, None]
    lit = np.clip(cv2.GaussianBlur(frame, (3, 3), 0) * light, 0, 255)
    return lit.astype(np.uint8)
