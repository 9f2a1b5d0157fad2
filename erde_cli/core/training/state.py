"""All that changes during training, in one place, so that it can be saved after any step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.recipe.sections.training import Training
from erde_cli.core.training.epoch_log import EpochLog
from erde_cli.core.training.guard import StepGuard


class TrainState:
    """Weights, optimiser state, gradient scale and position: all that changes during training.

    `forward` is the model, or its compiled twin: the same weights under the model's own names. Only
    training steps go through it; batches of other sizes and modes go through `model`.
    """

    def __init__(self, model: EarlyExitNet, settings: Training) -> None:
        self.model = model
        self.forward: Callable[[Tensor], Tensor] = model
        if settings.compile:
            # A cache of its own: torch gives up on a class that it has compiled eight times.
            self.forward = torch.compile(  # type: ignore[call-overload]
                model, dynamic=False, isolate_recompiles=True
            )
        self.optimizer = _optimizer(model, settings)
        device = next(model.parameters()).device.type
        # Gradients that float16 would round to 0 are scaled up; elsewhere this does nothing.
        self.scaler = torch.amp.GradScaler(device, enabled=settings.precision == "float16")
        self.guard = StepGuard(model, self.optimizer)
        self.epoch = 0
        self.step = 0
        self.log: EpochLog | None = None  # of an epoch under way

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on after any step."""
        return {
            "log": None if self.log is None else self.log.state_dict(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "skipped_in_a_row": self.guard.in_a_row,
            "epoch": self.epoch,
            "step": self.step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the place of another state."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.guard.in_a_row = state["skipped_in_a_row"]
        self.epoch = state["epoch"]
        self.step = state["step"]
        device = next(self.model.parameters()).device
        self.log = None if state["log"] is None else EpochLog.from_state(state["log"], device)


def _optimizer(model: EarlyExitNet, settings: Training) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum; norms and biases (one dimension) are not decayed."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    nesterov = settings.momentum > 0
    # Fused: one kernel, and float16's overflow flag stays on the device.
    optimizer = torch.optim.SGD(
        groups, settings.learning_rate, momentum=settings.momentum, nesterov=nesterov, fused=True
    )
    if settings.momentum > 0:
        # torch's fused step leaves the momentum uninitialised where float16 skips the first step.
        for parameter in parameters:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer
