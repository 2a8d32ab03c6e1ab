"""Multiply-adds counted from graphs, and what is made of measured times."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import drivers, roofline
from benchmarks.macs import Macs, multiply_adds
from benchmarks.roofline import Stage


def network(path: Path, *, quantised: bool) -> Path:
    """A convolution by groups, then two matrix products: of floats, or of integers but for the last."""
    import onnx
    from onnx import TensorProto, helper

    float_, int_ = TensorProto.FLOAT, TensorProto.INT8

    def weights(name: str, *shape: int) -> list[onnx.NodeProto]:
        size = 1
        for side in shape:
            size *= side
        kind = int_ if quantised else float_
        initial.append(helper.make_tensor(f"{name}_stored" if quantised else name, kind, shape, [1] * size))
        return [helper.make_node("DequantizeLinear", [f"{name}_stored", "scale"], [name])] if quantised else []

    def data(name: str) -> list[onnx.NodeProto]:
        if not quantised:
            return [helper.make_node("Identity", [name], [f"{name}_in"])]
        return [
            helper.make_node("QuantizeLinear", [name, "scale"], [f"{name}_q"]),
            helper.make_node("DequantizeLinear", [f"{name}_q", "scale"], [f"{name}_in"]),
        ]

    initial = [helper.make_tensor("scale", float_, [], [0.5]), helper.make_tensor("last", float_, [7, 5], [1.0] * 35)]
    nodes = [
        *weights("kernel", 6, 2, 3, 3),
        *data("picture"),
        helper.make_node("Conv", ["picture_in", "kernel"], ["seen"], group=2, strides=[2, 2]),
        helper.make_node("Flatten", ["seen"], ["flat"]),
        *weights("layer", 7, 72),
        *data("flat"),
        helper.make_node("Gemm", ["flat_in", "layer"], ["hidden"], transB=1),
        helper.make_node("MatMul", ["hidden", "last"], ["said"]),
    ]
    taken = helper.make_tensor_value_info("picture", float_, ["n", 4, "height", 9])
    given = helper.make_tensor_value_info("said", float_, ["n", "some"])
    graph = helper.make_graph(nodes, "small", [taken], [given], initial)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize("quantised", [False, True])
def test_multiply_adds_of_a_small_network(tmp_path: Path, quantised: bool) -> None:
    """(n, 4, 7, 9) through 6 kernels of 2x3x3, two apart: 3x4 places; then 72 to 7, then 7 to 5."""
    file = network(tmp_path / "small.onnx", quantised=quantised)
    layers, last = 6 * 3 * 4 * (2 * 3 * 3) + 72 * 7, 7 * 5
    expected = Macs(f32=last, int8=layers) if quantised else Macs(f32=layers + last)
    assert multiply_adds(file, {"height": 7}) == expected
    three = multiply_adds(file, {"n": 3, "height": 7})
    assert three == Macs(3 * expected.f32, 3 * expected.int8)


def test_multiply_adds_of_the_bundled_encoder() -> None:
    """EfficientNet-Lite0 has 0.39 G multiply-adds at 224x224, however its numbers are stored."""
    macs = multiply_adds(roofline.NETWORKS["encoder"][0])
    assert 380e6 < macs.f32 + macs.int8 < 400e6


def stage(name: str, tier: str, time_us: float) -> Stage:
    return Stage(name, tier, "1 MB", time_us, 10.0)


def test_gains_are_of_the_last_tier() -> None:
    stages = [stage("scan", "scalar", 60), stage("scan", "avx2", 20), stage("scan", "avx512vnni", 15)]
    assert roofline.gains([*stages, stage("alone", "scalar", 5)]) == {"scan": 4.0}
    assert stages[0].ratio == 6.0


def test_a_kernel_is_too_slow_only_if_it_always_is() -> None:
    assert roofline.too_slow([{"scan": 1.2, "prefix": 1.3}, {"scan": 1.6, "prefix": 1.49}]) == ["prefix 1.49"]
    assert roofline.too_slow([{"scan": 1.5, "rescore_f32": 1.2}]) == []
    assert roofline.too_slow([{"rescore_f32": 1.19}]) == ["rescore_f32 1.19"]


def test_a_table_names_what_was_measured() -> None:
    title, line = roofline.table([stage("scan", "avx2", 25)])
    assert "bytes or multiply-adds" in title
    assert line.split() == ["scan", "avx2", "25.0", "1", "MB", "10.0", "2.50x"]


def test_the_fastest_tier_beats_the_scalar_one(capsys: pytest.CaptureFixture[str]) -> None:
    """The gate, in the small: the best of five, since other work on this machine can only lower a gain at times."""
    programs = roofline.programs(drivers.compiler(drivers.host_compiler()))
    status = roofline.check(programs, repeats=5, rounds=5, rows=roofline.CHECKED_ROWS)
    assert status == 0, capsys.readouterr().out
