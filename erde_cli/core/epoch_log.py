"""What the steps of an epoch come to: running means that a checkpoint can hold."""

from __future__ import annotations

import math
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from erde_cli.core.errors import TrainingError
from erde_cli.core.observer import StepEvent


class EpochLog:
    """Running means of the loss and its terms over an epoch; reads the device only when asked."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._before = 0.0  # seconds, until it was saved
        self._start = self._last = perf_counter()
        self._steps = 0
        self._recent_steps = 0
        self._total: dict[str, Tensor] = {}
        self._recent: dict[str, Tensor] = {}
        self.loss = math.nan

    @property
    def images(self) -> int:
        """Images seen, up to the last event."""
        return self._steps * self._batch_size

    @property
    def seconds(self) -> float:
        """Seconds of training, pauses left out."""
        return self._before + perf_counter() - self._start

    def resume(self) -> None:
        """Let the clock go on, after however long a pause."""
        self._start = self._last = perf_counter()

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on."""
        return {
            "batch_size": self._batch_size, "seconds": self.seconds, "steps": self._steps,
            "recent_steps": self._recent_steps, "total": dict(self._total),
            "recent": dict(self._recent),
        }  # fmt: skip

    @classmethod
    def from_state(cls, state: dict[str, Any], device: torch.device) -> EpochLog:
        """Go on from a state."""
        log = cls(state["batch_size"])
        log._before, log._steps = state["seconds"], state["steps"]
        log._recent_steps = state["recent_steps"]
        log._total = {name: value.to(device) for name, value in state["total"].items()}
        log._recent = {name: value.to(device) for name, value in state["recent"].items()}
        return log

    def add(self, loss: Tensor, terms: dict[str, Tensor]) -> None:
        """Count a step: its loss, a scalar, and its terms, [exits] each."""
        self._recent_steps += 1
        for name, value in {"loss": loss, **terms}.items():
            self._recent[name] = self._recent[name] + value if name in self._recent else value

    def step_event(self, epoch: int, epochs: int, step: int, steps: int) -> StepEvent:
        """Means since the last event.

        Raises:
            TrainingError: the loss is no longer finite.
        """
        means = {
            name: float(total.mean()) / self._recent_steps for name, total in self._recent.items()
        }
        now = perf_counter()
        speed = self._recent_steps * self._batch_size / (now - self._last)
        if not math.isfinite(means["loss"]):
            raise TrainingError(
                f"The loss is {means['loss']} in epoch {epoch}, step {step} of {steps}.",
                expected="a finite loss",
                hint="lower training.*.learning_rate, set gradient_clipping, or lower "
                "distillation.temperature",
            )
        for name, value in self._recent.items():
            self._total[name] = self._total[name] + value if name in self._total else value
        self._steps += self._recent_steps
        self._recent, self._recent_steps, self._last = {}, 0, now
        loss = means.pop("loss")
        return StepEvent(epoch, epochs, step, steps, loss, means, speed)

    def means(self) -> dict[str, list[float]]:
        """Means over the epoch, one number per exit; sets `loss`."""
        means = {name: (total / self._steps).tolist() for name, total in self._total.items()}
        self.loss = float(self._total["loss"]) / self._steps
        del means["loss"]
        return means
