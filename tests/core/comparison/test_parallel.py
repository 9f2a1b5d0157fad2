"""Shards of a comparison: each seed is in exactly one."""

import pytest

from erde_cli.core.comparison.parallel import Shard, read_shard


@pytest.mark.parametrize("count", range(1, 6))
def test_every_seed_is_in_exactly_one_shard(count: int) -> None:
    seeds = (11, 12, 13, 14, 15)
    parts = [read_shard(f"{number}/{count}", 5).of(seeds) for number in range(1, count + 1)]
    assert sorted(seed for part in parts for seed in part) == [*seeds]
    assert all(parts)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert parts[0] == seeds[::count]


def test_a_shard_is_written_as_it_is_typed() -> None:
    assert str(read_shard(" 02/4 ", 4)) == "2/4"
    assert read_shard("2/4", 4) == Shard(2, 4)
