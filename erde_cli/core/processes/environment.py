"""What `torchrun` tells a process in its environment; imports no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass

from erde_cli.core.errors import InputError, brief

_NUMBERS = ("RANK", "WORLD_SIZE")
_VARIABLES = (*_NUMBERS, "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Place:
    """Place of a process among those of one training.

    rank: from 0, of `world_size`. local_rank: from 0, on its host. address, port: where they meet.
    served: whether torchrun serves their store there, and not rank 0.
    """

    rank: int
    world_size: int
    local_rank: int
    address: str
    port: int
    served: bool = False


def place_of_process() -> Place | None:
    """Place among several processes; None for a process that was started alone.

    Raises:
        InputError: the variables are not numbers, are missing, or are out of bounds.
    """
    if not all(os.environ.get(name) for name in _NUMBERS):
        return None
    texts = {name: os.environ.get(name, "") for name in _VARIABLES}
    texts["LOCAL_RANK"] = os.environ.get("LOCAL_RANK", "0")
    try:
        rank, size, local = (int(texts[name]) for name in (*_NUMBERS, "LOCAL_RANK"))
        port = int(texts["MASTER_PORT"]) if size > 1 else 1
    except ValueError:
        rank, size, local, port = -1, -1, -1, -1
    alone = size == 1 and rank == 0
    meets = bool(texts["MASTER_ADDR"]) and 0 < port < 65_536
    if not (0 <= rank < size and local >= 0 and (alone or meets)):
        raise InputError(
            "The environment does not describe one of several processes.",
            got=", ".join(f"{name}={brief(text)}" for name, text in texts.items()),
            expected="what torchrun sets: an address, numbers, and RANK below WORLD_SIZE",
            hint="start erde with torchrun, or unset RANK and WORLD_SIZE to use one process",
        )
    served = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return None if alone else Place(rank, size, local, texts["MASTER_ADDR"], port, served)
