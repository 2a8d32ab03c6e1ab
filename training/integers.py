"""Networks in 8-bit integers by ONNX Runtime: ranges seen on pictures, weights by channel. Nothing is trained.

What flows between the layers is unsigned bytes, weights are signed ones. Where `reduced`, these have 7 bits: the
product of two bytes, twice, has to fit 16 bits on x86 processors without VNNI.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["in_integers", "to_integers"]

Choice = Callable[[Sequence[Any]], Sequence[Any]]
"""Which of a graph's nodes."""


class _Pictures:
    """What ONNX Runtime's calibration asks for: one input after the other, then None."""

    def __init__(self, name: str, pictures: Iterable[NDArray[np.uint8]]) -> None:
        self._name = name
        self._pictures: Iterator[NDArray[np.uint8]] = iter(pictures)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        picture = next(self._pictures, None)
        return None if picture is None else {self._name: picture[None]}


def in_integers(graph: Any) -> bool:
    """Whether an ONNX graph is one that `to_integers` wrote, or another with integers between its layers."""
    return any(node.op_type == "QuantizeLinear" for node in graph.node)


def to_integers(
    network: Path,
    out: Path,
    pictures: Iterable[NDArray[np.uint8]],
    *,
    in_floats: Choice,
    operations: list[str] | None = None,
    reduced: bool = True,
) -> None:
    """Writes a network in integers (QDQ, unsigned bytes by signed ones).

    Args:
        network: ONNX file with one input.
        out: where the other goes.
        pictures: (H, W, 3) each, one after the other; the ranges are those that they cause.
        in_floats: which nodes stay as they are, of those of the network once it is prepared, in their order.
        operations: kinds of nodes in integers; None: all that can be.
        reduced: weights of 7 bits.

    Raises:
        ValueError: the network can't be read, prepared or quantised.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with TemporaryDirectory(dir=out.parent) as folder:
        prepared = Path(folder) / "prepared.onnx"
        try:
            quant_pre_process(str(network), str(prepared), skip_symbolic_shape=True)
            graph = onnx.load(str(prepared)).graph
            quantize_static(
                str(prepared),
                str(out),
                _Pictures(graph.input[0].name, pictures),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=reduced,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=operations,
                nodes_to_exclude=[node.name for node in in_floats(graph.node)],
            )
        except (OSError, ValueError):
            raise
        except Exception as error:  # those of ONNX Runtime and protobuf have no common public base
            raise ValueError(
                f"{network} can't be given in integers: {error}; export it again, opset 13 to 17"
            ) from error
