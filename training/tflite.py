"""The convolutions of a quantised TFLite network as floating-point arrays, read without running it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Convolution:
    """One convolution, its batch norm folded in.

    Attributes:
        name: of its output, as the file has it.
        weight: (out, in, height, width) float32; in is 1 where each channel has a filter of its own.
        bias: (out,) float32.
    """

    name: str
    weight: Floats
    bias: Floats


@dataclass(frozen=True, slots=True)
class Network:
    """What a file holds, in the order in which it runs.

    Attributes:
        scale, zero: the network sees ``(level - zero) * scale`` of each uint8 level of its input.
        convolutions: all of them, the classifier's included.
    """

    scale: float
    zero: int
    convolutions: list[Convolution]


def dequantise(levels: NDArray[Any], scale: Floats, zero: NDArray[np.int64], axis: int) -> Floats:
    """``(levels - zero) * scale``; several scales, one for each index of ``axis``, or one for all."""
    shape = [1] * levels.ndim
    if len(scale) > 1:
        shape[axis] = len(scale)
    return ((levels.astype(np.float64) - zero.reshape(shape)) * scale.reshape(shape)).astype(np.float32)


def read_network(path: Path) -> Network:
    """The input's quantisation and the convolutions of a TFLite file.

    Raises:
        ValueError: it is no TFLite file, or its input or a convolution is not quantised.
    """
    from ai_edge_litert import schema_py_generated as schema

    content = path.read_bytes()
    if content[4:8] != b"TFL3":
        raise ValueError(f"{path} starts with {content[:8]!r}; expected a TFLite file (TFL3)")
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    kinds = schema.BuiltinOperator
    convolutions = []
    for operator in graph.operators:
        kind = model.operatorCodes[operator.opcodeIndex].builtinCode
        if kind in (kinds.CONV_2D, kinds.DEPTHWISE_CONV_2D):
            weight, bias = (_values(path, model, graph.tensors[i]) for i in operator.inputs[1:3])
            order = (3, 0, 1, 2) if kind == kinds.DEPTHWISE_CONV_2D else (0, 3, 1, 2)
            name = graph.tensors[operator.outputs[0]].name.decode()
            convolutions.append(Convolution(name, np.ascontiguousarray(weight.transpose(order)), bias))
    scale, zero = _quantisation(path, graph.tensors[graph.inputs[0]])
    return Network(float(scale[0]), int(zero[0]), convolutions)


def _quantisation(path: Path, tensor: Any) -> tuple[Floats, NDArray[np.int64]]:
    """Scales and zero points."""
    found = tensor.quantization
    if found is None or found.scale is None or len(found.scale) == 0:
        raise ValueError(f"{path}: {tensor.name.decode()} is not quantised; expected an integer network")
    return np.asarray(found.scale, np.float32), np.asarray(found.zeroPoint, np.int64)


def _values(path: Path, model: Any, tensor: Any) -> Floats:
    """A stored tensor, dequantised."""
    from ai_edge_litert import schema_py_generated as schema

    kinds = {schema.TensorType.UINT8: "<u1", schema.TensorType.INT8: "<i1", schema.TensorType.INT32: "<i4"}
    scale, zero = _quantisation(path, tensor)
    levels = np.frombuffer(bytes(model.buffers[tensor.buffer].data), kinds[tensor.type]).reshape(tensor.shape)
    return dequantise(levels, scale, zero, tensor.quantization.quantizedDimension)
