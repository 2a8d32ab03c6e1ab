"""One card's way through the frames: where it is, how it looks, and what it is."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cardrec.associate import Place, likeness, nearness
from cardrec.evidence import Evidence
from cardrec.types import Card, Match, Status

__all__ = ["Trail"]

LEAD = 12.0
"""Factor by which an identity must be likelier than any other to be declared. Two copies of one picture under different
ids, whose cosines differ by thousandths, reach 10 where the confidence takes no notice of the lead."""

UNKNOWN = 0.9
"""Probability from which a card is said not to be in the catalog."""

SAME = 0.9
"""Cosine from which two frames surely show one card; two cards of one clip had 0.82 at most, 0.69 in 95 %."""

ALIKE = 0.75
"""Cosine from which a frame may show the card that was there: neighbouring frames of a card lie above it in 99 %."""

PLACED = 1.6
"""Nearness from which it may also look otherwise, half under a hand or in a reflection, while it never was out of
sight: it lies where it lay."""

REFOUND = 0.95
"""Cosine from which a card that turns up is one that was unseen, by its look alone."""

SWEPT_S = 0.3
"""How long it may have been out of sight and look otherwise then: a hand that swaps cards covers them for longer."""

UNMOVED = 1.8
"""Nearness from which it may: a card that is slid over another lies nearly there, too, for a frame."""

EXTRAPOLATED_S = 0.3
"""How long a card that was moving is expected farther on: a hand's way is no straight line for longer."""

STEADY = 0.5  # weight of the newest step in a card's velocity: outlines jitter by a pixel


Look: TypeAlias = NDArray[np.float32] | None


class Trail:
    """A card that is followed, from its first frame on.

    Attributes:
        id: of its track; 0 while it does not count.
        best: the reading of the frame that tells most of it.
        frames: in which it was seen.
        missed: frames since then in which it was not.
        missed_from_s: when the first of these was taken, or the last in which something else lay in its place.
        first_s, last_s: when it was seen.
        sure_s: when it was seen last in a frame that looked like it.
        match: the declared identity.
    """

    def __init__(self, card: Card, time_s: float, min_confidence: float) -> None:
        self._min_confidence = min_confidence
        self.id = 0
        self.best = card
        self._place = Place.of(card.corners_px)
        self._expected = [self._place]
        self.frames = 1
        self.missed = 0
        self.missed_from_s = time_s
        self.first_s = self.last_s = self.sure_s = time_s
        self.match: Match | None = None
        self._elapsed_s = 0.0
        self._look = card.embedding
        self._looks = card.embedding  # their sum: what it looks like in most frames, not in a blurred or covered one
        self._velocity = (0.0, 0.0)  # of the centre, pixels in a second
        self._evidence = Evidence()
        self._evidence.add(card)

    @property
    def corners_px(self) -> NDArray[np.float32]:
        """(4, 2) where it was seen last."""
        return self._place.quad

    @property
    def confidence(self) -> float:
        """Probability of the declared identity, else of the likeliest answer."""
        return self._evidence.probability(self.match.card_id) if self.match else self._evidence.best()[1]

    @property
    def status(self) -> Status:
        """What is known of it: an identity, that it is in no catalog as surely as that, or neither yet."""
        if self.match is not None:
            return "match"
        return "unknown" if self._evidence.probability(None) >= UNKNOWN else "ambiguous"

    def miss(self, now_s: float) -> None:
        """Notes a frame in which it was not seen."""
        if not self.missed:
            self.missed_from_s = now_s
        self.missed += 1

    def missed_s(self, now_s: float) -> float:
        """Seconds of frames without it. A pause between frames is none: a slow device drops them in bursts."""
        return now_s - self.missed_from_s if self.missed else 0.0

    def expect(self, now_s: float) -> None:
        """Thinks of where it may be in a frame: where it was, and where it was going."""
        self._elapsed_s = elapsed = now_s - self.last_s
        self._expected = [self._place]
        if elapsed <= EXTRAPOLATED_S and any(self._velocity):
            self._expected.append(self._place.after(self._velocity[0] * elapsed, self._velocity[1] * elapsed))

    def fit(self, card: Card, place: Place) -> float | None:
        """How well a card fits in place and look; None where it is not this one."""
        near = nearness(self._expected, place)
        if near is None or self._is_another(card):
            return None
        alike = self.alike(card.embedding)
        if card.embedding is not None and alike < ALIKE and near < self._place_that_suffices():
            return None
        return near + alike

    def _place_that_suffices(self) -> float:
        """Nearness from which a card may be this one whatever it looks like."""
        if not self.missed:
            return PLACED
        return UNMOVED if self._elapsed_s <= SWEPT_S else math.inf

    def take(self, card: Card, place: Place, now_s: float) -> None:
        """Takes the card's next frame in."""
        self._evidence.add(card)
        if now_s > self.last_s:
            share = STEADY / (now_s - self.last_s)
            vx, vy = self._velocity
            self._velocity = (
                (1 - STEADY) * vx + share * (place.x - self._place.x),
                (1 - STEADY) * vy + share * (place.y - self._place.y),
            )
        if self._is_sure(card):
            self.sure_s = now_s
        self._place, self._look = place, card.embedding
        self._looks = _sum(self._looks, card.embedding)
        self.frames += 1
        self.missed = 0
        self.last_s = now_s
        if self._tells_more(card):
            self.best = card

    def decide(self) -> bool:
        """Declares an identity where the evidence suffices, and says whether it has just done so."""
        match, _ = self._evidence.best()
        if match is None or (self.match is not None and match.card_id == self.match.card_id):
            return False
        if 1 - self._evidence.probability(None) < self._min_confidence or self._evidence.lead() < LEAD:
            return False
        self.match = match
        return True

    def lies_on(self, old: Trail) -> bool:
        """Whether it is where another trail, which may be its own, was seen last."""
        return self.may_be(old) and nearness([old._place], self._place) is not None

    def may_be(self, old: Trail) -> bool:
        """Whether another trail, out of sight, can be this card's: it was last surely seen before this one began."""
        if old.sure_s >= self.first_s:
            return False
        return not (self.match and old.match and self.match.card_id != old.match.card_id)

    def resembles(self, old: Trail) -> float | None:
        """How much it looks like a trail that `may_be` its own; None: not enough to take them for one card."""
        if not self.may_be(old):
            return None
        if self.match and old.match:
            return 1.0
        alike = max(old.alike(self._look), likeness(_unit(old._looks), _unit(self._looks)) or -1.0)
        return alike if alike >= REFOUND else None

    def resume(self, old: Trail) -> None:
        """Goes on as the trail of the same card from before it was out of sight."""
        self._evidence.merge(old._evidence)
        self._looks = _sum(self._looks, old._looks)
        self.id, self.match, self.first_s = old.id, old.match or self.match, old.first_s
        self.frames += old.frames
        if self._tells_more(old.best):
            self.best = old.best

    def alike(self, look: NDArray[np.float32] | None) -> float:
        """The better cosine of a look to the last one and to all together; -1 where none is known."""
        known = [likeness(mine, look) for mine in (self._look, _unit(self._looks))]
        return max((each for each in known if each is not None), default=-1.0)

    def _is_sure(self, card: Card) -> bool:
        """Whether a frame surely shows this card."""
        named = self.match and card.match and card.match.card_id == self.match.card_id
        return bool(named) or (likeness(_unit(self._looks), card.embedding) or 0.0) >= SAME

    def _is_another(self, card: Card) -> bool:
        """Whether a frame surely shows another card than this one."""
        if self.match is None or card.match is None or card.match.card_id == self.match.card_id:
            return False
        alike = likeness(_unit(self._looks), card.embedding)
        return alike is not None and alike < SAME

    def _tells_more(self, card: Card) -> bool:
        """Whether a frame is better than the best so far: the right name before the higher confidence."""
        wanted = self.match or self._evidence.best()[0]
        return _worth(card, wanted) > _worth(self.best, wanted)


def _sum(a: Look, b: Look) -> Look:
    return b if a is None else a if b is None or a.shape != b.shape else a + b


def _unit(look: Look) -> Look:
    return None if look is None else look / max(float(np.linalg.norm(look)), 1e-6)


def _worth(card: Card, wanted: Match | None) -> tuple[bool, float, float]:
    named = bool(wanted and card.matches and card.matches[0].card_id == wanted.card_id)
    return named, card.confidence, card.detection
