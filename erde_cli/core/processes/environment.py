"""What `torchrun` tells a process in its environment; imports no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass

from erde_cli.core.errors import InputError, brief

_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Place:
    """Place of a process among those of one training.

    rank: from 0, of `world_size`. local_rank: from 0, of the `local_size` on its host. address,
    port: where they meet. served: whether torchrun serves their store there, and not rank 0.
    """

    rank: int
    world_size: int
    local_rank: int
    address: str
    port: int
    served: bool = False
    local_size: int = 1


def place_of_process() -> Place | None:
    """Place among several processes; None for a process that was started alone.

    Raises:
        InputError: the variables are not numbers, or are out of bounds.
    """
    if not all(os.environ.get(name) for name in _VARIABLES):
        return None  # a scheduler sets some of them for its own purposes
    texts = {name: os.environ[name] for name in _VARIABLES}
    texts["LOCAL_RANK"] = os.environ.get("LOCAL_RANK", "0")
    texts["LOCAL_WORLD_SIZE"] = os.environ.get("LOCAL_WORLD_SIZE", "1")
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT")
    try:
        rank, size, local, here, port = (int(texts[name]) for name in names)
    except ValueError:
        rank, size, local, here, port = -1, -1, -1, -1, -1
    if not (0 <= rank < size and local >= 0 and 0 < here <= size and 0 < port < 65_536):
        raise InputError(
            "The environment does not describe one of several processes.",
            got=", ".join(f"{name}={brief(text)}" for name, text in texts.items()),
            expected="what torchrun sets: numbers, and RANK below WORLD_SIZE",
            hint="start erde with torchrun, or unset RANK and WORLD_SIZE to use one process",
        )
    served = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    place = Place(rank, size, local, texts["MASTER_ADDR"], port, served, here)
    return place if size > 1 else None
