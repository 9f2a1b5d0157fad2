"""The one exit rule, and the routing of a batch through the stages.

An image leaves at the first exit whose score is below that exit's threshold (strictly). The score
is entropy unless another one is given. The last exit has no threshold. The rule sees logits only:
labels cannot change an exit. A temperature, where an exit has one, enters its score and nothing
else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from erde_cli.core.device import images_at_once
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.thresholds.scores import ENTROPY, Score

Scored = Callable[[Tensor], Tensor]  # logits of one exit → their scores


@dataclass(frozen=True)
class Routed:
    """What left, and where: logits [batch, classes], exit [batch] int64, score [batch] float32."""

    logits: Tensor
    exit: Tensor
    score: Tensor


def first_exit(scores: Tensor, thresholds: Sequence[float]) -> Tensor:
    """Index of the exit each image leaves at, int64 [batch].

    Args:
        scores: [batch, exits], smaller is surer.
        thresholds: θ of the early exits, `exits - 1` of them, in their unit; 0 never, inf always.
    """
    if len(thresholds) != scores.shape[1] - 1:
        raise ValueError(f"{scores.shape[1] - 1} thresholds expected, got {len(thresholds)}")
    limits = torch.tensor([*thresholds, math.inf], dtype=torch.float64, device=scores.device)
    leaves = scores.double() < limits
    leaves[:, -1] = True
    return leaves.int().argmax(dim=1)


def score_of(logits: Tensor, temperature: float | None, score: Score = ENTROPY) -> Tensor:
    """Score of one exit, of softmax(logits / temperature) in the score's unit, float32 [...].

    Every score comes from here: another way to divide could round to the other side of a threshold.
    """
    return score.value(logits if temperature is None else logits / temperature)


def all_scores(
    logits: Tensor, temperatures: Sequence[float] | None = None, score: Score = ENTROPY
) -> Tensor:
    """Scores of every exit, float32 [batch, exits], of logits [batch, exits, classes]."""
    if temperatures is None:
        return score.value(logits)
    check_temperatures(temperatures, logits.shape[1])
    by_exit = zip(logits.unbind(dim=1), temperatures, strict=True)
    return torch.stack([score_of(at_exit, value, score) for at_exit, value in by_exit], dim=1)


def check_temperatures(temperatures: Sequence[float] | None, exit_count: int) -> None:
    """Check that there is one temperature for every exit, the last one included.

    Raises:
        ValueError: there are fewer or more, or one is not a positive number.
    """
    if temperatures is None:
        return
    if len(temperatures) != exit_count:
        raise ValueError(f"{exit_count} temperatures expected, got {len(temperatures)}")
    if not all(0 < value < math.inf for value in temperatures):
        raise ValueError(f"temperatures must be positive and finite, got {list(temperatures)}")


@torch.inference_mode()
def route(
    model: EarlyExitNet,
    images: Tensor,
    thresholds: Sequence[float],
    temperatures: Sequence[float] | None = None,
    score: Score = ENTROPY,
) -> Routed:
    """Run a batch stage by stage, and drop the images that have left.

    Equal to `first_exit` on the full forward pass, at the cost of the stages that are needed.

    Args:
        model: network in evaluation mode; `folded` makes it faster.
        images: normalised, [batch, 3, height, width].
        thresholds: θ of the early exits, in the score's unit.
        temperatures: of every exit; they change scores, never the logits that are given back.
        score: what is compared with the thresholds.
    """
    if len(thresholds) != model.exit_count - 1:
        raise ValueError(f"{model.exit_count - 1} thresholds expected, got {len(thresholds)}")
    check_temperatures(temperatures, model.exit_count)
    by_exit = (None,) * model.exit_count if temperatures is None else tuple(temperatures)
    scored = [partial(score_of, temperature=one, score=score) for one in by_exit]
    if len(images) == 1:
        return _route_one(model, images, thresholds, scored)
    parts = [
        _route_batch(model, part, thresholds, scored)
        for part in torch.split(images, images_at_once(images.shape[-1], images.device))
    ]
    return Routed(
        torch.cat([part.logits for part in parts]),
        torch.cat([part.exit for part in parts]),
        torch.cat([part.score for part in parts]),
    )


def _route_batch(
    model: EarlyExitNet,
    images: Tensor,
    thresholds: Sequence[float],
    scored: Sequence[Scored],
) -> Routed:
    waiting = torch.arange(len(images), device=images.device)
    left: list[tuple[Tensor, Tensor, Tensor]] = []  # places, logits, scores; one entry an exit
    features = images
    for index, (stage, head) in enumerate(zip(model.stages, model.heads, strict=True)):
        features = stage(features)
        logits = head(features).float()
        scores = scored[index](logits)
        if index == model.exit_count - 1:
            left.append((waiting, logits, scores))
            break
        leaves = scores.double() < thresholds[index]
        gone, stay = leaves.nonzero().flatten(), (~leaves).nonzero().flatten()
        left.append((waiting[gone], logits[gone], scores[gone]))
        if len(stay) == 0:
            break
        if len(gone):
            waiting, features = waiting[stay], _rows(features, stay)
    return _in_order(left)


def _route_one(
    model: EarlyExitNet,
    image: Tensor,
    thresholds: Sequence[float],
    scored: Sequence[Scored],
) -> Routed:
    """`route` for one image, without any bookkeeping: there it would cost as much as a stage."""
    features = image
    for index, (stage, head) in enumerate(zip(model.stages, model.heads, strict=True)):
        features = stage(features)
        logits = head(features).float()
        score = scored[index](logits)
        if index == model.exit_count - 1 or score.item() < thresholds[index]:
            break
    return Routed(logits, torch.full((1,), index, device=image.device), score)


def _rows(features: Tensor, rows: Tensor) -> Tensor:
    """Some images of a batch, in the batch's own memory layout (plain indexing would change it)."""
    if features.is_contiguous(memory_format=torch.channels_last):
        return features.permute(0, 2, 3, 1).index_select(0, rows).permute(0, 3, 1, 2)
    return features.index_select(0, rows)


def _in_order(left: list[tuple[Tensor, Tensor, Tensor]]) -> Routed:
    """Put what left at each exit back into the order of the batch."""
    places, logits, scores = (torch.cat(parts) for parts in zip(*left, strict=True))
    exits = torch.cat([torch.full_like(part[0], index) for index, part in enumerate(left)])
    order = places.argsort()
    return Routed(logits[order], exits[order], scores[order])
