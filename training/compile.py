"""Compiles a bundle's network for a Hailo chip, with Hailo's Dataflow Compiler, and puts it into a bundle.

    python -m training.calibrate_npu --images CARDS --out SET
    python -m training.compile BUNDLE --calibration SET/calibration.npy --arch hailo8 --out BUNDLE
    python -m training.compile BUNDLE_INT8 --floats BUNDLE ... --out BUNDLE_INT8

The network is cut and its normalisation written into the model script (`hailo_graph.py`, `hailo_script.py`); what the
compiler says that it did is read back; the quantised network is compared in the emulator with ONNX Runtime on photos of
cards. Under the limits no HEF is written. `--out` may be the bundle itself; its other files stay. The compiler makes
integers of its own: for a bundle that has some for CPUs already, --floats names the one that it was made from.

Where the compiler is missing, --out gets what is needed to compile elsewhere, and the command ends with code 3.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from cardrec.backends.hef import ARCHITECTURES, HEADER_BYTES, MAGIC, find_hef
from cardrec.doctor_parity import GOOD_COSINE
from cardrec.embed import open_encoder
from cardrec.encode import encode_in_order, unit
from cardrec.model import Model
from training.calibrate_npu import PARITY, read_calibration
from training.failure import one_line
from training.hailo_compilers import Compiler, Job, find_compiler
from training.hailo_graph import Cut, cut, run, unit_rows
from training.hailo_recipe import HOW_TO_GET_IT, write_recipe
from training.hailo_script import FULL, ReadBack, model_script, read_back
from training.parity import Limits, Parity, Questions, measure_parity, read_questions
from training.staged import staged

__all__ = ["MISSING", "main"]

MISSING = 3
"""Exit code where there is no compiler."""
LEVEL = 1
"""Of optimisation. 1 corrects the biases; from 2 on the compiler trains, which the zoo's script for this architecture
does not do either."""
TOLERANCE = 2e-4
"""Largest difference of a coordinate between the cut network and the bundle's, both in ONNX Runtime."""
CHECKED = 8
"""Photos for that."""

Floats = np.ndarray[Any, np.dtype[np.float32]]


def encoded(model: Model, pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> Floats:
    """(n, dimension) of (n, 224, 224, 3) RGB cards, by ONNX Runtime, as the library encodes them."""
    found: list[Floats] = []
    encoder = open_encoder(model, backend="onnx")
    try:
        encode_in_order(
            encoder,
            pixels,
            lambda place, some: np.copyto(place[: len(some)], np.stack(some)),
            lambda _, said: found.append(unit(said)),
        )
    finally:
        encoder.close()
    return np.concatenate(found)


def check_cut(part: Cut, model: Model, questions: Questions) -> None:
    """Raises ValueError if the cut network, its input normalised once, is not the bundle's."""
    photos = questions.photos[:CHECKED]
    difference = float(np.abs(run(part, photos) - encoded(model, photos)).max())
    if not difference <= TOLERANCE:
        raise ValueError(
            f"{model.network}: without its norm and with the normalisation outside it differs by {difference:.1e}; "
            f"expected at most {TOLERANCE:.0e}: export the bundle again with training.export"
        )


def check_floats(floats: Model, model: Model, questions: Questions) -> None:
    """Raises ValueError if a bundle is not what another one, in integers, was made from."""
    photos = questions.photos[:CHECKED]
    cosine = float((encoded(floats, photos) * encoded(model, photos)).sum(axis=1).min())
    if floats.dimension != model.dimension or not cosine >= GOOD_COSINE:
        raise ValueError(
            f"{floats.network} is not what {model.network} was made from: on {len(photos)} photos their cosine falls "
            f"to {cosine:.3f}; expected {GOOD_COSINE} and more"
        )


def judge(compiler: Compiler, job: Job, model: Model, questions: Questions, limits: Limits) -> Parity:
    """Runs the emulator and prints the report.

    Raises:
        ValueError: the network is under the limits.
    """
    said = unit_rows(compiler.emulate(job, questions.photos))
    if said.shape[1] != model.dimension:
        raise ValueError(f"the emulator gave vectors of {said.shape[1]} numbers; the bundle's have {model.dimension}")
    parity = measure_parity(questions, encoded(model, questions.catalog), encoded(model, questions.photos), said)
    print("\n".join(parity.lines()), flush=True)
    if faults := parity.faults(limits):
        raise ValueError(
            f"the quantised network is not the bundle's: {'; '.join(faults)}. No HEF was written. Look at the "
            "calibration set, raise --level, or give the output 16 bits with --script "
            "(quantization_param(output_layer1, precision_mode=a16_w16))"
        )
    return parity


def prepare(job: Job, part: Cut, script: str) -> None:
    job.onnx.write_bytes(part.onnx)
    job.script.write_text(script, encoding="utf-8")


def compiled(
    compiler: Compiler, job: Job, model: Model, questions: Questions, options: argparse.Namespace
) -> tuple[bytes, ReadBack, Parity | None]:
    """The HEF, what the compiler did, and how it compares."""
    said = read_back(compiler.optimise(job), options.level)
    said.check(options.level, len(np.load(job.calibration, mmap_mode="r")))
    if said.pictures is None:
        print("WARNING: the compiler does not say on how many pictures it calibrated; look at its log", file=sys.stderr)
    parity = judge(compiler, job, model, questions, Limits()) if compiler.emulates else None
    hef = compiler.compile(job)
    if len(hef) < HEADER_BYTES or not hef.startswith(MAGIC):
        raise ValueError(
            f"what the compiler wrote is no HEF: {len(hef)} bytes that begin with {hef[:4].hex() or 'none'}"
        )
    return hef, said, parity


def entry(architecture: str, hef: bytes, model: Model, said: ReadBack, parity: Parity | None) -> dict[str, Any]:
    """What `cardrec/backends/hef.py` reads, and how the network was made."""
    return {
        "architecture": architecture,
        "file": f"{architecture}.hef",
        "sha256": hashlib.sha256(hef).hexdigest(),
        "fingerprint": model.fingerprint,
        "preprocessing_hash": model.preprocessing_hash,
        "optimisation": asdict(said),
        "parity": parity and parity.to_dict(),
    }


def write_bundle(folder: Path, out: Path, model: Model, hef: bytes, about: dict[str, Any]) -> None:
    """Writes the HEF and `model.json`, and, where ``out`` is another folder, the rest of the bundle."""
    home = model.network.parent
    others = [one for one in model.details.get("hailo", []) if one.get("architecture") != about["architecture"]]
    (folder / about["file"]).write_bytes(hef)
    if out.resolve() != home.resolve():
        for name in (model.network.name, *(one["file"] for one in others)):
            shutil.copyfile(home / name, folder / name)
    details = dict(model.details) | {"hailo": [*others, about]}
    (folder / "model.json").write_text(json.dumps(details, indent=2) + "\n", encoding="utf-8")


def write_for_elsewhere(folder: Path, part: Cut, script: str, options: argparse.Namespace) -> None:
    """What is needed where the compiler is: the network as it wants it, script, recipe, and which set belongs to it."""
    prepare(Job(folder, options.calibration, options.arch, part.end), part, script)
    digest = hashlib.sha256(options.calibration.read_bytes()).hexdigest()
    reference = {"file": options.calibration.name, "sha256": digest, "beside": PARITY, "end_node": part.end}
    (folder / "calibration-used.json").write_text(json.dumps(reference, indent=2) + "\n", encoding="utf-8")
    write_recipe(
        folder, options.arch, options.level, script=options.script is not None, floats=options.floats is not None
    )


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of the bundle")
    parser.add_argument("--floats", type=Path, help="of a bundle in integers: folder of the one that it was made from")
    parser.add_argument("--calibration", type=Path, required=True, help="that training.calibrate_npu wrote")
    parser.add_argument("--parity", type=Path, help=f"photos with their truth; {PARITY} beside the calibration set")
    parser.add_argument("--arch", choices=ARCHITECTURES, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle with the HEF")
    parser.add_argument("--level", type=int, choices=range(5), default=LEVEL, help="of optimisation")
    parser.add_argument("--script", type=Path, help="further commands for the model script")
    parser.add_argument("--compiler-python", help="the Python that has hailo_sdk_client")
    parser.add_argument("--commands", action="store_true", help="use the commands even where there is the Python API")
    parser.add_argument(
        "--unverified", action="store_true", help="write a HEF that nothing compared, where only the commands are there"
    )
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    options = arguments(given)
    with one_line("python -m training.compile"):
        model = Model.load(options.model)
        pictures = len(read_calibration(options.calibration))
        if pictures < FULL and options.level > 0:
            raise ValueError(
                f"{options.calibration} holds {pictures} pictures: under {FULL} the compiler lowers its optimisation "
                f"level from {options.level}. Write more with training.calibrate_npu, or accept that with --level 0"
            )
        questions = read_questions(options.parity or options.calibration.with_name(PARITY))
        floats = Model.load(options.floats) if options.floats else model
        part = cut(floats.network)
        check_cut(part, floats, questions)
        if options.floats:
            check_floats(floats, model, questions)
        more = options.script.read_text(encoding="utf-8") if options.script else ""
        script = model_script(part, pictures=pictures, level=options.level, more=more)
        compiler = find_compiler(options.compiler_python, commands=options.commands)
        if compiler is None:
            with staged(options.out) as folder:
                write_for_elsewhere(folder, part, script, options)
            print(f"error: {HOW_TO_GET_IT}. {options.out} holds what is needed there: see compile.sh", file=sys.stderr)
            raise SystemExit(MISSING)
        if not compiler.emulates and not options.unverified:
            raise ValueError(
                "there are the compiler's commands, but no Python that has hailo_sdk_client, and only that runs the "
                "emulator; name it with --compiler-python, or write a HEF that nothing compared with --unverified"
            )
        with staged(options.out) as folder, TemporaryDirectory(dir=folder.parent) as work:
            job = Job(Path(work), options.calibration.resolve(), options.arch, part.end)
            prepare(job, part, script)
            hef, said, parity = compiled(compiler, job, model, questions, options)
            write_bundle(folder, options.out, model, hef, entry(options.arch, hef, model, said, parity))
        path = find_hef(Model.load(options.out), options.arch)
        print(f"{path}: {len(hef) / 1e6:.1f} MB, optimisation level {said.level}, {said.pictures or '?'} pictures")


if __name__ == "__main__":
    main()
