"""What processes agree on, and what they say if one of them ends."""

from __future__ import annotations

import math
import signal
import time
from pathlib import Path

import pytest
import torch

from tests.core.processes import meeting
from tests.ranks import Ranks, results


@pytest.mark.parametrize("world_size", [2, 3])
def test_means_are_those_of_all_and_equal_on_all(world_size: int, tmp_path: Path) -> None:
    found = results(tmp_path, world_size, meeting.means)
    assert all(str(after) == str(found[0][1]) for _, after in found)
    for place, after in enumerate(found[0][1]):
        given = torch.stack([torch.tensor(before[place]).flatten() for before, _ in found])
        torch.testing.assert_close(torch.tensor(after), given.mean(dim=0))
    assert [math.isfinite(value) for value in found[0][1][3]] == [True, False]


def test_the_signal_of_one_is_that_of_all(tmp_path: Path) -> None:
    assert results(tmp_path, 3, meeting.stops) == [[None, signal.SIGINT, signal.SIGTERM, None]] * 3


def test_all_start_with_the_network_of_rank_0(tmp_path: Path) -> None:
    first, *others = results(tmp_path, 3, meeting.alike, 3)
    assert others == [first, first]
    assert len(first) == 7  # weights, bias and statistics


def test_all_must_start_at_one_step(tmp_path: Path) -> None:
    for told in results(tmp_path, 2, meeting.alike, 4):
        assert "do not read the same saved state" in told
        assert "steps 3, 4 of ranks 0, 1" in told


def test_rank_0_works_before_the_others_and_all_wait_for_the_last(tmp_path: Path) -> None:
    assert results(tmp_path / "ranks", 3, meeting.order, str(tmp_path)) == [
        [False, True], [True, True], [True, True],
    ]  # fmt: skip


def test_inputs_and_folders_must_be_the_same(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    assert results(tmp_path / "a", 2, meeting.agreement, str(run), "1") == ["", ""]
    assert list(run.iterdir()) == []
    with Ranks(tmp_path / "b", 2, meeting.agreement, str(run), "7") as ranks:
        _, second = ranks.ended()
    assert "Rank 1 was started with other inputs than rank 0." in second.result
    assert "seed: 7" in second.result
    assert "seed: 1" in second.result
    assert list(run.iterdir()) == []


def test_one_of_them_reports(tmp_path: Path) -> None:
    assert sorted(results(tmp_path, 3, meeting.reporters)) == [False, False, True]


def test_rank_0_keeps_its_store_until_all_know_that_they_stop(tmp_path: Path) -> None:
    with Ranks(tmp_path, 3, meeting.stops_together, own_store=True) as ranks:
        ended = ranks.ended()
    assert [one.result for one in ended] == [True, False, False], [one.err for one in ended]


@pytest.mark.parametrize(
    ("how", "killed", "own_store"),
    [("meet", 1, False), ("average", 0, False), ("meet", 0, True), ("average", 0, True)],
)
def test_one_of_the_others_says_which_has_been_killed(
    how: str, killed: int, own_store: bool, tmp_path: Path
) -> None:
    """With rank 0 goes the store that it keeps, if torchrun does not."""
    given = (meeting.loses, str(tmp_path), how, killed)
    with Ranks(tmp_path / "ranks", 3, *given, own_store=own_store) as ranks:
        while len(list(tmp_path.glob("ready-*"))) < 3:
            assert ranks.alive
            time.sleep(0.02)
        ranks.send(killed, signal.SIGKILL)
        ended = ranks.ended(30)
    others = [one for rank, one in enumerate(ended) if rank != killed]
    assert ended[killed].code == -signal.SIGKILL
    assert [one.code for one in others] == [0, 0], [one.err for one in others]
    assert sorted(one.result[2] for one in others) == [False, True]
    [told] = [one.result[0] for one in others if one.result[2]]
    assert f"lost rank {killed}: killed, or ended without a message" in told
