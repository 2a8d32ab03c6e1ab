"""What Hailo's compiler is given: the calibration set, the network without its ends, the model script."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_dfc
import numpy as np
import pytest
from bundles import FLOATS
from conftest import NPU_CARDS
from numpy.typing import NDArray
from refusals import files_up_to, refused
from small_encoder import DEVIATION, MEAN, small_encoder

from cardrec.image import load
from cardrec.model import Model
from cardrec.rectify import INPUT_SIZE, whole
from training import calibrate_npu
from training.calibrate_npu import read_calibration
from training.compile import check_cut, encoded
from training.hailo_graph import cut, run, unit_rows
from training.hailo_script import check_script, model_script, read_back
from training.integers import to_integers
from training.parity import Limits, Parity, measure_parity, read_questions
from training.quantize import OPERATIONS, norm_of


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return small_encoder(tmp_path / "bundle")


@pytest.fixture
def quantised_small(model: Model, npu_set: Path, tmp_path: Path) -> Path:
    pictures = np.load(npu_set / "calibration.npy")[:2]
    to_integers(model.network, tmp_path / "integers.onnx", pictures, in_floats=norm_of, operations=OPERATIONS)
    return tmp_path / "integers.onnx"


# The calibration set


def test_the_set_is_what_the_compiler_takes(npu_set: Path, npu_cards: Path) -> None:
    pictures, about = np.load(npu_set / "calibration.npy"), json.loads((npu_set / "calibration.json").read_text())
    assert pictures.shape == (64, INPUT_SIZE, INPUT_SIZE, 3) and pictures.dtype == np.uint8
    assert about["sets"] == {"shop/S0": 32, "shop/S1": 32}
    strengths = sorted(strength for _, strength in about["drawn"])
    assert about["clean"] == strengths.count(0) == 13 and max(np.diff(strengths[13:])) < 0.03 and strengths[-1] > 1
    questions = read_questions(npu_set / "parity.npz")
    judged = {name for name, _ in about["drawn"]}
    assert (
        len(questions.photos) == 8 and len(questions.catalog) == 14 and about["cards"] == len(judged) == NPU_CARDS - 8
    )
    clean = [place for place, (_, strength) in enumerate(about["drawn"]) if strength == 0]
    first = np.empty((INPUT_SIZE, INPUT_SIZE, 3), np.uint8)
    whole(load(npu_cards / f"{about['drawn'][clean[0]][0].split('/')[1]}.png"), first)
    assert np.array_equal(first, pictures[clean[0]])


def test_the_set_is_the_same_again(npu_set: Path, npu_cards: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    calibrate_npu.main(
        f"--images {npu_cards} --out {out} --pictures 64 --photos 8 --references 14 --processes 0".split()
    )
    for name in ("calibration.npy", "calibration.json"):
        assert (out / name).read_bytes() == (npu_set / name).read_bytes()


@pytest.mark.parametrize(
    ("array", "word"),
    [
        (np.zeros((70, 64, 64, 3), np.uint8), "(70, 64, 64, 3); expected (n, 224, 224, 3)"),
        (np.zeros((64, 3, 224, 224), np.uint8), "RGB last"),
        (np.zeros((64, 224, 224, 3), np.float32), "float32"),
        (np.ones((64, 224, 224, 3), np.uint8), "must not be here as well"),
        (np.full((63, 224, 224, 3), 200, np.uint8), "63 pictures"),
        (np.array([{}]), "no array of pictures"),
    ],
)
def test_other_arrays_are_no_set(array: NDArray[Any], word: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(ValueError, match=r"calibrate_npu") as caught:
        read_calibration(tmp_path / "x.npy")
    assert word in str(caught.value)


def test_a_full_disk_leaves_nothing(npu_cards: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "set"
    with refused(out.parent, "free some space"), files_up_to(1_000_000):
        calibrate_npu.main(f"--images {npu_cards} --out {out} --pictures 64 --photos 2 --processes 0".split())


# The cut and the script


@pytest.mark.parametrize("folded", [False, True])
def test_the_normalisation_is_read_from_the_graph(folded: bool, npu_set: Path, tmp_path: Path) -> None:
    model = small_encoder(tmp_path / "bundle", folded=folded)
    part = cut(model.network)
    assert part.mean == pytest.approx(MEAN) and part.deviation == pytest.approx((1, 1, 1) if folded else DEVIATION)
    photos = read_questions(npu_set / "parity.npz").photos
    assert np.allclose(run(part, photos), encoded(model, photos), atol=1e-5)


def test_the_bundled_network_can_be_cut(npu_set: Path) -> None:
    model = Model.load(FLOATS)
    part = cut(model.network)
    assert part.mean == pytest.approx(MEAN) and part.deviation == pytest.approx((1, 1, 1)) and part.end == "/Gemm"
    check_cut(part, model, read_questions(npu_set / "parity.npz"))


def test_a_cut_that_says_something_else_is_refused(npu_set: Path, tmp_path: Path) -> None:
    model, other = small_encoder(tmp_path / "a"), small_encoder(tmp_path / "b", seed=1)
    with pytest.raises(ValueError, match=r"differs by .*export the bundle again"):
        check_cut(cut(other.network), model, read_questions(npu_set / "parity.npz"))


def test_operations_that_the_compiler_lacks_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"known to take in Erf \(bend\); replace"):
        cut(small_encoder(tmp_path / "bundle", operation="Erf").network)


def test_a_network_in_integers_is_not_for_the_compiler(quantised_small: Path) -> None:
    with pytest.raises(ValueError, match="give it the bundle in floats"):
        cut(quantised_small)


@pytest.mark.parametrize("data", [b"", b"no network", bytes(100)])
def test_what_is_no_network(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(data)
    with pytest.raises(ValueError, match="export the bundle again"):
        cut(tmp_path / "x.onnx")


def test_the_script_normalises_once(model: Model) -> None:
    part = cut(model.network)
    more = "# normalization([0], [1])\nquantization_param(output_layer1, precision_mode=a16_w16)"
    text = model_script(part, pictures=1024, level=1, more=more)
    found = fake_dfc.Script(text)
    assert found.normalisations == [(list(part.mean), list(part.deviation))]
    assert (found.level, found.pictures) == (1, 1024)
    with pytest.raises(ValueError, match="normalises 2 times"):
        model_script(part, pictures=64, level=1, more="n2 = normalization([0, 0, 0], [1, 1, 1])")
    with pytest.raises(ValueError, match="normalises 0 times"):
        check_script(text.split("\n", 1)[1], part)
    with pytest.raises(ValueError, match="the network needs"):
        check_script(text.replace("123.675", "0"), part)


@pytest.mark.parametrize(
    ("log", "level", "pictures"),
    [
        ("[info] Using dataset with 1024 entries for calibration", 1, 1024),
        ("[warning] Reducing optimization level to 0 (x) because there's no available GPU", 0, None),
        ("[info] Reducing compression level to 0 because requested optimization level equal or less than 1", 1, None),
        ("[info] Using default optimization level of 0\nUsing dataset with 64 entries for calibration", 0, 64),
    ],
)
def test_what_the_log_says(log: str, level: int, pictures: int | None) -> None:
    found = read_back(log, 1)
    assert (found.level, found.pictures) == (level, pictures)
    fine = level == 1 and pictures in (None, 1024)
    with contextlib.nullcontext() if fine else pytest.raises(ValueError, match="nothing was written"):
        found.check(1, 1024)


# The stand-in, which the rest relies on


def translated(model: Model, tmp_path: Path, script: str) -> fake_dfc.ClientRunner:
    part = cut(model.network)
    (tmp_path / "n.onnx").write_bytes(part.onnx)
    runner = fake_dfc.ClientRunner(hw_arch="hailo8")
    runner.translate_onnx_model(str(tmp_path / "n.onnx"), "n", ["image"], [part.end])
    if script:
        runner.load_model_script(script)
    return runner


@pytest.mark.parametrize("times", [0, 1, 2])
def test_parity_finds_a_normalisation_that_is_missing_or_doubled(
    times: int, model: Model, npu_set: Path, tmp_path: Path
) -> None:
    lines = "".join(f"n{n} = normalization({list(MEAN)}, {list(DEVIATION)})\n" for n in range(times))
    runner, questions = translated(model, tmp_path, lines), read_questions(npu_set / "parity.npz")
    runner.optimize(np.load(npu_set / "calibration.npy"))
    with runner.infer_context(fake_dfc.InferenceContext.SDK_QUANTIZED) as context:
        said = unit_rows(runner.infer(context, questions.photos))
    catalog, reference = (encoded(model, pixels) for pixels in (questions.catalog, questions.photos))
    faults = measure_parity(questions, catalog, reference, said).faults(Limits())
    assert bool(faults) == (times != 1)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, ""),
        ({"cosine": (0.5, 0.9699, 1.0, 1.0)}, "0.9699, under 0.97"),
        ({"cosine": (0.5, float("nan"), 1.0, 1.0)}, "nan"),
        ({"agreement": 0.979}, "97.9% of the photos are named alike, under 98%"),
        ({"right": 0.979}, "97.9% are named rightly, 99.0% before"),
    ],
)
def test_each_limit_counts(changes: dict[str, Any], word: str) -> None:
    fine = Parity(200, 600, (0.5, 0.97, 1.0, 1.0), agreement=0.98, reference_right=0.99, right=0.98)
    found = replace(fine, **changes).faults(Limits())
    assert len(found) == bool(word) and word in "".join(found)


def test_the_stand_in_wants_calls_in_order(model: Model, npu_set: Path, tmp_path: Path) -> None:
    pictures = np.load(npu_set / "calibration.npy")
    runner = translated(model, tmp_path, "")
    with pytest.raises(fake_dfc.BackendError, match="wrong state"):
        runner.compile()
    with (
        pytest.raises(fake_dfc.BackendError, match="wrong state"),
        runner.infer_context(fake_dfc.InferenceContext.SDK_QUANTIZED),
    ):
        pass
    with pytest.raises(fake_dfc.BackendError, match="expected"):
        runner.optimize(pictures.transpose(0, 3, 1, 2))
    with pytest.raises(fake_dfc.BackendError, match="Invalid command"):
        runner.load_model_script("normalise everything")
    with pytest.raises(fake_dfc.BackendError, match="wrong state"):
        fake_dfc.ClientRunner(hw_arch="hailo8").optimize(pictures)
