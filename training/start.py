"""An encoder that goes on from a bundle's network instead of from nothing.

The bundle's graph has the batch norms folded into the convolutions. They are taken apart again: a norm gets the
statistics that its convolution has on given pictures as its running ones, and the scale and offset that cancel them, so
that the encoder says what the bundle says, and trains on from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.model import CardEncoder

SAMPLE = 64
"""Pictures whose statistics the norms start with."""


@torch.no_grad()
def go_on_from(bundle: Path, encoder: CardEncoder, pictures: Sequence[NDArray[np.uint8]]) -> None:
    """Gives an encoder the weights of a bundle.

    Args:
        bundle: folder with `model.onnx`, as `training/export.py` writes it for the same architecture.
        encoder: changed in place.
        pictures: (S, S, 3) uint8 RGB, as the training shows them.

    Raises:
        ValueError: the graph is of another architecture.
    """
    import onnx

    graph = onnx.load(str(bundle / "model.onnx")).graph
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
    _take_statistics(encoder, torch.from_numpy(np.stack(pictures[:SAMPLE])))


def _layer(node: str) -> str:
    """The layer's name in timm: `/blocks/blocks.0/blocks.0.1/conv_dw/Conv` is `blocks.0.1.conv_dw`."""
    *folders, last = node.strip("/").removesuffix("/Conv").split("/")
    return ".".join([*folders[-1:], last])


def _take_statistics(encoder: CardEncoder, pixels: Tensor) -> None:
    """Gives every norm the statistics of the pictures, and scale and offset so that all it does is to add its bias."""

    def observe(norm: nn.Module, given: tuple[Tensor]) -> None:
        spread, mean = torch.var_mean(given[0], dim=[d for d in range(given[0].dim()) if d != 1])
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(spread)
        norm.weight.copy_(torch.sqrt(spread + norm.eps))
        norm.bias.add_(mean)

    norms = [m for m in encoder.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    handles = [norm.register_forward_pre_hook(observe) for norm in norms]
    encoder.eval()(pixels)
    for handle in handles:
        handle.remove()
