"""Cards and errors as short text, for tables, annotated pictures and messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cardrec.track import Track
    from cardrec.types import Card, Match

__all__ = ["answer", "printable", "say_error", "title", "track_answer"]


def printable(text: str) -> str:
    """The text on one line, without what would steer a terminal: that becomes U+FFFD, white space a blank."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)


def title(match: Match) -> str:
    """The card's name, or its id where it has none."""
    name = match.meta.get("name")
    return printable(str(name) if name not in (None, "") else match.card_id)


def answer(card: Card) -> str:
    """What the card is, in words: a name, the names in question, or that it is not in the catalog."""
    if card.status == "unknown":
        return "not in the catalog"
    first = title(card.matches[0])
    if card.status == "match":
        return first
    if len(card.matches) < 2:
        return f"{first}, or another"
    second = title(card.matches[1])
    if first == second:  # printings of one card
        return f"{first} ({printable(card.matches[0].card_id)} or {printable(card.matches[1].card_id)})"
    return f"{first}, or {second}"


def track_answer(track: Track) -> str:
    """What a followed card is, in words that do not change with each frame's reading."""
    if track.match is not None:
        return title(track.match)
    if track.status == "unknown":
        return "not in the catalog"
    return answer(track.card) if track.card.status == "ambiguous" else "not identified yet"


def say_error(error: BaseException) -> str:
    """An error's message on one line; for the system's errors the file first."""
    if isinstance(error, OSError) and error.strerror:
        name = error.filename
        return printable(f"{name}: {error.strerror}" if name is not None else error.strerror)
    return printable(str(error) or type(error).__name__)
