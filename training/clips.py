"""Simulated clips of cards on a table, with the truth for every card and frame.

    rng = np.random.default_rng(7)
    clip = make_clip("cover", faces, rng=rng)
    for frame in clip.frames():
        frame.pixels, frame.quads_px, frame.visible

One camera (`simulate_scene.Camera`) looks at one table in one light; cards slide in, move, turn, are swapped or covered
by a hand. A card that moves is blurred along its way, half of what it moves from frame to frame; the camera may shake.
The sensor's noise is another in each frame, so frames of a card that lies still differ as those of a camera do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from training.clip_scripts import FRAMES_PER_SECOND, SCRIPTS, Actor, Hand, Script
from training.harder_scripts import HARDER
from training.simulate_background import procedural_background
from training.simulate_camera import expose
from training.simulate_levels import LEVELS, Look
from training.simulate_objects import SKINS_BGR, Capsule, paint_capsule
from training.simulate_paint import Finish, paint_card
from training.simulate_scene import CARD_HEIGHT_MM, Camera, Placement, aim, card_size_mm, place

__all__ = ["Clip", "ClipFrame", "make_clip"]

Picture = NDArray[np.uint8]

LOOK: Look = replace(
    LEVELS["easy"], tilt_deg=(0.0, 25.0), fill=(0.8, 0.95), jpeg=(75, 92), noise=(0.5, 1.0), sharpen=0.0
)
"""A webcam above a table: `easy` with more tilt and stronger compression; the noise proper comes frame by frame."""

NOISE = (1.5, 5.0)  # standard deviation in grey levels
SHUTTER = 0.5  # share of the time between two frames in which light is gathered
SHAKE_PX = (0.3, 2.0)  # standard deviation of a shaken camera's offset, for 640 pixels of width
HIDDEN = 0.3  # share of a card under a hand from which the truth says that it isn't to be seen
FLAT = 0.95  # of its width is to be seen of a card that is being turned over: from there it counts as to be seen
EDGE = 0.05  # of its width is drawn of a card that stands on edge
_GRID = np.stack(np.meshgrid(np.linspace(0.05, 0.95, 9), np.linspace(0.05, 0.95, 9)), axis=-1).reshape(-1, 2)


@dataclass(frozen=True, slots=True, eq=False)
class ClipFrame:
    """One frame and its truth.

    Attributes:
        time_s: seconds from the clip's start.
        pixels: (H, W, 3) uint8 BGR.
        quads_px: (n, 4, 2) float32, of every physical card of the clip, each card's own top left, top right, ...
        visible: (n,) whether the card is on the table, whole in the frame, face up, and not hidden by a hand or a card.
    """

    time_s: float
    pixels: Picture
    quads_px: NDArray[np.float32]
    visible: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A clip that is drawn frame by frame.

    Attributes:
        kind: name of the script.
        faces: which of the given faces each physical card shows.
        seed: of the light and the noise.
    """

    kind: str
    faces: tuple[int, ...]
    seed: int
    size_wh: tuple[int, int]
    pictures: Sequence[Picture]
    back: Picture
    script: Script
    camera: Camera
    table: Picture
    shake_px: float

    @property
    def length(self) -> int:
        """Frames."""
        return round(self.script.seconds * FRAMES_PER_SECOND)

    def frames(self) -> Iterator[ClipFrame]:
        """Each frame in order; the same every time."""
        rng = np.random.default_rng(self.seed)
        finish = Finish(lift_mm=float(rng.uniform(0.3, 1.2)), shadow=float(rng.uniform(0.2, 0.6)))
        angle = rng.uniform(0, 2 * np.pi)
        light_mm = np.asarray([np.cos(angle), np.sin(angle)])
        skin = SKINS_BGR[int(rng.integers(len(SKINS_BGR)))]
        noise = float(rng.uniform(*NOISE))
        offset = np.zeros(2)
        for number in range(self.length):
            time_s = number / FRAMES_PER_SECOND
            offset = 0.7 * offset + rng.normal(0.0, 1.0, 2) * self.shake_px
            moved_px = offset + self._panned_px(time_s)
            camera = _shifted(self.camera, moved_px)
            canvas = _moved(self.table, moved_px)
            self._paint_cards(canvas, camera, time_s, finish, light_mm)
            hands = [_capsule(hand, camera, time_s, skin) for hand in self.script.hands if hand.there(time_s)]
            for capsule in hands:
                paint_capsule(canvas, capsule, shadow=0.4)
            canvas = _streaked(canvas, moved_px - offset - self._panned_px(time_s - SHUTTER / FRAMES_PER_SECOND))
            pixels = expose(
                canvas, np.zeros(canvas.shape[:2], np.uint8), LOOK, np.random.default_rng(self.seed), card_px=200
            )
            quads = np.asarray([camera.project(_placed(a, p, time_s).corners_mm) for a, p in self._cast()])
            visible = np.asarray([self._visible(n, quads, hands, time_s) for n in range(len(quads))])
            yield ClipFrame(time_s, _noisy(pixels, rng, noise), quads.astype(np.float32), visible)

    def _panned_px(self, time_s: float) -> NDArray[np.float64]:
        return self.script.panned(time_s) * self.size_wh[0]

    def _cast(self) -> list[tuple[Actor, Picture]]:
        return [(actor, self.pictures[face]) for actor, face in zip(self.script.actors, self.faces, strict=True)]

    def _paint_cards(
        self, canvas: Picture, camera: Camera, time_s: float, finish: Finish, light_mm: NDArray[np.float64]
    ) -> None:
        gloss = np.zeros(canvas.shape[:2], np.uint8)
        for actor, picture in self._cast():
            if not actor.there(time_s):
                continue
            here = _placed(actor, picture, time_s)
            rng = np.random.default_rng(self.seed)
            seen = picture if actor.face_up(time_s) > 0 else self.back
            paint_card(canvas, gloss, seen, placement=here, camera=camera, finish=finish, rng=rng, light_mm=light_mm)
            quad = camera.project(here.corners_mm)
            before = camera.project(_placed(actor, picture, time_s - SHUTTER / FRAMES_PER_SECOND).corners_mm)
            _smear(canvas, quad, quad.mean(axis=0) - before.mean(axis=0))

    def _visible(self, number: int, quads: NDArray[np.float64], hands: Sequence[Capsule], time_s: float) -> bool:
        quad = quads[number]
        actor = self.script.actors[number]
        if not actor.there(time_s) or actor.face_up(time_s) < FLAT:
            return False
        if (quad < 0).any() or (quad > self.size_wh).any():
            return False
        unit = np.asarray([(0, 0), (1, 0), (1, 1), (0, 1)], np.float32)
        points = cv2.perspectiveTransform(
            _GRID[None].astype(np.float32), cv2.getPerspectiveTransform(unit, quad.astype(np.float32))
        )[0]
        hidden = np.zeros(len(points), bool)
        for capsule in hands:
            hidden |= capsule.covers(points.astype(np.float64))
        for above in range(number + 1, len(quads)):
            if self.script.actors[above].there(time_s):
                outline = quads[above].astype(np.float32)
                hidden |= [cv2.pointPolygonTest(outline, (float(x), float(y)), False) > 0 for x, y in points]
        return bool(hidden.mean() < HIDDEN)


def make_clip(kind: str, pictures: Sequence[Picture], *, rng: np.random.Generator, seconds: float = 0.0) -> Clip:
    """Sets a scene up.

    Args:
        kind: one of `clip_scripts.SCRIPTS` or `harder_scripts.HARDER`.
        pictures: (h, w, 3) uint8 RGB faces to draw cards from, in order; a script says how many it has used by
            ``max(clip.faces) + 1``.
        rng: where all randomness comes from.
        seconds: length; 0: the script's own, 5 to 8.
    """
    script = (SCRIPTS | HARDER)[kind](rng, seconds or float(rng.uniform(5.0, 8.0)))
    size_wh = (1280, 720) if len(script.actors) > 4 else (640, 360)
    reach = np.concatenate([actor.reach_mm() for actor in script.actors])
    camera = aim(
        reach,
        rng,
        size_wh=size_wh,
        tilt_deg=float(rng.uniform(*LOOK.tilt_deg)),
        roll_deg=float(rng.uniform(-4, 4)),
        fill=float(rng.uniform(*LOOK.fill)),
    )
    shake_px = float(rng.uniform(*SHAKE_PX)) * size_wh[0] / 640 if rng.random() < script.shaken else 0.0
    table = procedural_background(size_wh, rng)
    faces = tuple(actor.face for actor in script.actors)
    seed = int(rng.integers(2**31))
    return Clip(kind, faces, seed, size_wh, pictures, _back(rng), script, camera, table, shake_px)


def _back(rng: np.random.Generator) -> Picture:
    """(320, 229, 3) uint8 RGB: a card's back, waves in two colours with a border, the same whichever end is up."""
    dark, bright = rng.uniform(10, 110, 3), rng.uniform(90, 230, 3)
    y, x = np.mgrid[-159.5:160, -114:115]
    waves = np.sin(rng.uniform(0.05, 0.2) * np.hypot(x, y)) * np.cos(rng.uniform(0.05, 0.2) * x)
    picture = dark + (bright - dark) * (0.5 + 0.5 * waves[..., None])
    picture[(np.abs(x) > 104) | (np.abs(y) > 149)] = bright
    return np.asarray(picture.round(), np.uint8)


def _moved(table: Picture, offset_px: NDArray[np.float64]) -> Picture:
    """A copy of the table's picture, shifted."""
    matrix = np.asarray([(1, 0, offset_px[0]), (0, 1, offset_px[1])])
    return np.asarray(
        cv2.warpAffine(table, matrix, table.shape[1::-1], borderMode=cv2.BORDER_REFLECT_101), dtype=np.uint8
    )


def _placed(actor: Actor, picture: Picture, time_s: float) -> Placement:
    x, y, turn = actor.at(time_s)
    width, height = card_size_mm(picture)
    return place(0, (width * max(EDGE, abs(actor.face_up(time_s))), height), np.asarray([x, y]), turn)


def _shifted(camera: Camera, offset_px: NDArray[np.float64]) -> Camera:
    """The camera with its picture shifted: what a small turn does."""
    shift = np.asarray([(1, 0, offset_px[0]), (0, 1, offset_px[1]), (0, 0, 1)])
    return Camera(shift @ camera.projection)


def _capsule(hand: Hand, camera: Camera, time_s: float, skin: tuple[float, float, float]) -> Capsule:
    """The hand as seen: an arm from outside the frame, its end over a card."""
    tip, end = camera.project(hand.ends_mm(time_s))
    radius = 0.5 * CARD_HEIGHT_MM * hand.size
    edge = camera.project(np.stack([hand.ends_mm(time_s)[0], hand.ends_mm(time_s)[0] + (radius, 0)]))
    return Capsule(tip, end, float(np.linalg.norm(edge[1] - edge[0])), skin)


def _smear(canvas: Picture, quad: NDArray[np.float64], by_px: NDArray[np.float64]) -> None:
    """Motion blur around a card, in place; below a pixel there is none to be seen."""
    length = float(np.hypot(*by_px))
    if length < 1:
        return
    low = np.clip(np.floor(quad.min(axis=0) - length), 0, canvas.shape[1::-1]).astype(int)
    high = np.clip(np.ceil(quad.max(axis=0) + length), 0, canvas.shape[1::-1]).astype(int)
    if (high <= low).any():
        return
    kernel = _streak(by_px)
    area = np.s_[low[1] : high[1], low[0] : high[0]]
    mask = np.zeros(canvas[area].shape[:2], np.float32)
    cv2.fillConvexPoly(mask, (quad - low).round().astype(np.int32), 1.0)
    share = cv2.cvtColor(cv2.filter2D(mask, -1, kernel), cv2.COLOR_GRAY2BGR)
    sharp, soft = canvas[area].astype(np.float32), cv2.filter2D(canvas[area], -1, kernel).astype(np.float32)
    canvas[area] = (sharp + (soft - sharp) * share).round().astype(np.uint8)


def _streaked(canvas: Picture, by_px: NDArray[np.float64]) -> Picture:
    """Motion blur of all that is to be seen."""
    if float(np.hypot(*by_px)) < 1:
        return canvas
    return np.asarray(cv2.filter2D(canvas, -1, _streak(by_px)), np.uint8)


def _streak(by_px: NDArray[np.float64]) -> NDArray[np.float32]:
    """A centred kernel of a straight line, 40 pixels long at most."""
    length = float(np.hypot(*by_px))
    side = 2 * int(np.ceil(min(length, 40) / 2)) + 1
    kernel = np.zeros((side, side), np.float32)
    half = by_px / length * min(length, 40) / 2
    middle = side // 2
    start, end = (middle - half).round().astype(int), (middle + half).round().astype(int)
    cv2.line(kernel, tuple(map(int, start)), tuple(map(int, end)), 1.0)
    return np.asarray(kernel / kernel.sum(), np.float32)


def _noisy(pixels: Picture, rng: np.random.Generator, sigma: float) -> Picture:
    """Sensor noise, another in each frame."""
    grain = np.frombuffer(rng.bytes(pixels.size), np.uint8).reshape(pixels.shape)
    soft = cv2.GaussianBlur(grain, (3, 3), 0.6)
    gain = sigma / max(float(soft[:64, :64].std()), 1.0)
    return np.asarray(cv2.addWeighted(pixels, 1.0, soft, gain, -127.5 * gain), np.uint8)
