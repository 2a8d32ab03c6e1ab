"""An encoder that goes on from something instead of from nothing: a bundle's network, or an ImageNet backbone.

A bundle's graph has the batch norms folded into the convolutions. They are taken apart again: a norm gets the
statistics that its convolution has on given pictures as its running ones, and the scale and offset that cancel them, so
that the encoder says what the bundle says, and trains on from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from training.integers import in_integers
from training.mobilenet import put_in
from training.model import CardEncoder
from training.norms import SAMPLE, take_statistics
from training.tflite import read_network


def begin(start: Mapping[str, Any], encoder: CardEncoder, pictures: Sequence[NDArray[np.uint8]], data: Path) -> None:
    """Gives an encoder what a config's `[start]` names.

    Args:
        start: `bundle`, a folder as the current folder sees it; or `mobilenet`, a TFLite file in the data folder.
        encoder: changed in place.
        pictures: (S, S, 3) uint8 RGB, as the training shows them.
        data: where the paths of data start.

    Raises:
        ValueError: neither is named, or the network is of another architecture.
    """
    if "bundle" in start:
        go_on_from(Path(start["bundle"]), encoder, pictures)
    elif "mobilenet" in start:
        put_in(encoder.backbone, read_network(data / start["mobilenet"]))
        take_statistics(encoder.backbone, encoder.planes(torch.from_numpy(np.stack(pictures[:SAMPLE]))))
        _centre(encoder, pictures)
    else:
        raise ValueError(f"[start] names {', '.join(start) or 'nothing'}; expected 'bundle' or 'mobilenet'")


@torch.no_grad()
def _centre(encoder: CardEncoder, pictures: Sequence[NDArray[np.uint8]]) -> None:
    """Gives the norm of a fresh head the statistics that it will meet."""
    cells = encoder.squeeze(encoder.maps(torch.from_numpy(np.stack(pictures[:SAMPLE])))).flatten(1)
    spread, mean = torch.var_mean(encoder.linear(cells), dim=0)
    encoder.centre.running_mean.copy_(mean)
    encoder.centre.running_var.copy_(spread)


@torch.no_grad()
def go_on_from(bundle: Path, encoder: CardEncoder, pictures: Sequence[NDArray[np.uint8]]) -> None:
    """Gives an encoder the weights of a bundle.

    Args:
        bundle: folder with `model.onnx`, as `training/export.py` writes it for the same architecture.
        encoder: changed in place.
        pictures: (S, S, 3) uint8 RGB, as the training shows them.

    Raises:
        ValueError: the graph is of another architecture, or in integers.
    """
    import onnx

    graph = onnx.load(str(bundle / "model.onnx")).graph
    if in_integers(graph):
        raise ValueError(f"{bundle} is in integers; name the bundle in floats that it was made from")
    stored = {i.name: torch.from_numpy(onnx.numpy_helper.to_array(i).copy()) for i in graph.initializer}
    stored |= {
        n.output[0]: stored[n.input[0]] for n in graph.node if n.op_type == "Identity"
    }  # equal arrays, kept once
    convolutions = {
        _layer(node.name): [stored[name] for name in node.input[1:]] for node in graph.node if node.op_type == "Conv"
    }
    before, norms = None, 0
    for name, module in encoder.backbone.named_modules():
        if isinstance(module, nn.Conv2d):
            before = name
        elif isinstance(module, nn.BatchNorm2d) and before is not None:
            if len(convolutions.get(before, ())) != 2:
                raise ValueError(f"the bundle's graph has no convolution {before} with a bias")
            weight, bias = convolutions[before]
            convolution = encoder.backbone.get_submodule(before)
            if weight.shape != convolution.weight.shape:
                raise ValueError(
                    f"{bundle}: {before} is {tuple(weight.shape)}, expected {tuple(convolution.weight.shape)}"
                )
            if norms == 0:  # the inverse of what the export folds into the first layer
                weight = weight * encoder.std
            convolution.weight.copy_(weight)
            module.bias.copy_(bias)
            norms += 1
    encoder.squeeze.weight.copy_(stored["encoder.squeeze.weight"])
    encoder.linear.weight.copy_(stored["weight"])
    encoder.centre.bias.copy_(stored["bias"])
    take_statistics(encoder, torch.from_numpy(np.stack(pictures[:SAMPLE])))


def _layer(node: str) -> str:
    """The layer's name in timm: `/blocks/blocks.0/blocks.0.1/conv_dw/Conv` is `blocks.0.1.conv_dw`."""
    *folders, last = node.strip("/").removesuffix("/Conv").split("/")
    return ".".join([*folders[-1:], last])
