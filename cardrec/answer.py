"""What is said of a card: its matches, a status and a probability; of twins, which can't be told apart, their group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from cardrec.decide import Calibration, decide
from cardrec.types import Match, Status

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cardrec.snapshot import Snapshot

__all__ = ["Answer", "among_twins", "by_scores", "distinct", "first_apart", "told_apart", "with_twins"]

Where = Mapping[str, object] | None


class Answer(NamedTuple):
    """Matches, best first, the status, and two probabilities: of the first match, and of it or one of its twins."""

    matches: tuple[Match, ...]
    status: Status
    confidence: float
    chance: float


def by_scores(matches: tuple[Match, ...], calibration: Calibration, doubt: float = 0.0) -> Answer:
    """The answer that scores give; the lead is that over the best card which is no twin of the first."""
    return among_twins(matches, *decide([match.score for match in told_apart(matches)], calibration, doubt))


def among_twins(matches: tuple[Match, ...], status: Status, chance: float) -> Answer:
    """The answer to a probability that the first match shares with its twins: never one of them, where it has some."""
    twins = len(matches[0].twins) if matches else 0
    if not twins:
        return Answer(matches, status, chance, chance)
    return Answer(matches, "ambiguous" if status == "match" else status, chance / twins, chance)


def told_apart(matches: Sequence[Match]) -> list[Match]:
    """The first match and those that are no twins of it."""
    twins = {each for match in matches[:1] for each in match.twins}
    return [match for match in matches if match is matches[0] or match.card_id not in twins]


def first_apart(matches: tuple[Match, ...], count: int) -> tuple[Match, ...]:
    """The best of them until there are so many that are `told_apart`."""
    apart = told_apart(matches)
    return matches if len(apart) <= count else matches[: matches.index(apart[count])]


def distinct(state: Snapshot, rows: NDArray[np.int64], scores: NDArray[np.float32], where: Where) -> tuple[Match, ...]:
    """The best row of each card_id, best first, with its twins among the cards that pass the filter."""
    best: dict[str, Match] = {}
    groups: dict[tuple[int, ...], tuple[str, ...]] = {(): ()}
    for row, score, (card_id, meta) in zip(rows.tolist(), scores.tolist(), state.cards(rows), strict=True):
        if card_id not in best:
            group = state.twins(row, where)
            if group not in groups:
                ids = state.ids(group)
                groups[group] = ids if len(ids) > 1 else ()
            best[card_id] = Match(card_id, score, row, meta, groups[group])
    return tuple(best.values())


def with_twins(
    state: Snapshot, matches: tuple[Match, ...], count: int, embedding: NDArray[np.float32], where: Where
) -> tuple[Match, ...]:
    """The first ``count`` matches and all their twins, also those that are not among the matches."""
    wanted = {each for match in matches[:count] for each in (match.card_id, *match.twins)}
    missing = wanted - {match.card_id for match in matches}
    group = [match for match in matches if match.card_id in wanted]
    if missing:
        rows = sorted({row for match in matches[:count] for row in state.twins(match.row, where)})
        others = distinct(state, *state.best_of(embedding, rows), where)
        group += [match for match in others if match.card_id in missing]
    return tuple(group)
