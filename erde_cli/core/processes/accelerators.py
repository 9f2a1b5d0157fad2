"""Which process uses which accelerator; imports no torch."""

from __future__ import annotations

from erde_cli.core.errors import InputError
from erde_cli.core.figures import counted


def require_own(kind: str, rank: int, place_on_host: int, gpus: int) -> None:
    """Check that a process has a device of its own; a CPU can be shared.

    Args:
        kind: of the device, such as "cpu" or "cuda".
        rank: of the process.
        place_on_host: its number among the processes of its host, from 0.
        gpus: number of GPUs that the process sees.

    Raises:
        InputError: the host has more processes than GPUs, or a device that they cannot share.
    """
    if kind == "cpu" or (kind == "cuda" and place_on_host < gpus):
        return
    if kind == "cuda":
        raise InputError(
            f"There is no GPU for rank {rank}: each process needs its own.",
            got=f"{counted(gpus, 'GPU')}, and at least {place_on_host + 1} processes on this host",
            expected="at most one process per GPU",
            hint=f"start torchrun with --nproc-per-node {max(1, gpus)}, or add --device cpu",
        )
    raise InputError(
        f"Several processes cannot train on the device {kind}.",
        got=f"--device {kind}",
        expected="cpu or cuda",
        hint="add --device cpu, or start erde without torchrun",
    )
