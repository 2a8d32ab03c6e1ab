"""Measures tracking on simulated clips of cards that no training saw, and says what it counted wrongly.

    python -m training.evaluate_tracking --data DATA --clips 42 --harder 20 --devices 5 --out REPORT

Cards are put down, slid, turned, swapped under a hand, laid beside their copies, covered, and several at once
(`clip_scripts.py`); one in ten is not in the catalog. The catalog has one card of each face of the sources of the
bundled model's training. The harder clips (`harder_scripts.py`) are counted apart, and of them those of printings of
one artwork, whose catalog has two languages and no pictures: there it is right to name neither.

`--devices` scores the same clips as a slow device sees them: it needs that part of a second for a frame in the mean,
sometimes far longer (the times have an exponential distribution, so that frames are dropped in bursts), and takes the
newest frame when it is done. The clips' camera gives 15 frames/s.

REPORT gets report.md, report.json, tracking.png (with matplotlib) and the encoded catalog.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cardrec import Recognizer, Tracker
from training.clip_scripts import FRAMES_PER_SECOND, SCRIPTS
from training.clips import Clip, make_clip
from training.data import CardImage
from training.harder_scripts import HARDER, TWINS
from training.retrieval import wilson
from training.tracking_cards import Cards, choose_cards, open_recognizer
from training.tracking_scoring import CardScore, Seen, Tally, score_clip, tally

__all__ = ["Outcome", "evaluate", "film", "film_twins", "observe", "report", "slowed"]

SEED = 60
TUNING_SEED = 61
STRANGER = 0.1
"""Chance that a card of a clip is not in the catalog."""

FACES = 9  # at most in one clip

Filmed = tuple[Clip, list[str | None]]
"""A clip, and the card_id of each of its physical cards; None for those that the catalog lacks."""


@dataclass(slots=True)
class Outcome:
    """What became of the cards of some clips.

    Attributes:
        scores: of each physical card.
        nobody: named tracks that were on no card.
        clips, frames: how many; the dropped ones included.
        dropped: frames that nobody read.
    """

    scores: list[CardScore] = field(default_factory=list)
    nobody: int = 0
    clips: int = 0
    frames: int = 0
    dropped: int = 0


def film(cards: Cards, kinds: Sequence[str], count: int, *, seed: int, seconds: float = 0.0) -> Iterator[Filmed]:
    """Clips, each kind of script in turn."""
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
        clip_rng = np.random.default_rng([seed, number])
        clip = make_clip(kinds[number % len(kinds)], [card.pixels for card in filmed], rng=clip_rng, seconds=seconds)
        yield clip, [filmed[face].face if known[face] else None for face in clip.faces]


def film_twins(cards: Cards, count: int, *, seed: int, seconds: float = 0.0) -> Iterator[Filmed]:
    """Clips of two printings of one artwork, and one of another."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(cards.twins))
    for number in range(count):
        first, second = (cards.twins[order[(2 * number + n) % len(order)]] for n in range(2))
        filmed = [*first, second[int(rng.integers(2))]]
        clip_rng = np.random.default_rng([seed, number])
        clip = make_clip(TWINS, [card.pixels for card in filmed], rng=clip_rng, seconds=seconds)
        yield clip, [filmed[face].face for face in clip.faces]


def observe(clip: Clip, recognizer: Recognizer) -> Iterator[Seen]:
    """Each frame as it was read, with its truth; frames are read as a stream reads them."""
    frames = list(clip.frames())
    with recognizer.stream(frame.pixels for frame in frames) as results:
        for result in results:
            frame = frames[result.index]
            yield Seen(frame.time_s, result, frame.quads_px, frame.visible)


def slowed(frames: Sequence[Seen], per_second: float, rng: np.random.Generator) -> list[Seen]:
    """The frames, of which a device that reads so many in a second drops the others."""
    seen, free_s = [], 0.0
    for frame in frames:
        dropped = frame.time_s < free_s
        seen.append(replace(frame, dropped=dropped))
        if not dropped:
            free_s = frame.time_s + rng.exponential(1 / per_second)
    return seen


def evaluate(
    clips: Iterator[Filmed], recognizer: Recognizer, devices: Sequence[float] = (), *, seed: int = SEED
) -> list[Outcome]:
    """What became of the clips' cards, first with all frames, then for each of the devices."""
    outcomes = [Outcome() for _ in range(1 + len(devices))]
    for number, (clip, names) in enumerate(clips):
        frames = list(observe(clip, recognizer))
        read = [frames, *(slowed(frames, each, np.random.default_rng([seed, number])) for each in devices)]
        found = [
            _count(outcome, clip, names, seen, recognizer.tracker())
            for outcome, seen in zip(outcomes, read, strict=True)
        ]
        bad = [score.name for score in found[0] if not score.right or score.switches or score.twice]
        told(f"clip {number + 1}: {clip.kind}, {len(names)} cards" + (f", not as it should: {bad}" if bad else ""))
    return outcomes


def _count(
    outcome: Outcome, clip: Clip, names: Sequence[str | None], frames: Sequence[Seen], tracker: Tracker
) -> list[CardScore]:
    """Adds a clip's cards, and returns them."""
    found, ghosts = score_clip(clip.kind, names, frames, tracker)
    outcome.scores += found
    outcome.nobody += ghosts
    outcome.clips += 1
    outcome.frames += len(frames)
    outcome.dropped += sum(frame.dropped for frame in frames)
    return found


def report(outcome: Outcome, references: int) -> str:
    """The table, in Markdown."""
    kinds = [*dict.fromkeys(score.kind for score in outcome.scores), "all"]
    read = f", {outcome.dropped} of them dropped" if outcome.dropped else ""
    lines = [
        (
            f"{outcome.clips} clips, {outcome.frames} frames at {FRAMES_PER_SECOND} frames/s{read}, "
            f"{len(outcome.scores)} physical cards, {references} references."
        ),
        "",
        (
            "| clips | cards | right | wrong | not named | counted twice | switches per 50 | strangers named "
            "| frames to decision, median / 95 % |"
        ),
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [_row(kind, tally([s for s in outcome.scores if kind in {"all", s.kind}])) for kind in kinds]
    return "\n".join([*lines, "", f"Named tracks on no card at all: {outcome.nobody}.", ""])


def _row(kind: str, found: Tally) -> str:
    decisions = found.decisions or (0,)
    median, late = np.percentile(decisions, [50, 95])
    low, high = (100 * each for each in wilson(found.right, max(1, found.cards)))
    cells = [
        kind, found.cards, f"{found.accuracy:.1%} ({low:.1f}-{high:.1f})", found.wrong, found.missed, found.twice,
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
    parser.add_argument("--clips", type=int, default=42, help="how many; seven scripts take turns")
    parser.add_argument("--harder", type=int, default=0, help="how many of the harder ones; five scripts take turns")
    parser.add_argument(
        "--devices", type=float, nargs="*", default=[], help="frames/s of slow devices to score as well"
    )
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
    outcomes = measure(cards, options)
    texts = [f"{name}\n\n{report(outcome, references)}" for name, (outcome, references) in outcomes.items()]
    facts: dict[str, Any] = {name: asdict(outcome) for name, (outcome, _) in outcomes.items()}
    (options.out / "report.json").write_text(json.dumps(facts, indent=1) + "\n")
    (options.out / "report.md").write_text("\n".join(texts))
    print("\n".join(texts))
    first, _ = next(iter(outcomes.values()))
    if not plot(first.scores, options.out / "tracking.png"):
        print("no plot: matplotlib is not installed")


def measure(cards: Cards, options: argparse.Namespace) -> dict[str, tuple[Outcome, int]]:
    """The outcome of each series of clips on each device, and how many references there were."""
    seed = TUNING_SEED if options.tuning else SEED
    twins = options.harder // len(HARDER) if cards.twins else 0
    harder = [kind for kind in HARDER if kind != TWINS]
    both = cards.catalog + cards.printings
    series = {
        "clips": (options.clips, film(cards, list(SCRIPTS), options.clips, seed=seed), cards.catalog),
        "harder clips": (options.harder, film(cards, harder, options.harder - twins, seed=seed + 10), cards.catalog),
        "printings of one artwork": (twins, film_twins(cards, twins, seed=seed + 20), both),
    }
    outcomes: dict[str, tuple[Outcome, int]] = {}
    for name, (count, clips, references) in series.items():
        if not count:
            continue
        with open_recognizer(references, options.out, model=options.model, threads=options.threads) as recognizer:
            found = evaluate(clips, recognizer, options.devices, seed=seed)
        names = [name, *(f"{name}, {device:g} frames/s" for device in options.devices)]
        outcomes |= {each: (outcome, len(references)) for each, outcome in zip(names, found, strict=True)}
    return outcomes


if __name__ == "__main__":
    main()
