"""Everything that changes during training, in one place, so that any step can be saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.recipe.sections.training import Training
from erde_cli.core.training.epoch_log import EpochLog
from erde_cli.core.training.guard import StepGuard
from erde_cli.core.training.optimizer import make_optimizer
from erde_cli.core.training.synchronised import synchronised


class TrainState:
    """Weights, optimiser state, gradient scale and position of a training.

    forward: the model, or its compiled or synchronised form with the same weights. Only training
    steps use it; batches of other sizes and modes use `model`.
    rate_factors: of the learning rate, one per parameter group of `optimizer`.
    """

    def __init__(
        self,
        model: EarlyExitNet,
        settings: Training,
        pretrained: Mapping[nn.Module, int] | None = None,
    ) -> None:
        """Freeze what is never trained, and make the optimiser of the rest.

        Args:
            model: the network, on the device.
            settings: of the training.
            pretrained: the stage of every module with pretrained weights, which `train`,
                `heads_first` and `stage_rates` act on; None: no module has any.
        """
        self.model = model
        self._settings = settings
        self._pretrained = dict(pretrained or {})
        for module, stage in self._pretrained.items():
            if stage < settings.first_stage:
                module.requires_grad_(False)
        self.forward: Callable[[Tensor], Tensor] = model
        if settings.compile:
            # A separate cache, because torch stops compiling a class after eight times.
            self.forward = torch.compile(  # type: ignore[call-overload]
                model, dynamic=False, isolate_recompiles=True
            )
        stages = {
            parameter: stage
            for module, stage in self._pretrained.items()
            for parameter in module.parameters(recurse=False)
            if parameter.requires_grad
        }
        self._later = list(stages)
        rates = settings.stage_rates
        factors = {} if rates is None else {key: rates[stage] for key, stage in stages.items()}
        self.optimizer, self.rate_factors = make_optimizer(model, settings, factors)
        device = next(model.parameters()).device.type
        # Scales up gradients that float16 would round to 0; disabled for other precisions.
        self.scaler = torch.amp.GradScaler(device, enabled=settings.precision == "float16")
        self.guard = StepGuard(model, self.optimizer)
        self.epoch = 0
        self.step = 0
        self.log: EpochLog | None = None  # of an unfinished epoch

    def begin_epoch(self, epoch: int) -> None:
        """Let the parts that an epoch trains have gradients, and put them into training mode.

        The other parts are in evaluation mode, so that the statistics of their norms stay.

        Args:
            epoch: from 0.
        """
        only_new = epoch < (self._settings.heads_first or 0)
        self.model.train()
        for module, stage in self._pretrained.items():
            module.training = not only_new and stage >= self._settings.first_stage
        for parameter in self._later:
            parameter.requires_grad_(not only_new)
        if self._settings.sync_batch_norm:
            self.forward = synchronised(self.model)

    def differing(self) -> list[Tensor]:
        """What differs between processes after the backward pass, float32 each.

        Gradients, and the running statistics of norms in training mode, which are linear in those
        of a batch: averaged in each step, they are always those of all images.
        """
        gradients = [one.grad for one in self.model.parameters() if one.grad is not None]
        statistics = [
            buffer
            for module in self.model.modules()
            if module.training
            for buffer in module.buffers(recurse=False)
            if buffer.is_floating_point()
        ]
        return [*gradients, *statistics]

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
