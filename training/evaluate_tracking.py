"""Measures tracking on simulated clips of cards that no training saw, and says what it counted wrongly.

    python -m training.evaluate_tracking --data DATA --clips 49 --out REPORT

Cards are put down, slid, turned, swapped under a hand, laid beside their copies, covered, and several at once
(`clip_scripts.py`); one in ten is not in the catalog. The catalog has one card of each face of the sources of the
bundled model's training. REPORT gets report.md, report.json, tracking.png (with matplotlib) and the encoded catalog.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cardrec import Recognizer, Tracker
from training.clip_scripts import FRAMES_PER_SECOND, SCRIPTS
from training.clips import Clip, make_clip
from training.data import CardImage
from training.tracking_cards import Cards, choose_cards, open_recognizer
from training.tracking_scoring import CardScore, Seen, Tally, score_clip, tally

__all__ = ["evaluate", "film", "observe", "report"]

SEED = 60
TUNING_SEED = 61
STRANGER = 0.1
"""Chance that a card of a clip is not in the catalog."""

FACES = 9  # at most in one clip


def film(cards: Cards, count: int, *, seed: int, seconds: float = 0.0) -> Iterator[tuple[Clip, list[str | None]]]:
    """Clips, each script in turn, with the card_id of each physical card; None for those the catalog lacks."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(cards.known))
    taken = 0
    for number in range(count):
        filmed: list[CardImage] = []
        known: list[bool] = []
        for _ in range(FACES):
            known.append(not cards.strangers or rng.random() >= STRANGER)
            if known[-1]:
                filmed.append(cards.known[order[taken % len(order)]])
                taken += 1
            else:
                filmed.append(cards.strangers[int(rng.integers(len(cards.strangers)))])
        kind = list(SCRIPTS)[number % len(SCRIPTS)]
        clip_rng = np.random.default_rng([seed, number])
        clip = make_clip(kind, [card.pixels for card in filmed], rng=clip_rng, seconds=seconds)
        yield clip, [filmed[face].face if known[face] else None for face in clip.faces]


def observe(clip: Clip, recognizer: Recognizer) -> Iterator[Seen]:
    """Each frame as it was read, with its truth; frames are read as a stream reads them."""
    frames = list(clip.frames())
    with recognizer.stream(frame.pixels for frame in frames) as results:
        for result in results:
            frame = frames[result.index]
            yield Seen(frame.time_s, result, frame.quads_px, frame.visible)


def evaluate(
    cards: Cards, recognizer: Recognizer, count: int, *, seed: int, seconds: float = 0.0
) -> tuple[list[CardScore], int, int]:
    """The score of each physical card, how many named tracks were on no card, and how many frames there were."""
    scores: list[CardScore] = []
    nobody = frames = 0
    for number, (clip, names) in enumerate(film(cards, count, seed=seed, seconds=seconds)):
        found, ghosts = score_clip(clip.kind, names, observe(clip, recognizer), Tracker())
        scores += found
        nobody += ghosts
        frames += clip.length
        bad = [card.name for card in found if not card.right or card.switches or card.twice]
        told(
            f"clip {number + 1}/{count}: {clip.kind}, {len(found)} cards"
            + (f", not as it should: {bad}" if bad else "")
        )
    return scores, nobody, frames


def report(scores: Sequence[CardScore], nobody: int, frames: int, clips: int, references: int) -> str:
    """The table, in Markdown."""
    kinds = [*dict.fromkeys(score.kind for score in scores), "all"]
    lines = [
        (
            f"{clips} clips, {frames} frames at {FRAMES_PER_SECOND} frames/s, {len(scores)} physical cards, "
            f"{references} references."
        ),
        "",
        (
            "| clips | cards | right | wrong | not named | counted twice | switches per 50 | strangers named "
            "| frames to decision, median / 95 % |"
        ),
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [_row(kind, tally([s for s in scores if kind in {"all", s.kind}])) for kind in kinds]
    return "\n".join([*lines, "", f"Named tracks on no card at all: {nobody}.", ""])


def _row(kind: str, found: Tally) -> str:
    decisions = found.decisions or (0,)
    median, late = np.percentile(decisions, [50, 95])
    cells = [
        kind, found.cards, f"{found.accuracy:.1%}", found.wrong, found.missed, found.twice,
        f"{found.switches_of_fifty:.2f}", f"{found.strangers_named} of {found.strangers}", f"{median:.0f} / {late:.0f}",
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def plot(scores: Sequence[CardScore], path: Path) -> bool:
    """How many cards are named after how many frames, by kind of clip; False without matplotlib."""
    try:
        import matplotlib as mpl
    except ImportError:
        return False
    mpl.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for kind in dict.fromkeys(score.kind for score in scores):
        known = [score for score in scores if score.kind == kind and score.name]
        late = sorted(s.frames_to_decision for s in known if s.frames_to_decision is not None)
        axes.step(late, 100 * np.arange(1, len(late) + 1) / len(known), where="post", label=f"{kind} ({len(known)})")
    axes.set(
        xlabel="frames since the card was to be seen", ylabel="cards named rightly, %", xlim=(0, 45), ylim=(0, 101)
    )
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return True


def told(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", flush=True)


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that the config's paths start from")
    parser.add_argument("--out", type=Path, required=True, help="folder of the report")
    parser.add_argument("--clips", type=int, default=49, help="how many; seven scripts take turns")
    parser.add_argument("--model", type=Path, help="folder of the bundle; without it the bundled one")
    parser.add_argument(
        "--config", type=Path, default=Path("training/configs/third.toml"), help="of its training, for what it held out"
    )
    parser.add_argument("--tuning", action="store_true", help="film the cards that the constants were chosen with")
    parser.add_argument("--threads", type=int, default=1, help="of the encoder; 0: all cores")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    options = arguments(given)
    cv2.setNumThreads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    cards = choose_cards(options.config, options.data, tuning=options.tuning)
    told(f"{len(cards.catalog)} references, {len(cards.known)} cards to film, {len(cards.strangers)} strangers")
    seed = TUNING_SEED if options.tuning else SEED
    with open_recognizer(cards, options.out, model=options.model, threads=options.threads) as recognizer:
        scores, nobody, frames = evaluate(cards, recognizer, options.clips, seed=seed)
    text = report(scores, nobody, frames, options.clips, len(cards.catalog))
    facts: dict[str, Any] = {"frames": frames, "nobody": nobody, "cards": [asdict(score) for score in scores]}
    (options.out / "report.json").write_text(json.dumps(facts, indent=1) + "\n")
    (options.out / "report.md").write_text(text)
    print(text)
    if not plot(scores, options.out / "tracking.png"):
        print("no plot: matplotlib is not installed")


if __name__ == "__main__":
    main()
