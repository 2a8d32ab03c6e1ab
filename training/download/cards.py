"""What an adapter is: the one part of a download that differs from source to source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from training.failure import Failure

if TYPE_CHECKING:
    from training.download.session import Session

__all__ = ["Adapter", "Card", "Fault", "Listed", "known", "require_folder"]


@dataclass(frozen=True, slots=True)
class Card:
    """A card as its source lists it.

    Attributes:
        card_id: unique within the source, ``set-number`` wherever the source has both.
        meta: what is known of it: ``name``, ``set``, ``number``, ``language``, ``game``, ...
        image_url: its picture; None where the source has none.
    """

    card_id: str
    meta: Mapping[str, object]
    image_url: str | None


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that could not be downloaded, and why. The others go on."""

    what: str
    why: str
    image_url: str | None = None


Listed = Card | Fault


class Adapter(Protocol):
    """A source of cards. HTTP, retries, rates, resuming, checksums and files are not its business.

    Attributes:
        name: of the source, as on the command line.
        note: where the data comes from and on what terms; goes into ``source.json``.
        rates: hosts that say how often they may be asked: requests per second.
    """

    name: str
    note: str
    rates: Mapping[str, float]

    def cards(self, session: Session, workspace: Path) -> Iterator[Listed]:
        """The cards, lazily, in an order that stays.

        Args:
            session: to ask the network with.
            workspace: folder for files that are needed to list the cards; it is kept between runs.

        Raises:
            Failure: the source can't be read at all.
        """
        ...


def known(**fields: Any) -> dict[str, object]:
    """The fields that have a value."""
    return {name: value for name, value in fields.items() if value not in (None, "", [], {})}


def require_folder(path: Path, what: str, url: str) -> Path:
    """The path of a local checkout.

    Raises:
        Failure: there is no such folder.
    """
    if not path.is_dir():
        raise Failure(f"{path} is no folder; {what} was expected: git clone --depth 1 {url}")
    return path
