"""Training steps that are not finite are undone and counted, without waiting for the device.

Such a step must change nothing. The fused optimiser keeps weights and momentum after an overflow.
The running statistics of the norms, which the forward pass has changed, are restored.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from erde_cli.core.errors import TrainingError

MOST_IN_A_ROW = 20


class StepGuard:
    """Decides on the device whether a step is taken, and undoes it otherwise.

    in_a_row: number of consecutive steps skipped up to now, int64 [].
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._model, self._optimizer = model, optimizer
        self._parameters = list(model.parameters())
        self._statistics: list[tuple[Tensor, Tensor]] = []  # current, saved
        self.in_a_row = torch.zeros((), dtype=torch.int64)

    def before(self) -> None:
        """Save the statistics that the forward pass will change."""
        if not self._statistics:  # not earlier, because the model can be moved before
            self._statistics = [(now, now.clone()) for now in self._model.buffers()]
        for now, saved in self._statistics:
            saved.copy_(now)

    def finite(self, loss: Tensor, clipping: float | None) -> Tensor:
        """Whether loss and gradients are finite, bool []; clips the gradients to norm `clipping`.

        Args:
            loss: a scalar.
            clipping: largest norm of all gradients together; None: no clipping.
        """
        if clipping is None:
            gradients = [p.grad for p in self._parameters if p.grad is not None]
            norm = nn.utils.get_total_norm(gradients)
        else:
            norm = nn.utils.clip_grad_norm_(self._parameters, clipping)
        return torch.isfinite(loss.detach()) & torch.isfinite(norm)

    def step(self, finite: Tensor) -> None:
        """Update the weights if `finite`, bool []; otherwise restore the statistics."""
        # The fused step reads this on the device; a gradient scaler's step ignores the loss.
        self._optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
        self._optimizer.step()
        del self._optimizer.found_inf  # type: ignore[attr-defined]
        for now, saved in self._statistics:
            torch.where(finite, now, saved, out=now)
        before = self.in_a_row.to(finite.device, non_blocking=True)
        self.in_a_row = torch.where(finite, 0, before + 1)

    def check(self, where: str, rate: float, *, half: bool) -> None:
        """Check that steps are still taken. This waits for the device, so not after every step.

        Args:
            where: position in the training, for the message.
            rate: learning rate of the last step.
            half: whether gradients are float16.

        Raises:
            TrainingError: too many consecutive steps were skipped.
        """
        skipped = int(self.in_a_row)
        if skipped >= MOST_IN_A_ROW:
            raise not_finite(f"The last {skipped} steps were", where, rate, half=half)


def not_finite(what: str, where: str, rate: float, *, half: bool) -> TrainingError:
    """The error of a training whose steps are skipped; arguments as in `StepGuard.check`."""
    precision = ", or train in precision: bfloat16 or float32" if half else ""
    return TrainingError(
        f"{what} skipped: loss or gradients were not finite ({where}, learning rate {rate:.3g}).",
        expected="finite numbers",
        hint="lower training.*.learning_rate, set gradient_clipping, or lower "
        f"distillation.temperature{precision}",
    )
