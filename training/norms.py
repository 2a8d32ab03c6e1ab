"""Batch norms for networks whose own have been folded into the convolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SAMPLE = 64
"""Pictures whose statistics the norms start with."""


@torch.no_grad()
def take_statistics(network: nn.Module, given: Tensor) -> None:
    """Gives norms the statistics of what the network is given, and scale and offset so that they only add biases."""

    def observe(norm: nn.Module, values: tuple[Tensor]) -> None:
        spread, mean = torch.var_mean(values[0], dim=[d for d in range(values[0].dim()) if d != 1])
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(spread)
        norm.weight.copy_(torch.sqrt(spread + norm.eps))
        norm.bias.add_(mean)

    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    handles = [norm.register_forward_pre_hook(observe) for norm in norms]
    network.eval()(given)
    for handle in handles:
        handle.remove()
