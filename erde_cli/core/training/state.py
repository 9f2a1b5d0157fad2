"""Everything that changes during training, in one place, so that any step can be saved."""

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
    """Weights, optimiser state, gradient scale and position of a training.

    forward: the model, or its compiled form with the same weights. Only training steps use it;
    batches of other sizes and modes use `model`.
    """

    def __init__(self, model: EarlyExitNet, settings: Training) -> None:
        self.model = model
        self.forward: Callable[[Tensor], Tensor] = model
        if settings.compile:
            # A separate cache, because torch stops compiling a class after eight times.
            self.forward = torch.compile(  # type: ignore[call-overload]
                model, dynamic=False, isolate_recompiles=True
            )
        self.optimizer = _optimizer(model, settings)
        device = next(model.parameters()).device.type
        # Scales up gradients that float16 would round to 0; disabled for other precisions.
        self.scaler = torch.amp.GradScaler(device, enabled=settings.precision == "float16")
        self.guard = StepGuard(model, self.optimizer)
        self.epoch = 0
        self.step = 0
        self.log: EpochLog | None = None  # of an unfinished epoch

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue after any step."""
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
        """Restore a state."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.guard.in_a_row = state["skipped_in_a_row"]
        self.epoch = state["epoch"]
        self.step = state["step"]
        device = next(self.model.parameters()).device
        self.log = None if state["log"] is None else EpochLog.from_state(state["log"], device)


def _optimizer(model: EarlyExitNet, settings: Training) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, without weight decay of norms and biases (one dimension)."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    nesterov = settings.momentum > 0
    # Fused: one kernel, and the overflow flag stays on the device.
    optimizer = torch.optim.SGD(
        groups, settings.learning_rate, momentum=settings.momentum, nesterov=nesterov, fused=True
    )
    if settings.momentum > 0:
        # torch's fused step leaves the momentum uninitialised if the first step is skipped.
        for parameter in parameters:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer
