"""The exit rule, and the routing of a batch through the stages.

An image leaves at the first exit whose score is strictly below the exit's threshold. The score is
entropy unless another one is given. The last exit has no threshold. The rule sees only logits, so
labels cannot change an exit. A temperature changes the score of its exit and nothing else.

Source: Teerapittayanon et al., "BranchyNet", ICPR 2016, arXiv 1709.01686.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from erde_cli.core.device import images_at_once
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.thresholds.scores import ENTROPY, Score


class Routed(NamedTuple):
    """The answers of a batch: for each image, values of the exit at which it left.

    logits: float32 [batch, classes]. exit: index of the exit, int64 [batch].
    score: float32 [batch].
    """

    logits: Tensor
    exit: Tensor
    score: Tensor


def first_exit(scores: Tensor, thresholds: Sequence[float]) -> Tensor:
    """Index of the exit each image leaves at, int64 [batch].

    Args:
        scores: [batch, exits], smaller is more certain.
        thresholds: θ of the early exits in the score's unit, [exits - 1]; 0: never, inf: always.

    Raises:
        ValueError: the number of thresholds is not exits - 1.
    """
    if len(thresholds) != scores.shape[1] - 1:
        raise ValueError(f"{scores.shape[1] - 1} thresholds expected, got {len(thresholds)}")
    # float64, because rounding θ to float32 could move an image to another exit.
    limits = torch.tensor([*thresholds, math.inf], dtype=torch.float64, device=scores.device)
    leaves = scores.double() < limits
    leaves[:, -1] = True  # also with a score of NaN, which is not below inf
    return leaves.int().argmax(dim=1)  # the first True


def score_of(logits: Tensor, temperature: float | None, score: Score = ENTROPY) -> Tensor:
    """Score of softmax(logits / temperature) in the score's unit, float32 [...].

    All scores at a temperature are computed here: another way to divide could round a score across
    a threshold.

    Args:
        logits: [..., classes].
        temperature: above 0; None means 1.
        score: score of the exit rule.
    """
    return score.value(logits if temperature is None else logits / temperature)


def all_scores(
    logits: Tensor, temperatures: Sequence[float] | None = None, score: Score = ENTROPY
) -> Tensor:
    """Score of every exit, float32 [batch, exits], for logits [batch, exits, classes].

    Raises:
        ValueError: as `check_temperatures`.
    """
    if temperatures is None:
        return score.value(logits)
    check_temperatures(temperatures, logits.shape[1])
    by_exit = zip(logits.unbind(dim=1), temperatures, strict=True)
    return torch.stack([score_of(at_exit, value, score) for at_exit, value in by_exit], dim=1)


def check_temperatures(temperatures: Sequence[float], exit_count: int) -> None:
    """Check that every exit, including the last, has a temperature.

    Raises:
        ValueError: the number of temperatures is wrong, or one is not positive and finite.
    """
    if len(temperatures) != exit_count:
        raise ValueError(f"{exit_count} temperatures expected, got {len(temperatures)}")
    if not all(0 < value < math.inf for value in temperatures):
        raise ValueError(f"temperatures must be positive and finite, got {list(temperatures)}")


def route(
    model: EarlyExitNet,
    images: Tensor,
    thresholds: Sequence[float],
    temperatures: Sequence[float] | None = None,
    score: Score = ENTROPY,
) -> Routed:
    """Run a batch stage by stage, and drop images once they have left.

    The result equals `first_exit` on the full forward pass.

    Args:
        model: network in evaluation mode; `folded` makes it faster.
        images: normalised, [batch, 3, height, width].
        thresholds: θ of the early exits in the score's unit, [exits - 1].
        temperatures: of every exit, [exits]; they change scores, never the returned logits.
        score: quantity that is compared with the thresholds; smaller is more certain.

    Raises:
        ValueError: the number of thresholds is wrong, or as `check_temperatures`.
    """
    count = model.exit_count
    if len(thresholds) != count - 1:
        raise ValueError(f"{count - 1} thresholds expected, got {len(thresholds)}")
    if temperatures is not None:
        check_temperatures(temperatures, count)
    temperature_of_exits = [None] * count if temperatures is None else temperatures
    score_at = [partial(score_of, temperature=value, score=score) for value in temperature_of_exits]
    if torch.is_inference_mode_enabled():  # entering it again takes as long as a small layer
        return _route(model, images, thresholds, score_at)
    with torch.inference_mode():
        return _route(model, images, thresholds, score_at)


def _route(
    model: EarlyExitNet,
    images: Tensor,
    thresholds: Sequence[float],
    score_at: Sequence[Callable[[Tensor], Tensor]],  # logits of an exit → scores
) -> Routed:
    if len(images) == 1:
        return _route_one(model, images, thresholds, score_at)
    parts = [
        _route_batch(model, part, thresholds, score_at)
        for part in torch.split(images, images_at_once(images.shape[-1], images.device))
    ]
    return Routed(*(torch.cat(values) for values in zip(*parts, strict=True)))


def _route_batch(
    model: EarlyExitNet,
    images: Tensor,
    thresholds: Sequence[float],
    score_at: Sequence[Callable[[Tensor], Tensor]],
) -> Routed:
    """Run the stages in turn, each on the images that have not left before it."""
    positions = torch.arange(len(images), device=images.device)  # of the images in `features`
    exited: list[tuple[Tensor, Tensor, Tensor]] = []  # per exit: positions, logits, scores
    features = images
    for index, (stage, head) in enumerate(zip(model.stages, model.heads, strict=True)):
        features = stage(features)
        logits = head(features).float()
        scores = score_at[index](logits)
        if index == model.exit_count - 1:
            exited.append((positions, logits, scores))
            break
        leaves = scores.double() < thresholds[index]
        leaving, staying = leaves.nonzero().flatten(), (~leaves).nonzero().flatten()
        exited.append((positions[leaving], logits[leaving], scores[leaving]))
        if len(staying) == 0:
            break
        if len(leaving):
            positions, features = positions[staying], _rows(features, staying)
    return _in_order(exited)


def _route_one(
    model: EarlyExitNet,
    image: Tensor,
    thresholds: Sequence[float],
    score_at: Sequence[Callable[[Tensor], Tensor]],
) -> Routed:
    """`route` for one image, without the bookkeeping, which would cost as much as a stage."""
    features, last = image, len(thresholds)  # `exit_count` takes a microsecond at each exit
    for index, (stage, head) in enumerate(zip(model.stages, model.heads, strict=True)):
        features = stage(features)
        logits = head(features).float()
        score = score_at[index](logits)
        if index == last or score.item() < thresholds[index]:
            break
    return Routed(logits, torch.full((1,), index, device=image.device), score)


def _rows(features: Tensor, rows: Tensor) -> Tensor:
    """Rows of a batch in its memory layout. Plain indexing would lose channels last."""
    if features.is_contiguous(memory_format=torch.channels_last):
        return features.permute(0, 2, 3, 1).index_select(0, rows).permute(0, 3, 1, 2)
    return features.index_select(0, rows)


def _in_order(exited: list[tuple[Tensor, Tensor, Tensor]]) -> Routed:
    """Sort the images that left at each exit back into the order of the batch."""
    positions, logits, scores = (torch.cat(parts) for parts in zip(*exited, strict=True))
    exits = torch.cat([torch.full_like(part[0], index) for index, part in enumerate(exited)])
    order = positions.argsort()
    return Routed(logits[order], exits[order], scores[order])
