"""The download itself: list the cards, fetch the pictures that aren't there, write down what there is."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from cardrec.cards import check_card
from cardrec.errors import InputError
from training.download.cards import Adapter, Card, Fault, Listed
from training.download.session import HttpError, Session
from training.download.store import Store, opened_store
from training.download.transfer import fetch
from training.failure import Failure
from training.progress import Progress

__all__ = ["Outcome", "download"]

MAX_IMAGE_BYTES = 64 << 20
"""Scryfall's PNG files, the largest of all, have 1 to 2 MB."""

FAILURES_IN_A_ROW = 25
"""Then the source is taken to refuse everything, and is left alone."""


@dataclass(slots=True)
class Outcome:
    """What a run did.

    Attributes:
        pictures: in the folder now.
        fetched: of them, in this run.
        pictureless: cards that the source has no picture of.
        faults: what could not be downloaded.
    """

    pictures: int = 0
    fetched: int = 0
    pictureless: list[Fault] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def download(
    adapter: Adapter,
    session: Session,
    out: Path,
    *,
    limit: int | None = None,
    workers: int = 4,
    progress: Progress = lambda *_: None,
) -> Outcome:
    """Downloads a source's cards into a folder, the first ``limit`` of them that have a picture.

    Raises:
        Failure: the source can't be listed or gives no cards, the network is down, the disk is full. What came until
            then is in the manifest, and the next run goes on from there.
    """
    outcome = Outcome()
    try:
        with opened_store(out, adapter) as store:
            try:
                cards = _list(adapter, session, store, outcome, limit, progress)
                _fetch_all(cards, session, store, outcome, workers, progress)
            finally:
                outcome.pictures = store.finish(outcome.faults + outcome.pictureless)
    except OSError as error:
        raise _explained(error, out) from error
    return outcome


def _explained(error: OSError, out: Path) -> Exception:
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return error
    return Failure(f"the disk of {out} is full; make room and run the same command again: it goes on where it stopped")


def _list(
    adapter: Adapter, session: Session, store: Store, outcome: Outcome, limit: int | None, progress: Progress
) -> list[Card]:
    cards: dict[str, Card] = {}
    for listed in _checked(adapter.cards(session, store.workspace)):
        if isinstance(listed, Fault):
            outcome.faults.append(listed)
        elif listed.image_url is None:
            outcome.pictureless.append(Fault(listed.card_id, "the source has no picture of it"))
        elif cards.setdefault(listed.card_id, listed).image_url != listed.image_url:
            why = f"the id occurs twice; the picture at {cards[listed.card_id].image_url} is kept"
            outcome.faults.append(Fault(listed.card_id, why, listed.image_url))
        progress("listing", len(cards), limit)
        if limit is not None and len(cards) >= limit:
            break
    if not cards and not outcome.faults:
        raise Failure(f"{adapter.name} lists no card with a picture; check --set (ids, such as base1) and --language")
    return list(cards.values())


def _checked(listed: Iterator[Listed]) -> Iterator[Listed]:
    """Cards that no catalog would take become faults here."""
    for item in listed:
        if isinstance(item, Card):
            try:
                check_card(item.card_id, item.meta)
            except InputError as error:
                yield Fault(str(item.card_id), str(error), item.image_url)
                continue
        yield item


def _fetch_all(
    cards: list[Card], session: Session, store: Store, outcome: Outcome, workers: int, progress: Progress
) -> None:
    failures = 0
    with ThreadPoolExecutor(workers) as pool:
        running: dict[Future[bool], Card] = {}
        left = iter(cards)
        done = 0
        try:
            while True:
                while len(running) < 2 * workers and (card := next(left, None)):
                    running[pool.submit(_fetch, card, session, store)] = card
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    card = running.pop(future)
                    failures = _settle(card, future, outcome, failures)
                    done += 1
                    progress("downloading", done, len(cards))
        except BaseException:
            session.stop()  # those in the pool end at their next wait or chunk
            pool.shutdown(cancel_futures=True)
            raise


def _settle(card: Card, future: Future[bool], outcome: Outcome, failures: int) -> int:
    """Counts one card's end; returns how many failed in a row."""
    try:
        outcome.fetched += future.result()
    except (HttpError, ValueError) as error:
        outcome.faults.append(Fault(card.card_id, str(error), card.image_url))
        if failures + 1 == FAILURES_IN_A_ROW:
            raise Failure(
                f"{FAILURES_IN_A_ROW} pictures in a row could not be downloaded, the last since {error}; nothing "
                "more is asked for: look whether the source has moved or refuses you, then run the same command again"
            ) from error
        return failures + 1
    return 0


def _fetch(card: Card, session: Session, store: Store) -> bool:
    """Whether the picture had to be downloaded."""
    session.raise_if_stopped()
    if store.holds(card):
        store.update(card)
        return False
    name = store.name_of(card)
    assert card.image_url is not None
    part = fetch(session, card.image_url, store.parts, name, max_bytes=MAX_IMAGE_BYTES)
    store.keep(card, name, part)
    return True
