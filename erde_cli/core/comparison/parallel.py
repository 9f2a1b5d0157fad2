"""Several trainings of a comparison at once: its workers, and its shards. Never imports torch."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from erde_cli.core.errors import InputError, brief

_FORM = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of a comparison, counted from 1; each trains its own seeds."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def of(self, seeds: Sequence[int]) -> tuple[int, ...]:
        """The seeds of this shard: every `count`-th one."""
        return tuple(seeds[self.number - 1 :: self.count])


def read_shard(text: str, seeds: int) -> Shard:
    """Read the value of `--shard`, such as "2/4".

    Args:
        text: the value.
        seeds: number of seeds of the comparison.

    Raises:
        InputError: it has another form, there is no such shard, or a shard has no seed.
    """
    found = _FORM.fullmatch(text.strip())
    shard = Shard(*map(int, found.groups())) if found else None
    if shard is None or not 1 <= shard.number <= shard.count:
        raise InputError(
            "--shard takes the number of a shard and of all shards.",
            got=f"--shard {brief(repr(text))}",
            expected="I/N, with I from 1 to N",
            hint="for example: --shard 1/2 in one job, --shard 2/2 in another",
        )
    if shard.count > seeds:
        raise InputError(
            "--shard splits a comparison by seed, and there are more shards than seeds.",
            got=f"--shard {shard} of {seeds} {'seed' if seeds == 1 else 'seeds'}",
            expected=f"at most {seeds} shards",
            hint="lower the number of shards, or raise --seeds",
        )
    return shard


def check_workers(workers: int) -> None:
    """Check the number of trainings at once.

    Raises:
        InputError: it is out of bounds.
    """
    # Each process holds torch, the images and a network.
    most = max(16, 4 * (os.cpu_count() or 1))
    if not 1 <= workers <= most:
        raise InputError(
            "The number of workers is out of bounds.",
            got=f"--workers {workers}",
            expected=f"1 to {most}",
            hint="omit --workers to train one network at a time",
        )
