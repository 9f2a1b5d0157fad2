"""Parameters and multiply-adds of every exit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import nn

from erde_cli.core.models.early_exit import EarlyExitNet, evaluation_mode
from erde_cli.core.models.macs import count_macs

_LEAST_SAVING = 0.05  # share of the full MACs


@dataclass(frozen=True)
class ExitProfile:
    """One exit (from 0): parameters of its stage and head, and MACs per image.

    cumulative_macs: every stage and head up to and including this exit.
    """

    exit: int
    parameters: int
    stage_macs: int
    head_macs: int
    cumulative_macs: int


@dataclass(frozen=True)
class Profile:
    """Costs of a network per image of `input_shape` (channels, height, width)."""

    input_shape: tuple[int, int, int]
    parameters: int
    exits: tuple[ExitProfile, ...]

    @property
    def full_macs(self) -> int:
        """Cumulative MACs of the last exit: every stage and every head on the way."""
        return self.exits[-1].cumulative_macs

    @property
    def static_macs(self) -> int:
        """MACs of the network without its early heads."""
        return self.static_macs_of_exits[-1]

    @property
    def static_macs_of_exits(self) -> list[int]:
        """MACs of each exit as a separate network: its stages and its head, no earlier head."""
        heads = [0, *accumulate(exit_.head_macs for exit_ in self.exits[:-1])]
        return [
            exit_.cumulative_macs - early for exit_, early in zip(self.exits, heads, strict=True)
        ]

    @property
    def cumulative_macs(self) -> list[int]:
        """MACs of an image that leaves at each exit."""
        return [exit_.cumulative_macs for exit_ in self.exits]

    @property
    def useless_exits(self) -> list[int]:
        """Early exits (from 0) that save under 5 % of the full MACs."""
        limit = (1 - _LEAST_SAVING) * self.full_macs
        return [exit_.exit for exit_ in self.exits[:-1] if exit_.cumulative_macs > limit]

    def to_json(self, expected_macs: float | None) -> dict[str, Any]:
        """The object that `erde profile --json` prints."""
        return {
            "input_shape": list(self.input_shape),
            "parameters": self.parameters,
            "full_macs": self.full_macs,
            "static_macs": self.static_macs,
            "expected_macs": expected_macs,
            "exits": [asdict(exit_) for exit_ in self.exits],
        }


@torch.no_grad()
def profile_model(model: EarlyExitNet, image_size: int) -> Profile:
    """Parameters and multiply-adds per image of every stage and head.

    Raises:
        UnsupportedOperatorError: the multiply-adds of an operator are not known.
    """
    device = next(model.parameters()).device
    features = torch.zeros(1, 3, image_size, image_size, device=device)
    exits: list[ExitProfile] = []
    total = 0
    with evaluation_mode(model):
        for index, (stage, head) in enumerate(zip(model.stages, model.heads, strict=True)):
            stage_macs = count_macs(stage, features)
            features = stage(features)
            head_macs = count_macs(head, features)
            total += stage_macs + head_macs
            parameters = _parameters(stage) + _parameters(head)
            exits.append(ExitProfile(index, parameters, stage_macs, head_macs, total))
    return Profile((3, image_size, image_size), _parameters(model), tuple(exits))


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
