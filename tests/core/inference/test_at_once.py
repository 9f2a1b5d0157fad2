"""Several batches at once: the same answers, in order, and really at the same time."""

from collections.abc import Callable
from threading import Barrier
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from erde_cli.core.inference.at_once import answers_at_once
from erde_cli.core.inference.exit_rule import ExitRule
from erde_cli.core.inference.prediction import Answering, Predicted
from erde_cli.core.thresholds.scores import ENTROPY

RULE = ExitRule((0.5,), None, "float32", ENTROPY)
IMAGES = torch.arange(7, dtype=torch.uint8).view(7, 1, 1, 1).expand(7, 2, 2, 3)


class Network:
    """Its answer to an image is the value of the first pixel. Batches have 2 images by default."""

    def __init__(self, before: Callable[[Tensor], object] = len) -> None:
        self.before = before
        self.sizes: list[int] = []
        self.threads: set[int] = set()

    def batch_size(self, batch: int | None) -> int:
        return batch or 2

    def answer(self, pixels: Tensor, rule: ExitRule, batch: int | None = None) -> Predicted:
        assert rule is RULE
        self.before(pixels)
        self.sizes.append(len(pixels))
        self.threads.add(torch.get_num_threads())
        values = pixels[:, 0, 0, 0].long()
        return Predicted(values, values.float(), values.float() + 1, values % 3)


def answers(network: Network, workers: int, batch: int | None = None) -> list[Any]:
    with answers_at_once(cast(Answering, network), RULE, batch, workers) as answer:
        first, second = answer(IMAGES), answer(IMAGES[:3])
        return [first(), second()]


@pytest.mark.parametrize(("batch", "sizes"), [(None, [1, 1, 2, 2, 2, 2]), (4, [3, 3, 4])])
@pytest.mark.parametrize("workers", [2, 3])
def test_batches_are_those_of_one_worker_and_their_answers_are_in_order(
    workers: int, batch: int | None, sizes: list[int]
) -> None:
    network = Network()
    for found, wanted in zip(answers(network, workers, batch), answers(Network(), 1), strict=True):
        for name in ("labels", "confidences", "entropies", "exits"):
            assert torch.equal(getattr(found, name), getattr(wanted, name))
    assert sorted(network.sizes) == sizes


def test_as_many_batches_are_answered_at_once_as_there_are_workers() -> None:
    barrier = Barrier(3)  # nobody passes it alone
    network = Network(lambda _: barrier.wait(20))
    with answers_at_once(cast(Answering, network), RULE, None, 3) as answer:
        assert answer(IMAGES[:6])().labels.tolist() == [0, 1, 2, 3, 4, 5]


def test_each_worker_has_the_threads_of_whoever_asks() -> None:
    network = Network()
    torch.set_num_threads(2)
    answers(network, 2)
    assert network.threads == {2}


def test_an_error_in_a_batch_is_raised_where_its_answers_are_taken() -> None:
    def fails(pixels: Tensor) -> None:
        if pixels[0, 0, 0, 0] == 4:
            raise ValueError("the third batch")

    with (
        answers_at_once(cast(Answering, Network(fails)), RULE, None, 2) as answer,
        pytest.raises(ValueError, match="the third batch"),
    ):
        answer(IMAGES)()
