"""A bundle's network as Hailo's compiler wants it: normalised float planes in, the vector before its norm out.

The bundle's own graph is cut, not a checkpoint exported again: a HEF carries the fingerprint of the bundle, so its
weights have to be those of the bundle, rotation and folded factors included. What is cut off in front (bytes to floats,
less a mean, perhaps by a deviation) is read from the graph and goes into the model script, so that the input is
normalised exactly once, whatever the training folded where. The norm stays on the host, where the scale of the integers
cancels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cardrec.rectify import INPUT_SIZE
from training.integers import in_integers

__all__ = ["Cut", "cut", "run", "unit_rows"]

Floats = NDArray[np.float32]

INPUT = "image"
SUPPORTED = frozenset(
    {
        "Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "Constant", "Conv", "Flatten", "Gemm",
        "GlobalAveragePool", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "MatMul", "MaxPool", "Mul", "PRelu",
        "ReduceMean", "Relu", "Reshape", "Sigmoid",
    }
)  # fmt: skip
"""Operations of encoders that the compiler is known to take in."""
_PREPARING = ("Transpose", "Cast", "Sub", "Add", "Div", "Mul")
_LINEAR = ("Gemm", "MatMul", "Conv")


@dataclass(frozen=True, slots=True)
class Cut:
    """The part of a network that the device runs.

    Attributes:
        onnx: from `INPUT`, (1, 3, 224, 224) floats, to the vector before its norm.
        end: name of the last node.
        mean, deviation: what has to become of RGB bytes first, (x - mean) / deviation.
    """

    onnx: bytes
    end: str
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]

    def planes(self, pixels: NDArray[np.uint8]) -> Floats:
        """(n, 224, 224, 3) bytes as the network's input, (n, 3, 224, 224)."""
        scaled = (pixels - np.array(self.mean, np.float32)) / np.array(self.deviation, np.float32)
        return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2), np.float32)


def cut(network: Path) -> Cut:
    """Cuts a bundle's network.

    Raises:
        ValueError: it is no ONNX file, does not begin or end as `training.export` writes it, or has operations that
            the compiler does not take in; names them.
    """
    import onnx

    try:
        model = onnx.load(str(network))
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf's and the checker's have no common public base
        raise ValueError(f"{network} is no sound ONNX file ({error}); export the bundle again") from error
    graph = model.graph
    if in_integers(graph):
        raise ValueError(f"{network} is in integers, which the compiler makes itself; give it the bundle in floats")
    constants = _constants(graph)
    scale, shift, first = _prepared(network, graph, constants)
    last = _last_linear(network, graph, constants)
    nodes = _between(graph, first, last.output[0])
    if unknown := sorted({f"{node.op_type} ({node.name})" for node in nodes if node.op_type not in SUPPORTED}):
        raise ValueError(
            f"{network}: Hailo's compiler is not known to take in {', '.join(unknown)}; replace these layers in the "
            "architecture, train it, and export again"
        )
    return Cut(_written(model, nodes, first, last), last.name or last.output[0], *_normalisation(scale, shift))


def _constants(graph: Any) -> dict[str, NDArray[Any]]:
    from onnx import numpy_helper

    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return found


def _prepared(network: Path, graph: Any, constants: dict[str, NDArray[Any]]) -> tuple[Any, Any, str]:
    """What becomes of bytes, by channel (factor and summand), and the name of the result."""
    name, turned = graph.input[0].name, False
    scale, shift = np.ones(3), np.zeros(3)
    while True:
        users = [node for node in graph.node if name in node.input]
        if len(users) != 1 or users[0].op_type not in _PREPARING:
            break
        (node,) = users
        turned = turned or node.op_type == "Transpose"
        if node.op_type not in ("Transpose", "Cast"):
            value = constants.get(node.input[1])
            if value is None or value.size not in (1, 3) or node.input[0] != name:
                break
            scale, shift = _after(node.op_type, value.astype(np.float64).reshape(-1), scale, shift)
        name = node.output[0]
    if len(graph.input) != 1 or not turned or (scale <= 0).any():
        raise ValueError(f"{network} does not begin with RGB bytes (n, 224, 224, 3) as training.export writes it")
    return scale, shift, name


def _after(operation: str, value: Any, scale: Any, shift: Any) -> tuple[Any, Any]:
    if operation == "Sub":
        return scale, shift - value
    if operation == "Add":
        return scale, shift + value
    factor = value if operation == "Mul" else 1 / value
    return scale * factor, shift * factor


def _normalisation(scale: Any, shift: Any) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Factor and summand as mean and deviation."""
    mean, deviation = ([round(float(value), 4) for value in values] for values in (-shift / scale, 1 / scale))
    return (mean[0], mean[1], mean[2]), (deviation[0], deviation[1], deviation[2])


def _last_linear(network: Path, graph: Any, constants: dict[str, NDArray[Any]]) -> Any:
    """The last node whose result is the vector, before what makes it of unit length."""
    linear = [node for node in graph.node if node.op_type in _LINEAR]
    if not linear or len(graph.output) != 1:
        raise ValueError(f"{network} has no linear layer at its end, or several outputs; export the bundle again")
    last = linear[-1]
    users = [node for node in graph.node if last.output[0] in node.input]
    bias = len(users) == 1 and users[0].op_type == "Add" and any(name in constants for name in users[0].input)
    return users[0] if bias else last


def _between(graph: Any, first: str, end: str) -> list[Any]:
    """The nodes that make ``end`` of ``first``, in their order."""
    wanted, found = {end}, []
    for node in reversed(graph.node):
        if wanted & set(node.output) and first not in node.output:
            found.append(node)
            wanted |= set(node.input)
    return found[::-1]


def _written(model: Any, nodes: list[Any], first: str, last: Any) -> bytes:
    import onnx
    from onnx import TensorProto, helper

    for node in nodes:
        node.input[:] = [INPUT if name == first else name for name in node.input]
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    given = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, 3, INPUT_SIZE, INPUT_SIZE])
    said = helper.make_tensor_value_info(last.output[0], TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "encoder", [given], [said], kept)
    whole = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    whole = onnx.shape_inference.infer_shapes(whole, strict_mode=True)
    onnx.checker.check_model(whole, full_check=True)
    return bytes(whole.SerializeToString())


def run(part: Cut, pixels: NDArray[np.uint8]) -> Floats:
    """(n, dimension) unit vectors of (n, 224, 224, 3) RGB cards, by ONNX Runtime with the normalisation in NumPy."""
    import onnxruntime

    session = onnxruntime.InferenceSession(part.onnx, providers=["CPUExecutionProvider"])
    return unit_rows(np.concatenate(list(_answers(session, part, pixels))))


def _answers(session: Any, part: Cut, pixels: NDArray[np.uint8]) -> Iterator[Floats]:
    for picture in pixels:
        yield session.run(None, {INPUT: part.planes(picture[None])})[0].reshape(1, -1)


def unit_rows(vectors: NDArray[Any]) -> Floats:
    """(n, d) as float32 of unit length; rows of zeros stay zeros, which resemble nothing."""
    floats = vectors.reshape(len(vectors), -1).astype(np.float32)
    lengths = np.linalg.norm(floats, axis=1, keepdims=True)
    return np.asarray(floats / np.maximum(lengths, 1e-12), np.float32)
