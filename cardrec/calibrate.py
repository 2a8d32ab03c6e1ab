"""A catalog's own calibration: what its cards score in simulated photos, and what they score once they are left out.

Scores depend on the catalog: the best of 100,000 cards resembles a stranger more than the best of five, and two games
with one frame resemble each other more than two without. So some of a catalog's own cards are photographed, by
`cardrec.captures`, and searched for twice: with the card in the catalog, and as a stranger, its own rows and those of
its look-alikes left out. From that come the probability that the best match is right, and how rarely a stranger gets
how high a one.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cardrec.captures import Picture, capture, drawn_error
from cardrec.decide import FALSE_ACCEPTS, TAIL, Calibration
from cardrec.duplicates import NEAR
from cardrec.image import Frame, load
from cardrec.logistic import fit_logistic
from cardrec.rectify import INPUT_SIZE, upright_copy

if TYPE_CHECKING:
    from cardrec.ingest import CardEncoder
    from cardrec.snapshot import Snapshot
    from cardrec.types import ImageLike

__all__ = ["FEWEST_CARDS", "Sample", "calibrate", "fit", "tail"]

CARDS = 128
"""Cards that are photographed, or all where there are fewer."""
FEWEST_CARDS = 3
"""With fewer there is nothing that a card that is left out could be taken for."""
CAPTURES = 320
"""Photos of them together: what takes seven seconds of one core."""
STRENGTHS = 0.5, 1.1
"""Of the photos, from the most careful to the worst. Error of the confidence in hard photos, for catalogs of 5, 100 and
1,000 Redemption and 5, 100 and 555 Pocket cards: 0.013, 0.037, 0.020, 0.018, 0.025, 0.040 with 0.3 to 1.0; 0.013,
0.022, 0.033, 0.019, 0.021, 0.032 with these; 0.014, 0.022, 0.032, 0.027, 0.020, 0.048 with 0.7 to 1.3."""
MOST_CAPTURES = 64
"""Photos of one card."""
PICTURE_HEIGHT = 360
"""Pixels that are kept of a card: more than the encoder sees."""

LONGEST_LEAD = 2.0
"""Leads count up to so many times what one in a hundred strangers has; a longer one tells of a small catalog. In those
six catalogs the error of the confidence is 0.013 to 0.030 at 1, and 0.016 to 0.027 at 2."""
SAME_ART, SAME_ART_GAP = 0.83, 0.1
"""Cosine of a card's picture with those of other printings of its artwork, at least, and by how much they stand out of
all other cards. Of 128 cards of 6,320 (Redemption, Pokemon TCG Pocket) 16 have such neighbours: all 16 are reprints, in
another frame or edition. Under either number, cards that merely share a frame begin."""
MOST_PRINTINGS = 8
"""Of one artwork, and no more than a quarter of a catalog: in a small one any card may stand out."""
AMBIGUOUS_STRANGERS = 0.1
"""Share of strangers that are called ambiguous or are accepted."""
RIDGE = 1e-3

_ONE_IN_A_HUNDRED = 2.326  # standard deviations of a normal distribution
_PRIOR_CARDS = 8
# Between strangers of a catalog of 100 Redemption cards, of best cosines and of leads; they rise together (r = 0.7).
_PRIOR_DEVIATIONS = 0.043, 0.036
_BLANKS_LEAD = 0.01  # cosine by which a card must beat what is none
_LEAST_SCALE = 0.1  # of the tail's log-odds, where the strangers of a small catalog are all alike
_DEPTH = 32  # rows to search for at first


class Kept(NamedTuple):
    """A card of the sample; ``is_array`` if its channels are in whatever order the caller's arrays have."""

    card_id: str
    pixels: Picture
    is_array: bool


class Sample:
    """Some of the cards that pass by, chosen by their ids: the same whatever their order. Small copies are kept."""

    def __init__(self, most: int = CARDS) -> None:
        self._most = most
        self._kept: list[tuple[int, Kept]] = []
        self._ids: set[str] = set()

    def see(self, card_id: str, image: ImageLike) -> None:
        """Takes a card that could be encoded, or passes it by."""
        rank = -int.from_bytes(hashlib.blake2b(card_id.encode(), digest_size=8).digest(), "big")
        if card_id in self._ids or (len(self._kept) == self._most and rank < self._kept[0][0]):
            return
        entry = rank, Kept(card_id, *_small(image))
        self._ids.add(card_id)
        if len(self._kept) < self._most:
            heapq.heappush(self._kept, entry)
        else:
            self._ids.discard(heapq.heapreplace(self._kept, entry)[1].card_id)

    def __len__(self) -> int:
        return len(self._kept)

    def cards(self) -> list[Kept]:
        """The sample, ordered by id."""
        return sorted((kept for _, kept in self._kept), key=lambda kept: kept.card_id)


def _small(image: ImageLike) -> tuple[Picture, bool]:
    """A picture of at most `PICTURE_HEIGHT`, upright, and whether it is an array."""
    is_array = isinstance(image, np.ndarray)
    frame = load(image, color="rgb") if is_array else load(image)
    return upright_copy(Frame(frame.pixels, "rgb", frame.name), PICTURE_HEIGHT), is_array


def calibrate(sample: Sequence[Kept], encoder: CardEncoder, snapshot: Snapshot, *, seed: int = 0) -> dict[str, float]:
    """The `calibration` of a catalog, as `cardrec.decide.Calibration` takes it.

    Args:
        sample: some of its cards, at least two.
        encoder: that the catalog was built with.
        snapshot: the catalog.
        seed: of the photos.
    """
    rng = np.random.default_rng(seed)
    each = min(MOST_CAPTURES, -(-CAPTURES // len(sample)))
    known: list[tuple[bool, float, float]] = []
    strangers = [(-1.0, *_best(snapshot, readings, frozenset())[1:]) for readings in _blanks(encoder, rng)]
    for number, card in enumerate(sample):
        own = _look_alikes(snapshot, card.card_id)
        faces = {_face(snapshot, row, card.card_id) for row in snapshot.rows_of(card.card_id)}
        for readings in _photographed(card, each, encoder, rng):
            best, score, margin = _best(snapshot, readings, frozenset())
            known.append((best in faces, score, margin))
            strangers.append((float(number), *_best(snapshot, readings, own)[1:]))
    inside, outside = np.array(known, np.float64), np.array(strangers, np.float64)
    return fit(
        inside[:, 1], inside[:, 2], inside[:, 0] > 0, outside[:, 1], outside[:, 2], outside[:, 0].astype(np.int64)
    )


def _photographed(card: Kept, count: int, encoder: CardEncoder, rng: np.random.Generator) -> NDArray[np.float32]:
    """The vectors of so many photos, from easy to hard, each read both ways up, (count, 2, dimension)."""
    strengths = np.linspace(*STRENGTHS, count)
    crops = [capture(card.pixels, INPUT_SIZE, rng, drawn_error(rng, s), float(s)) for s in strengths]
    return _encoded(crops, card.is_array, encoder)


def _blanks(encoder: CardEncoder, rng: np.random.Generator) -> NDArray[np.float32]:
    """The same of what is no card's face: even paper, a gradient, a pattern such as backs have; (n, 2, dimension)."""
    y, x = np.mgrid[0:INPUT_SIZE, 0:INPUT_SIZE, 0:3][:2] / INPUT_SIZE
    pictures = [np.full_like(x, level) for level in (20, 90, 160, 245)]
    pictures += [90 + 60 * x, 240 - 90 * y, 60 + 120 * y * x, 200 - 150 * np.hypot(x - 0.5, y - 0.5)]
    pictures += [128 + 100 * np.sin(waves * x) * np.sin(waves * y) for waves in (15, 40, 70)]
    pictures += [128 + 90 * np.sin(waves * (x + y)) for waves in (20, 45, 90)]
    noisy = [np.clip(each + rng.normal(0, 4, x.shape), 0, 255).astype(np.uint8) for each in pictures]
    return _encoded(noisy, False, encoder)


def _encoded(crops: list[Picture], as_arrays: bool, encoder: CardEncoder) -> NDArray[np.float32]:
    """Each crop as it stands and turned by half: strangers are read both ways, and the better reading is taken."""
    from PIL import Image

    readings = [reading for crop in crops for reading in (crop, np.ascontiguousarray(crop[::-1, ::-1]))]
    images: list[ImageLike] = [each if as_arrays else Image.fromarray(each) for each in readings]
    return np.asarray(encoder.encode(images), np.float32).reshape(len(crops), 2, -1)


def _best(snapshot: Snapshot, readings: NDArray[np.float32], without: frozenset[str]) -> tuple[str, float, float]:
    """`_ranked` of the reading that resembles a card most, as `cardrec.reader.Reader.read` chooses."""
    return max((_ranked(snapshot, vector, without) for vector in readings), key=lambda found: found[1])


def _ranked(snapshot: Snapshot, vector: NDArray[np.float32], without: frozenset[str]) -> tuple[str, float, float]:
    """The best card that is not left out, its score, and its lead over the next one; of nothing the score is 0.

    Twins are one card here, named after the first of them: which of them it is nobody can tell.
    """
    wanted = _DEPTH
    while True:
        rows, scores = snapshot.search(vector, wanted)
        best: dict[str, float] = {}
        for row, (card_id, _), score in zip(rows[0], snapshot.cards(rows[0]), scores[0].tolist(), strict=True):
            if card_id not in without:
                best.setdefault(_face(snapshot, row, card_id), score)
        if len(best) >= 2 or rows.shape[1] < wanted:
            first, second = [*best.items(), ("", 0.0), ("", 0.0)][:2]
            return first[0], first[1], first[1] - second[1]
        wanted *= 4


def _face(snapshot: Snapshot, row: int, card_id: str) -> str:
    """The first of the cards that no photo tells from this row."""
    twins = snapshot.twins(int(row))
    return snapshot.card(twins[0])[0] if twins else card_id


def _look_alikes(snapshot: Snapshot, card_id: str) -> frozenset[str]:
    """The card, those that its pictures can't be told from, and other printings of its art: they are no strangers.

    Who asks that one in a hundred strangers may pass does not mean a reprint of a card that the catalog has. With them,
    a catalog that has many reprints would refuse most of what it knows.
    """
    found = {card_id}
    for index, rows in snapshot.find(card_id):
        vectors = snapshot.segments[index].vectors[rows].astype(np.float32)
        near, scores = snapshot.search(vectors, _DEPTH)
        for row_near, row_scores in zip(near, scores, strict=True):
            found.update(card for card, _ in snapshot.cards(row_near[: _alike(row_scores, len(snapshot))]))
    for row in snapshot.rows_of(card_id):
        found.update(snapshot.ids(snapshot.twins(row)))  # there may be more than were searched for
    return frozenset(found)


def _alike(scores: NDArray[np.float32], cards: int) -> int:
    """How many of the best scores, which fall, are of nearly the same pictures or stand out as the same art does."""
    first = scores[: min(MOST_PRINTINGS, cards // 4) + 1]
    gaps = np.flatnonzero((first[:-1] >= SAME_ART) & (first[:-1] - first[1:] >= SAME_ART_GAP))
    return max(int(np.count_nonzero(scores >= NEAR)), int(gaps[-1]) + 1 if len(gaps) else 0)


def fit(
    score: NDArray[np.float64],
    margin: NDArray[np.float64],
    right: NDArray[np.bool_],
    outside_score: NDArray[np.float64],
    outside_margin: NDArray[np.float64],
    outside_card: NDArray[np.int64] | None = None,
) -> dict[str, float]:
    """The curve of confidence, and what strangers rarely reach.

    A card in the frame is taken to be in the catalog as often as not, whatever the number of photos of either kind.

    Args:
        score: (n,) best cosines of photos of cards in the catalog.
        margin: (n,) their leads over the next card.
        right: (n,) whether the best card is the right one.
        outside_score: (m,) the same of cards that are not in the catalog.
        outside_margin: (m,).
        outside_card: (m,) which card each of them shows, where there are several photos of one; -1: of none.
    """
    max_margin = LONGEST_LEAD * float(np.quantile(outside_margin, 1 - FALSE_ACCEPTS))
    scores, margins = np.concatenate([score, outside_score]), np.concatenate([margin, outside_margin])
    design = np.column_stack([np.ones(len(scores)), scores, np.minimum(margins, max_margin)])
    target = np.concatenate([right, np.zeros(len(outside_score), bool)])
    counts = np.concatenate([np.full(len(score), 1 / len(score)), np.full(len(outside_score), 1 / len(outside_score))])
    weights = fit_logistic(design, target, ridge=RIDGE, counts=counts * len(scores) / 2)
    if weights[2] < 0:  # a longer lead can't tell against a card: there were no close ones to learn from
        weights = np.append(fit_logistic(design[:, :2], target, ridge=RIDGE, counts=counts * len(scores) / 2), 0.0)
    logits = design[len(score) :] @ weights
    tail_from, tail_scale = tail(logits)
    if outside_card is not None:
        seen = tail_from + tail_scale * float(np.log(TAIL / FALSE_ACCEPTS))
        least, trust = _cautious(logits, outside_card, float(weights[1:] @ _PRIOR_DEVIATIONS))
        tail_from += (1 - trust) * max(0.0, least - seen)
    bias, score_weight, margin_weight = weights.tolist()
    min_score = float(np.quantile(outside_score, 1 - AMBIGUOUS_STRANGERS))
    if outside_card is not None and (outside_card < 0).any():  # what is no card must be unknown
        min_score = max(min_score, float(outside_score[outside_card < 0].max()) + _BLANKS_LEAD)
    calibration = Calibration(
        min_confidence=0.0,
        min_score=min_score,
        max_margin=max_margin,
        bias=bias,
        score_weight=score_weight,
        margin_weight=margin_weight,
        tail_from=tail_from,
        tail_scale=tail_scale,
    ).for_false_accepts(FALSE_ACCEPTS)
    return {name: round(float(value), 5) for name, value in asdict(calibration).items()}


def tail(logits: NDArray[np.float64]) -> tuple[float, float]:
    """What a share `TAIL` of the strangers exceeds, and by how much in the mean: from there they fall off like exp(-x).

    So a share `a` of them exceeds the first number plus ``ln(TAIL / a)`` times the second (Pickands 1975, with the
    shape of an exponential), which also says what is too rare to have been seen.
    """
    start = float(np.quantile(logits, 1 - TAIL))
    return start, max(_LEAST_SCALE, float(np.mean(logits[logits > start] - start)) if (logits > start).any() else 0.0)


def _cautious(logits: NDArray[np.float64], cards: NDArray[np.int64], prior: float) -> tuple[float, float]:
    """What one in a hundred strangers exceeds if the cards that were left out are few, however many photos there are.

    The next stranger differs from them as they differ from one another: its log-odds have a t distribution, the
    prediction of a new observation. How much cards differ is taken from them and, as if from `_PRIOR_CARDS` more, from
    other catalogs, where the deviation is ``prior``.

    With it comes how far to trust what was seen instead, 0..1: a hundred cards show what one in a hundred does, and
    show that log-odds end sooner than the distribution does.
    """
    groups = [logits[cards == card] for card in np.unique(cards[cards >= 0])]
    means = np.array([group.mean() for group in groups])
    among, within = means.var() * len(means), float(np.mean([group.var() for group in groups]))
    freedom = len(means) - 1 + _PRIOR_CARDS
    between = (among + _PRIOR_CARDS * prior**2) / freedom
    reach = _student(_ONE_IN_A_HUNDRED, freedom) * np.sqrt((1 + 1 / len(means)) * (between + within))
    return float(means.mean() + reach), min(1.0, len(means) * FALSE_ACCEPTS)


def _student(normal: float, freedom: int) -> float:
    """The quantile of Student's t where the normal distribution has ``normal`` (Fisher's expansion, three terms)."""
    z = normal
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
