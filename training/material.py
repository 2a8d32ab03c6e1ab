"""The cards that a step calibrates on, searches among, and asks for: of a folder, or of a training's config."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.data import CardImage, load_folder
from training.queries import thinned
from training.references import examined
from training.settings import read_settings

__all__ = ["Material", "add_arguments", "read_material"]


@dataclass(frozen=True, slots=True)
class Material:
    """Cards by their use.

    Attributes:
        seen: to calibrate on; none shows the face of a card that is asked for.
        catalog: what is searched.
        asked: of the catalog, those that are photographed. No training saw them, if a config says what it saw.
    """

    seen: Sequence[CardImage]
    catalog: Sequence[CardImage]
    asked: Sequence[CardImage]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --images, --config and --data to a command."""
    parser.add_argument("--images", type=Path, help="folder of cards, or of one folder a card")
    parser.add_argument("--config", type=Path, help="instead: a training's config, for its cards")
    parser.add_argument("--data", type=Path, help="folder that the config's paths start from")


def read_material(options: argparse.Namespace, count: int) -> Material:
    """The cards that the options of `add_arguments` name.

    Args:
        options: of the command.
        count: cards to ask for, at most; evenly over sources, and over the cards of each.

    Raises:
        ValueError: neither or both are named, images can't be used, or they are too few.
        OSError: something can't be read.
    """
    if options.images is not None and options.config is None:
        catalog = load_folder(options.images)
        return _without_asked(catalog, thinned(catalog, count) if count else [])
    if options.images is not None or options.config is None or options.data is None:
        raise ValueError("name the cards: either --images FOLDER, or --config and --data for those of a training")
    sources = [source for source in examined(read_settings(options.config), options.data) if not source.other_language]
    each = -(-count // len(sources))
    asked = [card for source in sources for card in (thinned(source.queries, each) if each else [])]
    return _without_asked([card for source in sources for card in source.cards], asked)


def _without_asked(catalog: Sequence[CardImage], asked: Sequence[CardImage]) -> Material:
    faces = {card.face for card in asked}
    seen = [card for card in catalog if card.face not in faces]
    if not seen:
        raise ValueError(
            f"{len(catalog)} cards are too few to calibrate on some and ask for {len(asked)}; lower --count"
        )
    return Material(seen, catalog, asked)
