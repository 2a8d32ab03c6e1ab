"""The MobileNet v2 of a quantised TFLite file as a timm network in floating point, to run fast and to train further."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from training.model import IMAGENET_MEAN, IMAGENET_STD, import_timm
from training.tflite import Convolution, Network, read_network


def new_mobilenet() -> nn.Module:
    """timm's network with TensorFlow's padding, weights at random, no classifier: 1,280 features at stride 32."""
    timm = import_timm()
    return timm.create_model("mobilenetv2_100", pretrained=False, num_classes=0, pad_type="same")  # type: ignore[attr-defined,no-any-return]


def load_mobilenet(path: Path) -> nn.Module:
    """The network of a TFLite file; it takes planes with ImageNet's normalisation, as `CardEncoder` makes them.

    To train it further its norms need statistics first (`training/norms.py`): they would change what it says as soon as
    they saw a batch.

    Args:
        path: MobileNet v2, quantised in uint8 or int8.

    Returns:
        In evaluation mode; `forward_features` gives (n, 1280, h, w).

    Raises:
        ValueError: the file has another architecture.
    """
    network = new_mobilenet()
    put_in(network, read_network(path))
    return network.eval()


def normalised(pixels: Tensor) -> Tensor:
    """(n, H, W, 3) uint8 RGB to planes (n, 3, H, W) with ImageNet's mean 0 and standard deviation 1."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) * 255 for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (pixels.permute(0, 3, 1, 2).float() - mean) / std


@torch.no_grad()
def put_in(network: nn.Module, given: Network) -> None:
    """Gives the network the convolutions of the file, and norms that add their biases and do nothing else.

    The difference between the two normalisations goes into the first convolution. That is exact but for the row and the
    column that it pads, which are at the mean of the one instead of the other.
    """
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    convolutions = [with_normalisation(given), *given.convolutions[1:]]
    if len(convolutions) not in (len(layers), len(layers) + 1):  # with or without a classifier
        raise ValueError(f"the file has {len(convolutions)} convolutions; expected MobileNet v2 with {len(layers)}")
    for layer, norm, convolution in zip(layers, norms, convolutions, strict=False):
        if convolution.weight.shape != layer.weight.shape:
            expected = tuple(layer.weight.shape)
            raise ValueError(f"{convolution.name} is {convolution.weight.shape}; expected {expected} of MobileNet v2")
        layer.weight.copy_(torch.from_numpy(convolution.weight))
        norm.bias.copy_(torch.from_numpy(convolution.bias))
        norm.running_mean.zero_()
        norm.running_var.fill_(1.0)
        norm.weight.fill_(float(np.sqrt(1.0 + norm.eps)))


def with_normalisation(given: Network) -> Convolution:
    """The first convolution, for planes with ImageNet's normalisation instead of the file's own."""
    first = given.convolutions[0]
    factor = np.array(IMAGENET_STD) * 255 * given.scale
    offset = (np.array(IMAGENET_MEAN) * 255 - given.zero) * given.scale
    bias = first.bias + (first.weight.sum(axis=(2, 3)) * offset).sum(axis=1)
    weight = first.weight * factor[:, None, None]
    return Convolution(first.name, weight.astype(np.float32), bias.astype(np.float32))
