"""How many multiply-adds a network takes, from its graph: of floats and of 8-bit integers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_INTEGERS = ("ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul")
_QLINEAR_WEIGHTS = 3  # the place of the weights among QLinear...'s inputs; elsewhere 1
_FLOATS = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True)
class Macs:
    """Multiply-adds of one run.

    Attributes:
        f32: of floats.
        int8: of 8-bit integers, which a runtime makes of a layer whose data and weights come from `DequantizeLinear`.
    """

    f32: int = 0
    int8: int = 0


def multiply_adds(network: Path, sizes: Mapping[str, int] | None = None) -> Macs:
    """Counts the multiply-adds of convolutions and matrix products, which are nearly all of a network's work.

    Args:
        network: an ONNX file with one input.
        sizes: its sizes that the file leaves open, by name; 1 where none is given.

    Raises:
        ValueError: a shape can't be told.
    """
    import onnx

    model = onnx.load(str(network))
    for dimension in model.graph.input[0].type.tensor_type.shape.dim:
        if dimension.dim_param:
            dimension.dim_value = (sizes or {}).get(dimension.dim_param, 1)
    for output in model.graph.output:  # what they say of the open sizes would contradict what is inferred
        output.type.tensor_type.ClearField("shape")
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    shapes = {info.name: _shape(info) for info in (*graph.input, *graph.value_info, *graph.output)}
    shapes |= {weights.name: tuple(weights.dims) for weights in graph.initializer}
    dequantised = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    f32 = int8 = 0
    for node in graph.node:
        if node.op_type not in (*_FLOATS, *_INTEGERS):
            continue
        count = _count(node, shapes)
        if node.op_type in _INTEGERS or {*node.input[:2]} <= dequantised:
            int8 += count
        else:
            f32 += count
    return Macs(f32, int8)


def _shape(info: Any) -> tuple[int, ...]:
    return tuple(dimension.dim_value for dimension in info.type.tensor_type.shape.dim)


def _count(node: Any, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Each number that a layer writes is a sum of as many products as its weights have for one output."""
    place = _QLINEAR_WEIGHTS if node.op_type.startswith("QLinear") else 1
    written, weights = shapes.get(node.output[0], ()), shapes.get(node.input[place], ())
    if "Conv" in node.op_type:
        products = math.prod(weights[1:])  # (outputs, inputs of a group, height, width)
    else:
        transposed = any(each.name == "transB" and each.i for each in node.attribute)
        products = weights[-1 if transposed or len(weights) == 1 else -2] if weights else 0
    count = math.prod(written) * products if written else 0
    if count <= 0:
        raise ValueError(f"{node.op_type} {node.name or node.output[0]!r}: its shape is open; give its network's sizes")
    return count
