"""What holds of the routing of any batch: each image leaves as it would alone."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from erde_cli.core.inference import routing as module
from erde_cli.core.inference.routing import Routed, all_scores, first_exit, route
from erde_cli.core.models.early_exit import EarlyExitNet

CLASSES, EXITS = 3, 3

logit = st.floats(-40, 40, width=32)
of_exit = st.lists(logit, min_size=CLASSES, max_size=CLASSES)
logits = st.lists(of_exit, min_size=EXITS, max_size=EXITS)
batches = st.lists(logits, max_size=7)
theta = st.sampled_from([0.0, 5e-324, math.log(CLASSES), math.inf]) | st.floats(0, 1.2)
thresholds = st.tuples(theta, theta)
temperatures = st.none() | st.lists(st.floats(0.05, 20), min_size=EXITS, max_size=EXITS)
reproducible = settings(max_examples=120, deadline=None, database=None, derandomize=True)


class Told(nn.Module):
    """A head that answers what is written into the images for it."""

    def __init__(self, exit_: int) -> None:
        super().__init__()
        self.exit = exit_

    def forward(self, images: Tensor) -> Tensor:
        return images[:, self.exit, :, 0]


NETWORK = EarlyExitNet(
    [nn.Identity() for _ in range(EXITS)], [Told(exit_) for exit_ in range(EXITS)], CLASSES
).eval()


def images_of(batch: list[list[list[float]]]) -> Tensor:
    return torch.tensor(batch).reshape(len(batch), EXITS, CLASSES, 1)


def same(one: Routed, other: Routed) -> bool:
    pairs = ((one.logits, other.logits), (one.exit, other.exit), (one.score, other.score))
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture(autouse=True)
def _three_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Larger batches are routed in parts."""
    monkeypatch.setattr(module, "images_at_once", lambda side, device: 3)


@reproducible
@given(batches, thresholds, temperatures)
@example([], (0.5, 0.5), None)
def test_a_batch_is_routed_by_the_rule_for_one_image(
    batch: list[list[list[float]]], thetas: tuple[float, float], divisors: list[float] | None
) -> None:
    images = images_of(batch)
    routed = route(NETWORK, images, thetas, divisors)
    scores = all_scores(images[..., 0], divisors)
    rows, expected = torch.arange(len(batch)), first_exit(scores, thetas)
    assert torch.equal(routed.exit, expected)
    assert torch.equal(routed.logits, images[rows, expected, :, 0])
    assert torch.equal(routed.score, scores[rows, expected])


@reproducible
@given(batches, thresholds, temperatures)
def test_an_image_leaves_in_a_batch_as_it_does_alone(
    batch: list[list[list[float]]], thetas: tuple[float, float], divisors: list[float] | None
) -> None:
    together = route(NETWORK, images_of(batch), thetas, divisors)
    for place, one in enumerate(batch):
        alone = route(NETWORK, images_of([one]), thetas, divisors)
        part = slice(place, place + 1)
        assert same(alone, Routed(together.logits[part], together.exit[part], together.score[part]))


@reproducible
@given(st.data(), batches, thresholds)
def test_a_shuffled_batch_gives_shuffled_answers(
    data: st.DataObject, batch: list[list[list[float]]], thetas: tuple[float, float]
) -> None:
    order = torch.tensor(data.draw(st.permutations(range(len(batch)))), dtype=torch.int64)
    images = images_of(batch)
    straight, shuffled = route(NETWORK, images, thetas), route(NETWORK, images[order], thetas)
    assert same(
        shuffled, Routed(straight.logits[order], straight.exit[order], straight.score[order])
    )


@reproducible
@given(batches, thresholds, thresholds, temperatures)
def test_larger_thresholds_never_make_a_routed_image_leave_later(
    batch: list[list[list[float]]],
    some: tuple[float, float],
    others: tuple[float, float],
    divisors: list[float] | None,
) -> None:
    images = images_of(batch)
    larger = [max(pair) for pair in zip(some, others, strict=True)]
    early, late = route(NETWORK, images, larger, divisors), route(NETWORK, images, some, divisors)
    assert (early.exit <= late.exit).all()
