"""Checks an installation, from the Python version to a photo from end to end, and an accelerator where there is one.

It never crashes, whatever is broken.

The checks run in a child process: a library that does not suit the processor ends that process, not the doctor, which
then names the check under way and goes on with the next one. `python -m cardrec.doctor` needs none of the command
line's libraries.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from cardrec import __version__, doctor_hailo, doctor_parity
from cardrec.finding import Finding, ok
from cardrec.labels import printable, say_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["CHECKS", "Finding", "examine", "main", "render"]

TIMEOUT_S = 120.0
"""For one check: opening the model on a Raspberry Pi takes about a second, so this is a hang."""

TESTED = ((3, 11), (3, 12), (3, 13))
"""Versions of Python."""

_REINSTALL = "install cardrec again: pip install --force-reinstall --no-deps cardrec"
_MARK = "cardrec-doctor: "  # begins each line of ours on the child's stdout, where libraries may write as well


def check_cardrec() -> Finding:
    """Which cardrec this is."""
    place = Path(__file__).parent
    return ok("cardrec", f"{__version__} in {place}, on {platform.system()} {platform.machine()}")


def check_python() -> Finding:
    """A version that was tested; on one before 3.11 this file would not even load."""
    version = platform.python_version()
    if sys.version_info[:2] not in TESTED:
        return Finding(
            "python", "warn", f"{version} is none of the versions this cardrec was tested with", "prefer Python 3.13"
        )
    return ok("python", f"{version} ({sys.executable})")


def _check_library(name: str, module: str, package: str, least: tuple[int, ...]) -> Finding:
    found = str(import_module(module).__version__)
    numbers = tuple(int(part) if part.isdigit() else 0 for part in found.split(".")[: len(least)])
    if numbers < least:
        wanted = ".".join(map(str, least))
        return Finding(name, "fail", f"{found}; at least {wanted} is needed", f"pip install '{package}>={wanted}'")
    return ok(name, found)


def check_numpy() -> Finding:
    """NumPy is there and new enough."""
    return _check_library("numpy", "numpy", "numpy", (1, 26))


def check_opencv() -> Finding:
    """OpenCV is there and new enough."""
    return _check_library("opencv", "cv2", "opencv-python-headless", (4, 9))


def check_pillow() -> Finding:
    """Pillow is there, new enough, and decodes JPEG."""
    from PIL import features

    if not features.check("jpg"):
        return Finding("pillow", "fail", "this Pillow can't decode JPEG", "pip install --force-reinstall pillow")
    return _check_library("pillow", "PIL", "pillow", (10, 1))


def check_native() -> Finding:
    """The native modules load, and every instruction set of this processor finds what it must."""
    import numpy as np

    from cardrec import _detect, _image, _search
    from cardrec.search import Matrix, quantise, simd_tiers

    rows = np.eye(3, 97, dtype=np.float32)
    for tier in simd_tiers():
        best, _ = Matrix([quantise(rows)], tier=tier).search(rows[2], 1)
        if int(best.ravel()[0]) != 2:
            return Finding("native", "fail", f"the {tier} search returned a wrong row", _REINSTALL)
    picture = (np.arange(97 * 89 * 3) % 251).astype(np.uint8).reshape(97, 89, 3)
    quad = np.array([[[8, 5], [80, 9], [76, 90], [2, 88]]], np.float32)
    crops = [np.zeros((1, 33, 33, 3), np.uint8) for _ in _image.simd_tiers()]
    for tier, crop in zip(_image.simd_tiers(), crops, strict=True):
        _image.rectify(picture, True, quad, crop, tier)
        if not np.array_equal(crop, crops[0]):
            return Finding("native", "fail", f"the {tier} rectification returned wrong pixels", _REINSTALL)
    return ok("native", ", ".join(Path(str(module.__file__)).name for module in (_search, _image, _detect)))


def check_simd() -> Finding:
    """The kernels in use, and that the environment asks for none that are not there."""
    from cardrec import rectify
    from cardrec.errors import InputError
    from cardrec.search import simd_tier, simd_tiers

    try:
        used = f"search kernels: {simd_tier()}, of {', '.join(simd_tiers())}"
        return ok("simd", f"{used}; image kernels: {rectify.simd_tier()}")
    except InputError as error:
        return Finding("simd", "fail", str(error), "unset CARDREC_SIMD, or name one of those")


def check_onnxruntime() -> Finding:
    """ONNX Runtime is there with its CPU provider."""
    import onnxruntime

    if "CPUExecutionProvider" not in onnxruntime.get_available_providers():
        return Finding("onnxruntime", "fail", "has no CPU provider", "pip install --force-reinstall onnxruntime")
    finding = _check_library("onnxruntime", "onnxruntime", "onnxruntime", (1, 18))
    return finding if finding.status != "ok" else ok("onnxruntime", f"{finding.detail}, CPUExecutionProvider")


def check_model() -> Finding:
    """The bundled model is sound, loads, and gives unit vectors."""
    import numpy as np

    from cardrec.embed import Embedder

    picture = np.arange(224 * 224 * 3, dtype=np.uint8).reshape(224, 224, 3)
    with Embedder() as embedder:
        norm = float(np.linalg.norm(embedder.encode(picture)))
        what = f"fingerprint {embedder.fingerprint}, {embedder.dimension} numbers"
    if not abs(norm - 1) < 1e-3:
        return Finding("model", "fail", f"{what}, but a vector of length {norm:.4f}", _REINSTALL)
    return ok("model", what)


def check_detector() -> Finding:
    """The detector's networks are those that `detector.json` describes, and find nothing on an empty table."""
    import hashlib
    import json

    import numpy as np

    from cardrec.detect import NETWORKS, OutlineDetector
    from cardrec.image import Frame

    about = json.loads((NETWORKS / "detector.json").read_text(encoding="utf-8"))["networks"]
    for name, details in about.items():
        if hashlib.sha256((NETWORKS / name).read_bytes()).hexdigest() != details["sha256"]:
            return Finding("detector", "fail", f"{name} is damaged", _REINSTALL)
    table = Frame(np.full((720, 1280, 3), 128, np.uint8), "bgr", "an empty table")
    found = OutlineDetector().detect(table, max_cards=1)
    if found:
        return Finding("detector", "fail", f"found a card where there is none: {found[0]}", _REINSTALL)
    return ok("detector", ", ".join(f"{name}: {details['parameters']:,} parameters" for name, details in about.items()))


def check_catalog() -> Finding:
    """The demo catalog opens, belongs to the model, and every byte of it is right."""
    from cardrec.catalog import Catalog
    from cardrec.model import Model
    from cardrec.recognizer import DEMO_CATALOG

    model = Model.load()
    with Catalog.open(DEMO_CATALOG) as catalog:
        catalog.check_model(model.fingerprint, model.preprocessing_hash)
        found = catalog.verify()
    return ok("catalog", f"{found.rows:,} demo cards of model {model.fingerprint}, {found.bytes:,} bytes verified")


def check_identify() -> Finding:
    """A bundled photo is identified as the card that it shows."""
    from cardrec.recognizer import Recognizer
    from cardrec.samples import known_sample

    sample = known_sample()
    if sample is None:
        return Finding("identify", "fail", "no bundled photo shows a demo card", _REINSTALL)
    with Recognizer() as recognizer:
        result = recognizer.identify(sample.path)
    best = result.best.card_id if result.best else None
    if best != sample.card_ids[0]:
        detail = f"{sample.path.name} shows {sample.card_ids[0]}, recognised was {best}"
        return Finding("identify", "fail", detail, f"{_REINSTALL}; if that doesn't help, report it with this output")
    return ok("identify", f"{sample.path.name} is {best}, {result.timings.total_ms:.0f} ms")


CHECKS: dict[str, tuple[Callable[[], Finding], str]] = {
    "cardrec": (check_cardrec, _REINSTALL),
    "python": (check_python, "install Python 3.11 or newer"),
    "numpy": (check_numpy, "pip install --force-reinstall numpy"),
    "opencv": (check_opencv, "pip install --force-reinstall opencv-python-headless"),
    "pillow": (check_pillow, "pip install --force-reinstall pillow"),
    "native": (check_native, "build the native modules: `pip install .` in a checkout, with a C++17 compiler"),
    "simd": (check_simd, "build the native modules: `pip install .` in a checkout, with a C++17 compiler"),
    "onnxruntime": (check_onnxruntime, "pip install --force-reinstall onnxruntime"),
    "model": (check_model, _REINSTALL),
    "detector": (check_detector, _REINSTALL),
    "catalog": (check_catalog, _REINSTALL),
    "identify": (check_identify, _REINSTALL),
    **doctor_hailo.CHECKS,
    **doctor_parity.CHECKS,
}
"""Each check, with the remedy for what it raises."""


def run_check(name: str) -> Finding:
    """One check in this process; what it raises is a finding."""
    check, remedy = CHECKS[name]
    try:
        return check()
    except BaseException as error:  # noqa: BLE001 - also SystemExit: some libraries exit when they are imported
        return Finding(name, "fail", f"{type(error).__name__}: {say_error(error)}", remedy)


def examine(names: Sequence[str] = tuple(CHECKS)) -> Iterator[Finding]:
    """All findings, in order."""
    left = list(names)
    while left:
        for finding in _in_child(left):
            yield finding
            if finding.name in left:
                left.remove(finding.name)


def _in_child(names: Sequence[str]) -> list[Finding]:
    """Findings from one child process; if it died or hung, the last one says so for the check under way."""
    code = f"import sys; sys.path[:] = {sys.path!r}; from cardrec.doctor import child; child({list(names)!r})"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=False
        )
        output, noise, how = done.stdout, done.stderr, _ending(done.returncode)
    except subprocess.TimeoutExpired as error:
        output, noise, how = error.stdout or b"", error.stderr or b"", f"did not end within {TIMEOUT_S:.0f} s"
    except OSError as error:
        detail = f"checked without the safety of a child process, which could not be started: {say_error(error)}"
        alone = Finding("child", "warn", detail, "raise the limits on processes and memory")
        return [alone, *map(run_check, names)]
    findings = [Finding(**json.loads(line)) for line in _lines(output)]
    if len(findings) < len(names):
        name = names[len(findings)]
        said = "; ".join(noise.decode(errors="replace").strip().splitlines()[-1:])
        findings.append(Finding(name, "fail", f"the check {how}{f': {said}' if said else ''}", CHECKS[name][1]))
    return findings


def _lines(output: bytes) -> list[str]:
    """What the child said, without what libraries printed."""
    lines = output.decode(errors="replace").splitlines()
    return [line.removeprefix(_MARK) for line in lines if line.startswith(_MARK)]


def _ending(code: int) -> str:
    """How a process ended, in words."""
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def child(names: Sequence[str]) -> None:
    """Runs checks and writes a line for each; what `examine` starts."""
    for name in names:
        print(f"\n{_MARK}{json.dumps(run_check(name).to_dict())}", flush=True)
    os._exit(0)  # without the libraries' own clean-up, which may crash too


def render(finding: Finding) -> str:
    """The finding as text: one line, and one more for the remedy."""
    line = f"{finding.status:<5} {finding.name:<14} {printable(finding.detail)}"
    return f"{line}\n{'':20} -> {printable(finding.remedy)}" if finding.remedy else line


def main() -> int:
    """Prints the findings; 3 if one failed, else 0."""
    findings = []
    for finding in examine():
        print(render(finding), flush=True)
        findings.append(finding)
    return 3 if any(finding.status == "fail" for finding in findings) else 0


if __name__ == "__main__":
    sys.exit(main())
