"""What each process of the latency gate does: it times stages of the cardrec that is installed beside it.

    python -I benchmarks/gate_worker.py SCENE CATALOGS --core 1

answers a line of JSON that says what it is, then one for each line on stdin, which names a stage: `{"ms": 3.1}`, the
shortest of some calls. SCENE and CATALOGS are made by `--make-scene` and `--make-catalogs` instead of `--core`.

One file for both sides, old commits among them: it needs the standard library, NumPy, and of cardrec what is public or
as old as its stages; `scan`, `prefix` and `rescore` use `cardrec.search` and `cardrec.pruning`. A stage that a
version can't do is answered with the reason, `{"missing": "..."}`.
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

CARDS = 17_592
"""As in `benchmarks.conftest`, whose catalogs these are."""
DIMENSION = 768
QUERIES = {"isotropic": 2, "decaying": 8}
"""Each call searches for all of them: the shortest of many calls would else be that of the easiest query. Random
vectors are all as hard, and few of them at a time more likely have the memory for themselves."""
TOGETHER = 8
"""Queries that are searched for in one call of a kernel's stage."""
FRAMES = 8
"""In each stream."""
DECISIONS = 200
"""In each call: one takes 2 us, and reading the clock 0.1."""

IMPORT = """
import time, numpy
begun = time.perf_counter()
from cardrec import Catalog, Recognizer
print((time.perf_counter() - begun) * 1e3)
"""

Action = Callable[[], float]
"""Does it once, and says how many milliseconds that took."""
Vectors = Callable[[int, int], NDArray[np.float32]]
"""Makes so many vectors from a seed."""


class Scene:
    """What the stages work on.

    Args:
        scene: folder with `frame.npy`, (720, 1280, 3) uint8 BGR, and `quads.npy`, (1, 4, 2) float32; the same for all.
        catalogs: folder with two catalogs that this version has written.
    """

    def __init__(self, scene: Path, catalogs: Path) -> None:
        self.catalogs = catalogs
        self.pixels: NDArray[np.uint8] = np.load(scene / "frame.npy")
        self.quads_px: NDArray[np.float32] = np.load(scene / "quads.npy")
        self.crop = np.zeros((1, 224, 224, 3), np.uint8)

    @functools.cached_property
    def recognizer(self) -> Any:
        """The bundled model and catalog, one thread."""
        from cardrec import Recognizer

        return Recognizer(threads=1, backend="onnx")

    def frame(self) -> Any:
        from cardrec.image import load

        return load(self.pixels)


def timed(action: Callable[[], object], per: int = 1) -> Action:
    """The time of a call, in milliseconds, divided by what it does so many times."""

    def once() -> float:
        begun = time.perf_counter()
        action()
        return (time.perf_counter() - begun) * 1e3 / per

    return once


def detect(scene: Scene) -> Action:
    from cardrec.detect import OutlineDetector

    detector, frame = OutlineDetector(), scene.frame()
    return timed(lambda: detector.detect(frame, max_cards=1))


def rectify(scene: Scene) -> Action:
    from cardrec.rectify import rectify

    frame = scene.frame()
    return timed(lambda: rectify(frame, scene.quads_px, scene.crop))


def resize(scene: Scene) -> Action:
    from cardrec.rectify import whole

    frame = scene.frame()
    return timed(lambda: whole(frame, scene.crop[0]))


def encode(scene: Scene) -> Action:
    """A picture of the model's size, so that there is next to nothing to resize."""
    picture = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    return timed(lambda: scene.recognizer.encode(picture))


def search(kind: str, scene: Scene) -> Action:
    from cardrec import Catalog

    catalog = Catalog.open(scene.catalogs / f"{kind}.cardrec")
    queries = VECTORS[kind](QUERIES[kind], 1)

    def every() -> None:
        for query in queries:
            catalog.search(query, 5)

    return timed(every, QUERIES[kind])


def scan(scene: Scene) -> Action:  # noqa: ARG001 - as the other stages
    """Nothing is pruned and few rows are scored: the scan of int8 codes, of a matrix that stays in the cache."""
    return _kernel(isotropic, 2048, k=1)


def prefix(scene: Scene) -> Action:  # noqa: ARG001
    """Prefixes leave few rows: reading the prefixes, and projecting the query, are most of it."""
    return _kernel(decaying, 16384, k=1, width=64)


def rescore(scene: Scene) -> Action:  # noqa: ARG001
    """All rows are scored exactly."""
    return _kernel(isotropic, 512, k=512)


def _kernel(vectors: Vectors, rows: int, *, k: int, width: int = 0) -> Action:
    """A search without catalog or ids, of which one kernel takes a large part; `width` coordinates are the prefix."""
    from cardrec.pruning import Basis
    from cardrec.search import Matrix, quantise

    basis = Basis(np.eye(width, DIMENSION, dtype=np.float32), 0.0) if width else None
    stored = vectors(rows, 0)
    stored /= np.linalg.norm(stored, axis=1, keepdims=True)
    matrix = Matrix([quantise(stored, basis)], basis=basis)
    queries = vectors(TOGETHER, 1)
    return timed(lambda: matrix.search(queries, k=k), TOGETHER)


def decide(scene: Scene) -> Action:  # noqa: ARG001
    from cardrec import Model
    from cardrec.decide import Calibration, decide

    calibration = Calibration.from_numbers(Model.load().calibration)
    scores = [0.99, 0.5, 0.4, 0.3, 0.2]

    def often() -> None:
        for _ in range(DECISIONS):
            decide(scores, calibration)

    return timed(often, DECISIONS)


def open_catalog(scene: Scene) -> Action:
    from cardrec import Catalog

    path = scene.catalogs / "decaying.cardrec"
    return timed(lambda: Catalog.open(path).close())


def import_package(scene: Scene) -> Action:  # noqa: ARG001
    """What `from cardrec import Catalog, Recognizer` takes in a fresh process, beyond NumPy's own import."""

    def once() -> float:
        command = [sys.executable, "-I", "-c", IMPORT]
        return float(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)

    return once


def identify(scene: Scene) -> Action:
    return timed(lambda: scene.recognizer.identify(scene.pixels))


def stream(scene: Scene) -> Action:
    def run() -> None:
        with scene.recognizer.stream([scene.pixels] * FRAMES) as results:
            assert sum(1 for _ in results) == FRAMES

    return timed(run, FRAMES)


class Stage(NamedTuple):
    """How a stage is set up, and how many calls are timed each time that it is asked for: about 100 ms of them."""

    make: Callable[[Scene], Action]
    calls: int


STAGES = {
    "detect": Stage(detect, 30),
    "rectify": Stage(rectify, 100),
    "resize": Stage(resize, 150),
    "encode": Stage(encode, 10),
    "scan": Stage(scan, 200),
    "prefix": Stage(prefix, 200),
    "rescore": Stage(rescore, 60),
    "search-isotropic": Stage(functools.partial(search, "isotropic"), 80),
    "search-decaying": Stage(functools.partial(search, "decaying"), 100),
    "decide": Stage(decide, 100),
    "open": Stage(open_catalog, 40),
    "import": Stage(import_package, 3),
    "identify": Stage(identify, 10),
    "stream": Stage(stream, 2),
}


def isotropic(count: int, seed: int) -> NDArray[np.float32]:
    """Random directions: nothing can be pruned."""
    return np.random.default_rng(seed).standard_normal((count, DIMENSION), np.float32)


def decaying(count: int, seed: int) -> NDArray[np.float32]:
    """Energy in few directions, as that of embeddings: `benchmarks.conftest.decaying_vectors`."""
    return isotropic(count, seed) * np.float32(0.95) ** np.arange(DIMENSION, dtype=np.float32)


VECTORS: dict[str, Vectors] = {"isotropic": isotropic, "decaying": decaying}


def make_scene(folder: Path) -> None:
    """The frame of a bundled photo, and the outline in it as this version sees it."""
    from cardrec.detect import OutlineDetector
    from cardrec.image import load
    from cardrec.samples import sample_photos

    photo = next(path for path in sample_photos() if path.stem == "desk")
    pixels = np.ascontiguousarray(load(photo).pixels[:, :, ::-1])
    np.save(folder / "frame.npy", pixels)
    np.save(folder / "quads.npy", OutlineDetector().detect(load(pixels), max_cards=1)[0].corners_px[None])


def make_catalogs(folder: Path) -> None:
    """Both catalogs as this version writes them: how they are laid out is part of what is compared."""
    from cardrec import Catalog

    ids = [f"card-{row}" for row in range(CARDS)]
    meta = [{"name": f"Card {row}", "set": f"S{row * 100 // CARDS}", "number": str(row)} for row in range(CARDS)]
    for kind, vectors in VECTORS.items():
        Catalog.from_vectors(folder / f"{kind}.cardrec", ids, vectors(CARDS, 0), meta).close()


def shortest_ms(action: Action, calls: int) -> float:
    """Of some calls, without the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        return min(action() for _ in range(calls))
    finally:
        gc.enable()


def about() -> dict[str, Any]:
    """Where the package lies, so that nobody compares another than he means, and the model's name."""
    import cardrec

    try:
        model = str(cardrec.Model.load().fingerprint)
    except (AttributeError, cardrec.CardrecError) as error:
        model = f"unknown ({error})"
    return {"package": str(Path(cardrec.__file__).resolve().parent), "model": model}


def answers(scene: Scene) -> None:
    """Answers stdin line by line."""
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)  # what libraries print is no answer
        print(json.dumps(about()), file=out, flush=True)
        ready: dict[str, Action] = {}
        for line in sys.stdin:
            name = line.strip()
            stage = STAGES[name]
            try:
                if name not in ready:
                    ready[name] = stage.make(scene)
                    ready[name]()
                answer: dict[str, Any] = {"ms": shortest_ms(ready[name], stage.calls)}
            except Exception as error:  # noqa: BLE001 - whatever an old version lacks
                answer = {"missing": f"{type(error).__name__}: {error}".splitlines()[0]}
            print(json.dumps(answer), file=out, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path)
    parser.add_argument("catalogs", type=Path)
    parser.add_argument("--core", type=int, help="to stay on")
    parser.add_argument("--make-scene", action="store_true")
    parser.add_argument("--make-catalogs", action="store_true")
    options = parser.parse_args()
    if options.make_scene:
        make_scene(options.scene)
    if options.make_catalogs:
        try:
            make_catalogs(options.catalogs)
        except Exception as error:  # noqa: BLE001 - an old version: the stages that want them will say so
            print(f"no catalogs: {error}", file=sys.stderr)
    if not (options.make_scene or options.make_catalogs):
        if options.core is not None:
            os.sched_setaffinity(0, {options.core})  # before libraries count the cores they may use
        answers(Scene(options.scene, options.catalogs))


if __name__ == "__main__":
    main()
