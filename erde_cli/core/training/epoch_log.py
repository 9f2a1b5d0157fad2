"""Running means of the loss and its terms over an epoch, which a checkpoint can hold."""

from __future__ import annotations

import math
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from erde_cli.core.events import StepEvent

_FINITE, _SKIPPED = "finite steps", "skipped steps"  # counted next to the terms


class EpochLog:
    """Running means of the loss and its terms over an epoch. Only `step_event` reads the device."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._before = 0.0  # seconds before the log was saved
        self._start = self._last = perf_counter()
        self._steps = 0
        self._recent_steps = 0
        self._total: dict[str, Tensor] = {}
        self._recent: dict[str, Tensor] = {}
        self.finite = 0  # steps in the means, up to the last event
        self.skipped = 0  # skipped steps, up to the last event
        self.loss = math.nan

    @property
    def images(self) -> int:
        """Number of training images, up to the last event."""
        return self._steps * self._batch_size

    @property
    def seconds(self) -> float:
        """Seconds of training, without pauses."""
        return self._before + perf_counter() - self._start

    def resume(self) -> None:
        """Restart the clock after a pause."""
        self._start = self._last = perf_counter()

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue."""
        return {
            "batch_size": self._batch_size, "seconds": self.seconds, "steps": self._steps,
            "recent_steps": self._recent_steps, "total": dict(self._total),
            "recent": dict(self._recent), "finite": self.finite, "skipped": self.skipped,
        }  # fmt: skip

    @classmethod
    def from_state(cls, state: dict[str, Any], device: torch.device) -> EpochLog:
        """Restore a log from its state."""
        log = cls(state["batch_size"])
        log._before, log._steps = state["seconds"], state["steps"]
        log._recent_steps = state["recent_steps"]
        log.finite, log.skipped = state["finite"], state["skipped"]
        log._total = {name: value.to(device) for name, value in state["total"].items()}
        log._recent = {name: value.to(device) for name, value in state["recent"].items()}
        return log

    def add(self, loss: Tensor, terms: dict[str, Tensor], taken: Tensor) -> None:
        """Count a step. A step whose loss or terms are not finite is left out of the means.

        Args:
            loss: a scalar.
            terms: of the loss, [exits] each.
            taken: bool []; False if the step was skipped, even with a finite loss.
        """
        self._recent_steps += 1
        values = {"loss": loss, **terms}
        finite = torch.isfinite(sum((value.sum() for value in values.values()), loss))
        counts = {_FINITE: finite.float(), _SKIPPED: (~taken).float()}
        counted = {name: torch.where(finite, value, 0.0) for name, value in values.items()}
        for name, value in {**counted, **counts}.items():
            self._recent[name] = self._recent[name] + value if name in self._recent else value

    def step_event(self, epoch: int, epochs: int, step: int, steps: int) -> StepEvent:
        """Means since the last event; NaN if no step was finite."""
        # One tensor for all: the device is waited for only once.
        totals = torch.stack([total.mean() for total in self._recent.values()]).tolist()
        means = dict(zip(self._recent, totals, strict=True))
        now = perf_counter()
        speed = self._recent_steps * self._batch_size / (now - self._last)
        finite, skipped = means.pop(_FINITE), means.pop(_SKIPPED)
        self.finite += round(finite)
        self.skipped += round(skipped)
        for name in means:
            value = self._recent[name]
            self._total[name] = self._total[name] + value if name in self._total else value
        self._steps += self._recent_steps
        self._recent, self._recent_steps, self._last = {}, 0, now
        means = {name: total / finite if finite else math.nan for name, total in means.items()}
        loss = means.pop("loss")
        return StepEvent(epoch, epochs, step, steps, loss, means, speed)

    def means(self) -> dict[str, list[float]]:
        """Means over the finite steps of the epoch, [exits] each; sets `loss`."""
        means = {name: (total / self.finite).tolist() for name, total in self._total.items()}
        self.loss = float(self._total["loss"]) / self.finite
        del means["loss"]
        return means
