"""The exit rule, and the routing of a batch through the stages.

An image leaves at the first exit whose score is strictly below the exit's threshold. The score is
entropy unless another one is given. The last exit has no threshold. The rule sees only logits, so
labels cannot change an exit. A temperature changes the score of its exit and nothing else.

Source: Teerapittayanon et al., "BranchyNet", ICPR 2016, arXiv 1709.01686.
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


@dataclass(frozen=True)
class Routed:
    """Logits float32 [batch, classes], exit int64 [batch] and score float32 [batch] of images."""

    logits: Tensor
    exit: Tensor
    score: Tensor


def first_exit(scores: Tensor, thresholds: Sequence[float]) -> Tensor:
    """Index of the exit each image leaves at, int64 [batch].

    Args:
        scores: [batch, exits], smaller is more certain.
        thresholds: θ of the early exits in the score's unit, [exits - 1]; 0: never, inf: always.

    Raises:
        ValueError: there is not one threshold per early exit.
    """
    if len(thresholds) != scores.shape[1] - 1:
        raise ValueError(f"{scores.shape[1] - 1} thresholds expected, got {len(thresholds)}")
    limits = torch.tensor([*thresholds, math.inf], dtype=torch.float64, device=scores.device)
    leaves = scores.double() < limits
    leaves[:, -1] = True
    return leaves.int().argmax(dim=1)


def score_of(logits: Tensor, temperature: float | None, score: Score = ENTROPY) -> Tensor:
    """Score of softmax(logits / temperature) in its unit, float32 [...]; logits are [..., classes].

    Every score is computed here, because other divisions could round across a threshold.
    """
    return score.value(logits if temperature is None else logits / temperature)


def all_scores(
    logits: Tensor, temperatures: Sequence[float] | None = None, score: Score = ENTROPY
) -> Tensor:
    """Score of every exit, float32 [batch, exits], for logits [batch, exits, classes].

    Raises:
        ValueError: there is not one positive temperature per exit.
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


@torch.inference_mode()
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
        score: what is compared with the thresholds.

    Raises:
        ValueError: the number of thresholds or the temperatures do not fit the network.
    """
    if len(thresholds) != model.exit_count - 1:
        raise ValueError(f"{model.exit_count - 1} thresholds expected, got {len(thresholds)}")
    if temperatures is not None:
        check_temperatures(temperatures, model.exit_count)
    by_exit = [None] * model.exit_count if temperatures is None else temperatures
    score_at = [partial(score_of, temperature=value, score=score) for value in by_exit]
    if len(images) == 1:
        return _route_one(model, images, thresholds, score_at)
    parts = [
        _route_batch(model, part, thresholds, score_at)
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
    score_at: Sequence[Callable[[Tensor], Tensor]],  # logits of an exit → scores
) -> Routed:
    waiting = torch.arange(len(images), device=images.device)
    left: list[tuple[Tensor, Tensor, Tensor]] = []  # per exit: positions, logits, scores
    features = images
    for index, (stage, head) in enumerate(zip(model.stages, model.heads, strict=True)):
        features = stage(features)
        logits = head(features).float()
        scores = score_at[index](logits)
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
    score_at: Sequence[Callable[[Tensor], Tensor]],
) -> Routed:
    """`route` for one image, without the bookkeeping, which would cost as much as a stage."""
    features = image
    for index, (stage, head) in enumerate(zip(model.stages, model.heads, strict=True)):
        features = stage(features)
        logits = head(features).float()
        score = score_at[index](logits)
        if index == model.exit_count - 1 or score.item() < thresholds[index]:
            break
    return Routed(logits, torch.full((1,), index, device=image.device), score)


def _rows(features: Tensor, rows: Tensor) -> Tensor:
    """Rows of a batch, in the batch's memory layout, which plain indexing would change."""
    if features.is_contiguous(memory_format=torch.channels_last):
        return features.permute(0, 2, 3, 1).index_select(0, rows).permute(0, 3, 1, 2)
    return features.index_select(0, rows)


def _in_order(left: list[tuple[Tensor, Tensor, Tensor]]) -> Routed:
    """Sort the images that left at each exit back into the order of the batch."""
    positions, logits, scores = (torch.cat(parts) for parts in zip(*left, strict=True))
    exits = torch.cat([torch.full_like(part[0], index) for index, part in enumerate(left)])
    order = positions.argsort()
    return Routed(logits[order], exits[order], scores[order])
