"""What one of several processes knows before it is connected to the others."""

from __future__ import annotations

import pytest

from erde_cli.core.errors import InputError
from erde_cli.core.processes.environment import Place
from erde_cli.core.processes.torchrun import Torchrun


@pytest.mark.parametrize(
    ("processes", "size", "hint"),
    [
        (3, 64, "type --set training.teacher.batch_size=63, or start fewer processes"),
        (2, 3, "type --set training.teacher.batch_size=2, or start fewer processes"),
        (4, 3, "start fewer processes"),  # also where there are only 3 images
        (64, 1, "start fewer processes"),
    ],
)
def test_batches_that_cannot_be_shared(processes: int, size: int, hint: str) -> None:
    one = Torchrun(Place(0, processes, 0, "127.0.0.1", 1))
    with pytest.raises(InputError, match=f"{processes} processes cannot share") as it:
        one.require_shares(size, "training.teacher.batch_size")
    assert it.value.hint == hint
    one.require_shares(processes * size, "training.teacher.batch_size")


def test_a_process_that_is_not_connected_tells_its_own_failure() -> None:
    assert Torchrun(Place(1, 2, 0, "127.0.0.1", 1)).may_report()
