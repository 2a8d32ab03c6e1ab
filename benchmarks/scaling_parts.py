"""What `benchmarks.scaling` measures, part by part; each gives a row for each setting."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import islice, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers_data import isotropic, real_like
from benchmarks.scaling_timing import Timed, in_turn, stages, whole
from cardrec import Catalog, Recognizer
from cardrec.bench import camera_frame
from cardrec.embed import Embedder, open_encoder
from cardrec.encode import Encoder
from cardrec.model import Model
from cardrec.recognizer import DEMO_CATALOG
from cardrec.samples import known_sample
from training.demo import CATALOG_CARDS, CATALOG_SEED
from training.render import deck, render
from training.simulate import Level, simulate_crop, simulate_frame

__all__ = ["FULL", "KINDS", "PARTS", "QUICK", "Plan", "catalog_of", "frames_of"]

Picture = NDArray[np.uint8]
Vectors = NDArray[np.float32]
Rows = list[dict[str, Any]]

KINDS = ("like embeddings", "isotropic")
SIZES = (1_000, 10_000, 17_592, 100_000, 1_000_000)
CARDS = (1, 2, 4, 9, 18)
"""In a frame; nine are a binder page, eighteen two."""
THREADS = (1, 2)
QUERIES = (1, 2, 4, 9, 18)
SEARCHED = 17_592
"""Rows that several queries at once search."""
BATCHES = (1, 2, 4, 8, 16)
MANY = 18
"""``max_cards`` where frames show several."""
NEAREST = 0.84
"""Cosine: what the card of the frame has to its nearest neighbour among the demo's own."""
SEED = 95


class Plan(NamedTuple):
    """How much is measured: turns of each setting, frames of each number of cards, the settings themselves."""

    rounds: int
    frames: int
    sizes: Sequence[int]
    cards: Sequence[int]
    searched: int
    queries: Sequence[int]
    batches: Sequence[int]


FULL = Plan(60, 4, SIZES, CARDS, SEARCHED, QUERIES, BATCHES)
QUICK = Plan(3, 1, (1_000, 2_000), (1, 2), 2_000, (1, 2), (1, 2))


def rows_of(kind: str, size: int, demo: NDArray[np.float32], shown: NDArray[np.float32]) -> Iterator[Vectors]:
    """The demo's rows, then others until there are ``size``, in chunks; none of those is nearer than `NEAREST` to
    ``shown``, a demo row: with a likeness in the catalog the card is not sure, and is read twice."""
    rng = np.random.default_rng([SEED, KINDS.index(kind)])
    yield demo[:size]
    left = size - len(demo)
    while left > 0:
        like_demo = islice(real_like(demo, len(demo) + 2 * left, rng), 1, None)  # the first chunk is the demo itself
        more = like_demo if kind == KINDS[0] else isotropic(left, rng)
        for chunk in more:
            others = chunk[chunk @ shown < NEAREST][:left]
            yield others
            left -= len(others)
            if left <= 0:
                return


def demo_rows() -> tuple[list[str], Vectors, Mapping[str, Any] | None]:
    """Ids, vectors and calibration of the demo catalog."""
    with Catalog.open(DEMO_CATALOG) as demo:
        state, rows = demo.snapshot(), np.arange(len(demo))
        return list(state.ids(rows.tolist())), state.vectors(rows), demo.calibration


def shown_card() -> str:
    """The card in the frame that is identified in catalogs of all sizes, which `camera_frame` gives."""
    sample = known_sample()
    assert sample is not None and sample.card_ids[0] is not None
    return sample.card_ids[0]


def catalog_of(kind: str, size: int, model: Model, folder: Path) -> Path:
    """The catalog of that kind and size, written if it is not there; its rows go through a file, not through memory."""
    path = folder / f"{kind.replace(' ', '-')}-{size}-{model.fingerprint[:12]}.cardrec"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    ids, known, calibration = demo_rows()
    scratch, beside = path.with_suffix(".npy"), path.with_suffix(".part")
    file = np.lib.format.open_memmap(scratch, mode="w+", dtype=np.float32, shape=(size, model.dimension))
    begun = 0
    for chunk in rows_of(kind, size, known, known[ids.index(shown_card())]):
        file[begun : begun + len(chunk)] = chunk
        begun += len(chunk)
    ids = ids[:size] + [f"other-{row}" for row in range(len(ids), size)]
    Catalog.from_vectors(
        beside,
        ids,
        file,
        fingerprint=model.fingerprint,
        preprocessing_hash=model.preprocessing_hash,
        overwrite=True,
        calibration=calibration,
    ).close()
    scratch.unlink()
    beside.rename(path)
    return path


def measure_catalogs(plan: Plan, model: Model, folder: Path) -> Rows:
    """One card, max_cards=1: identify in catalogs of each kind and size."""
    frame = camera_frame()
    encoder = open_encoder(model, backend="onnx", threads=1)
    with ExitStack() as stack:
        actions: dict[Any, Callable[[], Timed]] = {}
        for kind, size in product(KINDS, plan.sizes):
            catalog = stack.enter_context(Catalog.open(catalog_of(kind, size, model, folder)))
            recognizer = stack.enter_context(Recognizer(catalog, encoder=encoder))
            actions[kind, size] = lambda r=recognizer: stages(r.identify(frame))  # type: ignore[misc]
        taken = in_turn(actions, plan.rounds)
    return [{"kind": kind, "cards": size} | each for (kind, size), each in taken.items()]


def frames_of(count: int, plan: Plan) -> list[Picture]:
    """Frames with so many cards of the demo deck: on a table, or from five on in binder pages."""
    specs = deck(CATALOG_CARDS, seed=CATALOG_SEED)
    made = []
    for number in range(plan.frames):
        rng = np.random.default_rng([SEED, count, number])
        chosen = rng.choice(len(specs), count, replace=False).tolist()
        level: Level = "easy" if count < 5 else "page"
        cards = [render(specs[place], height_px=320) for place in chosen]
        made.append(simulate_frame(cards, rng=rng, level=level).pixels)
    return made


def measure_cards(plan: Plan, model: Model, _: Path) -> Rows:
    """Frames of several cards among the demo's 1,000, max_cards=18; those of one card with max_cards=1 as well."""
    frames = {count: frames_of(count, plan) for count in plan.cards}
    with Recognizer(model=model, threads=1) as recognizer:
        actions = {
            (count, most, number): (lambda f=frame, m=most: stages(recognizer.identify(f, max_cards=m)))
            for count, of_count in frames.items()
            for most in ((1, MANY) if count == 1 else (MANY,))
            for number, frame in enumerate(of_count)
        }
        taken = in_turn(actions, max(1, plan.rounds // 4), together=lambda key: key[:2])
    return [{"cards_in_frame": count, "max_cards": most} | each for (count, most), each in taken.items()]


def measure_threads(plan: Plan, model: Model, _: Path) -> Rows:
    """The same frames, fewest and most cards of a page, with one thread of the encoder and with two."""
    counts = [count for count in plan.cards if count in (1, 2, 9)]
    frames = {count: frames_of(count, plan)[0] for count in counts}
    with ExitStack() as stack:
        actions = {}
        for threads in THREADS:
            opened = stack.enter_context(Recognizer(model=model, threads=threads, max_cards=MANY))
            for count, frame in frames.items():
                actions[threads, count] = lambda r=opened, f=frame: stages(r.identify(f))
        taken = in_turn(actions, plan.rounds)
    return [{"threads": threads, "cards_in_frame": count} | each for (threads, count), each in taken.items()]


def measure_searches(plan: Plan, model: Model, folder: Path) -> Rows:
    """Several queries in one call of `Catalog.search`, five cards each: photos of cards of the demo deck."""
    specs = deck(CATALOG_CARDS, seed=CATALOG_SEED)[: max(plan.queries)]
    photos = [
        simulate_crop(
            render(spec, height_px=320), rng=np.random.default_rng([SEED, n]), level="easy", corner_error=0.01
        )
        for n, spec in enumerate(specs)
    ]
    with Embedder(open_encoder(model, threads=1), color="rgb") as embedder:
        queries = embedder.encode(photos)
    with ExitStack() as stack:
        actions: dict[Any, Callable[[], Timed]] = {}
        for kind in KINDS:
            catalog = stack.enter_context(Catalog.open(catalog_of(kind, plan.searched, model, folder)))
            for count in plan.queries:
                actions[kind, count] = whole(partial(catalog.search, queries[:count], 5), of=count)
        taken = in_turn(actions, 4 * plan.rounds)
    return [{"kind": kind, "cards": plan.searched, "queries": count} | each for (kind, count), each in taken.items()]


def measure_batches(plan: Plan, model: Model, _: Path) -> Rows:
    """Cards encoded together, and frames of one card given to `identify_batch` together, per card."""
    frame = camera_frame()
    with ExitStack() as stack:
        actions: dict[Any, Callable[[], Timed]] = {}
        for threads in THREADS:
            encoder = open_encoder(model, backend="onnx", threads=threads)
            recognizer = stack.enter_context(Recognizer(encoder=encoder))
            for count in plan.batches:
                actions["encode", threads, count] = whole(partial(encode, encoder, count), of=count)
                actions["identify_batch", threads, count] = whole(
                    partial(recognizer.identify_batch, [frame] * count), of=count
                )
        taken = in_turn(actions, max(1, plan.rounds // 3))
    return [{"what": what, "threads": threads, "batch": count} | each for (what, threads, count), each in taken.items()]


def encode(encoder: Encoder, count: int) -> None:
    with encoder.slot() as slot:
        slot.submit(count)
        slot.wait()


PARTS: dict[str, Callable[[Plan, Model, Path], Rows]] = {
    "catalog": measure_catalogs,
    "cards": measure_cards,
    "threads": measure_threads,
    "searches": measure_searches,
    "batches": measure_batches,
}
