"""What a source lists, without any picture being downloaded."""

from __future__ import annotations

from pathlib import Path

from card_server import Clock

from training.download.cards import Adapter, Card, Fault, Listed
from training.download.session import Session


def listed(adapter: Adapter, workspace: Path) -> list[Listed]:
    clock = Clock()
    with Session(adapter.rates, 1000.0, 1, sleep=clock.sleep, clock=clock) as session:
        return list(adapter.cards(session, workspace))


def ids(items: list[Listed]) -> list[str]:
    return [item.card_id for item in items if isinstance(item, Card)]


def faults(items: list[Listed]) -> list[tuple[str, str]]:
    return [(item.what, item.why) for item in items if isinstance(item, Fault)]
