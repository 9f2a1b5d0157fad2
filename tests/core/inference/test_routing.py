"""The exit rule, and the routing of a batch that must equal it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from erde_cli.core.inference.routing import Routed, all_scores, first_exit, route
from erde_cli.core.models.architecture import Architecture, build_model
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.thresholds.scores import ENTROPY, Score

from ...other_scores import OTHERS, name_of

INF = math.inf
CLASSES = 5


def make_model(head: str = "gap", cuts: tuple[int, ...] = (1, 2)) -> EarlyExitNet:
    """A network whose answers differ in how sure they are."""
    model = build_model(Architecture("resnet", 8, 4, cuts, head, CLASSES, 8), seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for classifier in model.heads:
            classifier[-1].weight.normal_(generator=generator)
    return model.eval()


def make_images(count: int = 9) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(2))


@torch.no_grad()
def full_scores(model: EarlyExitNet, images: Tensor) -> Tensor:
    return ENTROPY.value(model(images))


def between(scores: Tensor, below: int) -> float:
    """Threshold halfway between two scores, with `below` of them under it."""
    ordered = sorted(scores.tolist())
    return (ordered[below - 1] + ordered[below]) / 2


@contextmanager
def counted(modules: nn.ModuleList) -> Iterator[dict[int, list[int]]]:
    """Number of images in each call of each module."""
    calls: dict[int, list[int]] = {index: [] for index in range(len(modules))}
    hooks = [
        module.register_forward_hook(
            lambda _module, inputs, _output, index=index: calls[index].append(len(inputs[0]))
        )
        for index, module in enumerate(modules)
    ]
    yield calls
    for hook in hooks:
        hook.remove()


def assert_route_is_rule(
    model: EarlyExitNet,
    images: Tensor,
    thresholds: list[float],
    temperatures: list[float] | None = None,
    score: Score = ENTROPY,
) -> list[int]:
    """Check a routing against the full forward pass; gives the number of images per exit."""
    with torch.no_grad():
        everything = model(images)
    scores = all_scores(everything, temperatures, score)
    exits = first_exit(scores, thresholds)
    routed = route(model, images, thresholds, temperatures, score)
    rows = torch.arange(len(images))
    assert torch.equal(routed.exit, exits)
    torch.testing.assert_close(routed.logits, everything[rows, exits], rtol=0, atol=1e-5)
    torch.testing.assert_close(routed.score, scores[rows, exits], rtol=0, atol=1e-5)
    return torch.bincount(exits, minlength=model.exit_count).tolist()


@pytest.mark.parametrize(
    ("score", "theta", "exit_"),
    [
        (0.5, 0.5, 1),
        (0.5, math.nextafter(0.5, 1), 0),
        (0.5, math.nextafter(0.5, 0), 1),
        (0.0, 0.0, 1),
        (0.0, 5e-324, 0),
        (2.0, INF, 0),
    ],
)
def test_an_image_leaves_only_strictly_below_the_threshold(
    score: float, theta: float, exit_: int
) -> None:
    assert first_exit(torch.tensor([[score, 1.0]]), [theta]).tolist() == [exit_]


def test_an_image_leaves_at_the_first_exit_that_is_sure_enough() -> None:
    scores = torch.tensor([[0.1, 0.0, 0.0], [0.9, 0.1, 0.0], [0.9, 0.9, 0.9], [0.9, 0.3, 0.0]])
    exits = first_exit(scores, [0.2, 0.3])
    assert exits.tolist() == [0, 1, 2, 2]
    assert exits.dtype == torch.int64


def test_a_threshold_of_0_never_lets_an_image_leave_early() -> None:
    assert first_exit(torch.zeros(4, 3), [0.0, 0.0]).tolist() == [2] * 4


def test_an_infinite_threshold_lets_every_image_leave_at_once() -> None:
    assert first_exit(torch.full((4, 3), 1e30), [INF, 0.0]).tolist() == [0] * 4


def test_the_last_exit_lets_every_image_leave_however_unsure() -> None:
    assert first_exit(torch.full((2, 3), INF), [1.0, 1.0]).tolist() == [2, 2]
    assert first_exit(torch.full((2, 1), INF), []).tolist() == [0, 0]


@pytest.mark.parametrize("thresholds", [[], [0.5], [0.5, 0.5, 0.5]])
def test_a_wrong_number_of_thresholds_is_refused(thresholds: list[float]) -> None:
    with pytest.raises(ValueError, match=f"2 thresholds expected, got {len(thresholds)}"):
        first_exit(torch.zeros(2, 3), thresholds)
    with pytest.raises(ValueError, match=f"2 thresholds expected, got {len(thresholds)}"):
        route(make_model(), make_images(2), thresholds)


SCORE = st.floats(0, 2.5, width=32)
THRESHOLD = st.one_of(st.floats(0, 3), st.just(INF))


@settings(deadline=None, max_examples=100, derandomize=True)
@given(
    scores=st.lists(st.tuples(SCORE, SCORE, SCORE), min_size=1, max_size=8),
    low=st.tuples(THRESHOLD, THRESHOLD),
    other=st.tuples(THRESHOLD, THRESHOLD),
)
def test_a_raised_threshold_never_makes_an_image_leave_later(
    scores: list[tuple[float, float, float]],
    low: tuple[float, float],
    other: tuple[float, float],
) -> None:
    high = [max(pair) for pair in zip(low, other, strict=True)]
    table = torch.tensor(scores)
    assert (first_exit(table, high) <= first_exit(table, low)).all()


@pytest.mark.parametrize("head", ["gap", "erde"])
@pytest.mark.parametrize(
    ("leave_first", "leave_second"),
    [(3, 3), (8, 0), (0, 8), (1, 7), (4, 5), (9, 0), (0, 9), (0, 0)],
    ids=[
        "mixed",
        "one_survivor",
        "late",
        "one_each",
        "none_last",
        "all_first",
        "all_second",
        "none",
    ],
)
def test_routing_equals_the_full_forward_pass_and_the_rule(
    head: str, leave_first: int, leave_second: int
) -> None:
    model, images = make_model(head), make_images()
    scores = full_scores(model, images)
    extremes = {0: 0.0, 9: INF}
    first = extremes.get(leave_first) or (
        between(scores[:, 0], leave_first) if leave_first else 0.0
    )
    waiting = scores[scores[:, 0].double() >= first, 1]
    if leave_second == len(waiting):
        second = INF
    else:
        second = between(waiting, leave_second) if leave_second else 0.0
    counts = assert_route_is_rule(model, images, [first, second])
    assert counts == [leave_first, leave_second, 9 - leave_first - leave_second]


@pytest.mark.parametrize(
    ("thresholds", "exit_"), [([INF, 0.0], 0), ([0.0, INF], 1), ([0.0, 0.0], 2)]
)
def test_a_batch_of_one_is_routed_to_every_exit(thresholds: list[float], exit_: int) -> None:
    counts = assert_route_is_rule(make_model(), make_images(1), thresholds)
    assert counts == [int(index == exit_) for index in range(3)]


@pytest.mark.parametrize("count", [1, 3])
def test_no_gradient_is_recorded_whether_or_not_the_caller_forbids_it(count: int) -> None:
    model, images = make_model(), make_images(count)
    outside = route(model, images, [0.0, 0.0])
    with torch.inference_mode():
        inside = route(model, images, [0.0, 0.0])
    assert outside.logits.is_inference()
    assert torch.equal(outside.logits, inside.logits)


def test_an_empty_batch_is_routed_to_nothing() -> None:
    routed = route(make_model(), make_images(0), [0.5, 0.5])
    assert [tuple(value.shape) for value in (routed.logits, routed.exit, routed.score)] == [
        (0, CLASSES),
        (0,),
        (0,),
    ]


def test_a_network_with_one_exit_needs_no_threshold() -> None:
    assert assert_route_is_rule(make_model(cuts=()), make_images(), []) == [9]


def test_routing_is_strict_at_equality() -> None:
    model, image = make_model(), make_images(1)
    score = route(model, image, [INF, 0.0]).score.item()
    assert route(model, image, [score, 0.0]).exit.tolist() == [2]
    assert route(model, image, [math.nextafter(score, INF), 0.0]).exit.tolist() == [0]


def test_the_order_of_the_images_plays_no_part() -> None:
    model, images = make_model(), make_images()
    scores = full_scores(model, images)
    thresholds = [between(scores[:, 0], 4), between(scores[:, 1], 6)]
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(3))
    straight, shuffled = route(model, images, thresholds), route(model, images[order], thresholds)
    assert len(set(straight.exit.tolist())) > 1
    assert torch.equal(shuffled.exit, straight.exit[order])
    torch.testing.assert_close(shuffled.logits, straight.logits[order], rtol=0, atol=1e-5)


def test_images_that_have_left_are_not_computed_any_further() -> None:
    model, images = make_model(), make_images()
    first = between(full_scores(model, images)[:, 0], 5)
    with counted(model.stages) as stages, counted(model.heads) as heads:
        route(model, images, [first, 0.0])
    assert stages == heads == {0: [9], 1: [4], 2: [4]}


@pytest.mark.parametrize(
    ("thresholds", "called"),
    [([INF, 0.0], [0]), ([0.0, INF], [0, 1]), ([0.0, 0.0], [0, 1, 2])],
)
def test_deeper_stages_are_not_called_when_no_image_is_left(
    thresholds: list[float], called: list[int]
) -> None:
    model = make_model()
    with counted(model.stages) as stages, counted(model.heads) as heads:
        route(model, make_images(), thresholds)
    assert [index for index, sizes in stages.items() if sizes] == called
    assert [index for index, sizes in heads.items() if sizes] == called


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_images_that_go_on_keep_their_memory_layout(layout: torch.memory_format) -> None:
    model = make_model().to(memory_format=layout)
    images = make_images(12).contiguous(memory_format=layout)
    scores = full_scores(model, images)
    seen: list[tuple[int, bool]] = []

    def look(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        features = inputs[0]
        seen.append((len(features), features.is_contiguous(memory_format=layout)))

    for stage in model.stages[1:]:
        stage.register_forward_pre_hook(look)
    route(model, images, [between(scores[:, 0], 4), 0.0])
    assert seen == [(8, True), (8, True)]


@pytest.mark.parametrize("at_once", [1, 2, 5, 12, 100])
def test_a_batch_taken_in_parts_is_routed_as_a_whole(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, images = make_model(), make_images(12)
    scores = full_scores(model, images)
    thresholds = [between(scores[:, 0], 5), between(scores[:, 1], 8)]
    whole = route(model, images, thresholds)
    monkeypatch.setattr(
        "erde_cli.core.inference.routing.images_at_once", lambda side, device: at_once
    )
    with counted(model.stages) as calls:
        parts = route(model, images, thresholds)
    assert max(calls[0]) == min(at_once, 12)
    assert torch.equal(parts.exit, whole.exit)
    torch.testing.assert_close(parts.logits, whole.logits)
    torch.testing.assert_close(parts.score, whole.score)
    assert len(set(whole.exit.tolist())) == 3


WARM = [0.4, 2.5, 0.1]


def test_the_score_at_a_temperature_is_the_entropy_of_the_divided_logits() -> None:
    logits = torch.randn(7, 3, CLASSES, generator=torch.Generator().manual_seed(5))
    found = all_scores(logits, WARM)
    divided = logits.double() / torch.tensor(WARM, dtype=torch.float64)[:, None]
    chances = divided.softmax(dim=-1)
    assert found.dtype == torch.float32
    torch.testing.assert_close(
        found.double(), -(chances * chances.log()).sum(-1), rtol=0, atol=1e-5
    )
    assert torch.equal(all_scores(logits), ENTROPY.value(logits))
    assert torch.equal(all_scores(logits, [1.0] * 3), ENTROPY.value(logits))


@pytest.mark.parametrize("head", ["gap", "erde"])
def test_routing_with_temperatures_equals_the_full_forward_pass_and_the_rule(head: str) -> None:
    model, images = make_model(head), make_images()
    with torch.no_grad():
        logits = model(images)
    plain, warm = all_scores(logits), all_scores(logits, WARM)
    thresholds = [between(warm[:, 0], 4), between(warm[:, 1], 6)]
    counts = assert_route_is_rule(model, images, thresholds, WARM)
    assert all(counts)
    assert not torch.equal(first_exit(plain, thresholds), first_exit(warm, thresholds))
    for image in images.split(1):
        assert_route_is_rule(model, image, thresholds, WARM)


def by_hand(logits: Tensor, score: Score) -> Tensor:
    """Maximum probability or margin, turned round, [batch, exits]."""
    highest = logits.double().softmax(dim=-1).sort(dim=-1, descending=True).values
    second = highest[..., 1] if score.name == "margin" else 0
    return 1 - (highest[..., 0] - second)


@pytest.mark.parametrize("temperatures", [None, WARM], ids=["plain", "warm"])
@pytest.mark.parametrize("score", OTHERS, ids=name_of)
def test_another_score_decides_and_entropy_does_not(
    score: Score, temperatures: list[float] | None
) -> None:
    model, images = make_model(), make_images(40)
    with torch.no_grad():
        logits = model(images)
    scores, entropies = (all_scores(logits, temperatures, one) for one in (score, ENTROPY))
    divided = logits / torch.tensor(temperatures or [1.0] * 3)[:, None]
    torch.testing.assert_close(
        scores.double(), by_hand(divided, score), rtol=0, atol=1e-5, check_dtype=False
    )
    thresholds = [between(scores[:, 0], 15), between(scores[:, 1], 20)]
    counts = assert_route_is_rule(model, images, thresholds, temperatures, score)
    assert all(counts)
    assert not torch.equal(first_exit(scores, thresholds), first_exit(entropies, thresholds))
    for image in images[:9].split(1):
        assert_route_is_rule(model, image, thresholds, temperatures, score)


@pytest.mark.parametrize("count", [1, 9])
def test_a_temperature_leaves_the_logits_as_they_are(count: int) -> None:
    """Bit for bit: the label is taken from them, and division could make two of them equal."""
    model, images = make_model(), make_images(count)
    for thresholds in ([INF, 0.0], [0.0, INF], [0.0, 0.0]):
        plain, warm = route(model, images, thresholds), route(model, images, thresholds, WARM)
        assert torch.equal(plain.logits, warm.logits)
        assert torch.equal(plain.exit, warm.exit)
        assert not torch.equal(plain.score, warm.score)


class Told(nn.Module):
    """A head that returns the given logits for any image."""

    def __init__(self, logits: list[float]) -> None:
        super().__init__()
        self.logits = torch.tensor([logits])

    def forward(self, features: Tensor) -> Tensor:
        return self.logits.expand(len(features), -1)


NEAR = st.one_of(st.floats(-9, 9, width=32), st.sampled_from([1.0, 1 + 2**-23, 1e-38, 1e-45]))


@settings(deadline=None, max_examples=60, derandomize=True)
@given(logits=st.lists(NEAR, min_size=3, max_size=3), temperature=st.floats(0.05, 20))
def test_a_temperature_never_changes_a_label_not_even_near_a_tie(
    logits: list[float], temperature: float
) -> None:
    model = make_model()
    model.heads = nn.ModuleList(Told(logits) for _ in range(3))
    label = max(range(3), key=lambda index: (logits[index], -index))
    found: list[Routed] = [
        route(model, make_images(count), thresholds, [temperature] * 3)
        for count in (1, 2)
        for thresholds in ([INF, 0.0], [0.0, 0.0])
    ]
    assert {int(one) for routed in found for one in routed.logits.argmax(dim=-1)} == {label}


@pytest.mark.parametrize("count", [1, 4])
def test_nothing_is_divided_where_no_temperature_is_given(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def divide(*_: object) -> Tensor:
        raise AssertionError

    model, images = make_model(), make_images(count)
    monkeypatch.setattr(Tensor, "__truediv__", divide)
    route(model, images, [0.5, 0.5])
    with pytest.raises(AssertionError):
        route(model, images, [0.5, 0.5], WARM)


@pytest.mark.parametrize("wrong", [[], [1.0, 1.0], [1.0] * 4, [1.0, 0.0, 1.0], [1.0, INF, 1.0]])
def test_temperatures_that_cannot_be_are_refused(wrong: list[float]) -> None:
    with pytest.raises(ValueError, match="temperatures"):
        route(make_model(), make_images(1), [0.5, 0.5], wrong)
    with pytest.raises(ValueError, match="temperatures"):
        all_scores(torch.zeros(2, 3, CLASSES), wrong)
