"""Steps of several processes: the losses of one, and the same network on all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from erde_cli.core.models.architecture import build_model
from tests.core.processes.training import (
    AIRBENCH,
    ARCHITECTURE,
    RESNET,
    STEPS,
    VGG,
    WRN,
    batch_of,
    one_is_not_finite,
    one_step,
    statistics,
    steps,
)
from tests.ranks import results

Steps = Callable[..., list[dict[str, Any]]]
CLOSE = 1e-5
NETWORKS = {  # teacher, student, whether it is distilled
    "airbench": (AIRBENCH, RESNET, False),
    "vgg from resnet": (RESNET, VGG, True),
    "wrn from airbench": (AIRBENCH, WRN, True),
}


def difference(one: list[float], other: list[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_losses_are_those_of_one_process(name: str, world_size: int, tmp_path: Path) -> None:
    """In float32, without dropout, with norms in evaluation mode: nothing else differs."""
    teacher, student, distils = NETWORKS[name]
    [alone] = results(tmp_path / "one", 1, steps, teacher, student, distils, False)
    shared = results(tmp_path / "more", world_size, steps, teacher, student, distils, False)
    assert len(alone["losses"]) == STEPS
    assert alone["losses"][-1] < alone["losses"][0]
    for found in shared:
        assert found["losses"] == shared[0]["losses"]
        assert found["terms"] == shared[0]["terms"]
        assert found["weights"] == shared[0]["weights"]
    assert len(set(shared[0]["weights"])) == STEPS
    assert difference(alone["losses"], shared[0]["losses"]) < CLOSE
    for one, other in zip(alone["terms"], shared[0]["terms"], strict=True):
        for term, values in one.items():
            assert difference(values, other[term]) < CLOSE, term


def test_running_statistics_are_equal_on_all_processes_after_every_step(tmp_path: Path) -> None:
    teacher, student, distils = NETWORKS["vgg from resnet"]
    first, *others = results(tmp_path, 3, steps, teacher, student, distils, True)
    assert len(set(first["statistics"])) == STEPS
    for other in others:
        assert other == first


def test_running_statistics_are_the_means_of_those_of_each_process(tmp_path: Path) -> None:
    expected: dict[str, Tensor] = {}
    for rank in range(2):
        model = build_model(ARCHITECTURE, 1).train()
        with torch.no_grad():
            model(batch_of(rank, 2).images)
        for name, one in statistics(model).items():
            expected[name] = expected.get(name, torch.zeros(())) + one / 2
    for found in results(tmp_path, 2, one_step):
        assert set(found) == set(expected)
        for name, values in found.items():
            torch.testing.assert_close(torch.tensor(values), expected[name], rtol=1e-5, atol=1e-6)


def test_a_step_that_is_not_finite_on_one_process_is_taken_on_none(tmp_path: Path) -> None:
    first, second = results(tmp_path, 2, one_is_not_finite)
    assert first["seen"] == [True, True, True]
    assert second["seen"] == [True, False, True]  # what this process has computed itself
    assert first["taken"] == second["taken"] == [True, False, True]
    assert first["state"] == second["state"]
    before, skipped, after = first["state"]
    assert before == skipped != after
