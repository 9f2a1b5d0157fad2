"""Which process uses which accelerator."""

from __future__ import annotations

import torch

from erde_cli.core.errors import InputError
from erde_cli.core.figures import counted


def own_device(device: torch.device, rank: int, place_on_host: int, gpus: int) -> torch.device:
    """The device of a process: the CPU, which all share, or a GPU of its own, with its number.

    The number is needed, because threads that prepare batches begin with GPU 0 as their current.

    Args:
        device: without a number.
        rank: of the process.
        place_on_host: its number among the processes of its host, from 0.
        gpus: number of GPUs that the process sees.

    Raises:
        InputError: the host has more processes than GPUs, or a device that they cannot share.
    """
    if device.type == "cpu":
        return device
    if device.type != "cuda":
        raise InputError(
            f"Several processes cannot train on the device {device.type}.",
            got=f"--device {device.type}",
            expected="cpu or cuda",
            hint="add --device cpu, or start erde without torchrun",
        )
    if place_on_host >= gpus:
        raise InputError(
            f"There is no GPU for rank {rank}: each process needs its own.",
            got=f"{counted(gpus, 'GPU')}, and at least {place_on_host + 1} processes on this host",
            expected="at most one process per GPU",
            hint=f"start torchrun with --nproc-per-node {max(1, gpus)}, or add --device cpu",
        )
    return torch.device("cuda", place_on_host)
