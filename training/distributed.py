"""One process or several: what `torchrun` says, as torch needs it.

    torchrun --nproc-per-node 4 -m training.train CONFIG --data DATA --out RUN

Each process trains its share of every batch, and gradients are averaged: NCCL between GPUs, Gloo between CPUs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True, slots=True)
class Group:
    """This process among those that train together.

    Attributes:
        rank: its number; 0 writes logs and checkpoints.
        world: how many there are.
        device: what it computes on.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this one writes."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module, with gradients averaged over the group."""
        if self.world == 1:
            return module
        ids = [self.device.index] if self.device.type == "cuda" else None
        # parts of the loss that count nothing leave parameters without a gradient
        return DistributedDataParallel(module, device_ids=ids, find_unused_parameters=True)

    def wait(self) -> None:
        """Until all are here."""
        if self.world > 1:
            distributed.barrier()


def join() -> Group:
    """Joins the processes that `torchrun` started; without it this one is alone."""
    cuda = torch.cuda.is_available()
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if "WORLD_SIZE" not in os.environ:
        return Group(0, 1, device)
    if cuda:
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if cuda else "gloo")
    return Group(distributed.get_rank(), distributed.get_world_size(), device)


def leave() -> None:
    """Leaves the group, if there is one."""
    if distributed.is_initialized():
        distributed.destroy_process_group()
