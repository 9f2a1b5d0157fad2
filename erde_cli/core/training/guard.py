"""Training steps that are not finite: undone and counted, without waiting for the device.

Such a step must leave no trace: neither in weights and momentum, which the fused optimiser leaves
alone where it knows of an overflow, nor in the running statistics of the norms, which the forward
pass has changed by then.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from erde_cli.core.errors import TrainingError

MOST_IN_A_ROW = 20


class StepGuard:
    """Decides on the device whether a step counts, and takes it back where it does not.

    in_a_row: steps skipped one after the other up to now, int64 [].
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._model, self._optimizer = model, optimizer
        self._parameters = list(model.parameters())
        self._statistics: list[tuple[Tensor, Tensor]] = []  # as they are, as they were
        self.in_a_row = torch.zeros((), dtype=torch.int64)

    def before(self) -> None:
        """Remember the statistics that the forward pass is going to change."""
        if not self._statistics:  # not earlier: until the first step the model may be moved
            self._statistics = [(now, now.clone()) for now in self._model.buffers()]
        for now, was in self._statistics:
            was.copy_(now)

    def finite(self, loss: Tensor, clipping: float | None) -> Tensor:
        """Whether loss and gradients are finite, bool []; clips the gradients, where asked to."""
        if clipping is None:
            gradients = [p.grad for p in self._parameters if p.grad is not None]
            norm = nn.utils.get_total_norm(gradients)
        else:
            norm = nn.utils.clip_grad_norm_(self._parameters, clipping)
        return torch.isfinite(loss.detach()) & torch.isfinite(norm)

    def step(self, finite: Tensor) -> None:
        """Move the weights where all is finite, else undo what the forward pass did."""
        # The fused step looks here, on the device; a gradient scaler's own step knows no loss.
        self._optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
        self._optimizer.step()
        del self._optimizer.found_inf  # type: ignore[attr-defined]
        for now, was in self._statistics:
            torch.where(finite, now, was, out=now)
        before = self.in_a_row.to(finite.device, non_blocking=True)
        self.in_a_row = torch.where(finite, 0, before + 1)

    def check(self, where: str, rate: float, *, half: bool) -> None:
        """Check that steps are still taken; the device is asked, so not after every step.

        Args:
            where: position in the training, for people.
            rate: learning rate of the last step.
            half: whether it is float16 that gradients have to fit into.

        Raises:
            TrainingError: too many were skipped one after the other.
        """
        skipped = int(self.in_a_row)
        if skipped >= MOST_IN_A_ROW:
            raise not_finite(f"The last {skipped} steps were", where, rate, half=half)


def not_finite(what: str, where: str, rate: float, *, half: bool) -> TrainingError:
    """The end of a training whose steps are skipped; arguments as of `StepGuard.check`."""
    others = ", or train in precision: bfloat16 or float32" if half else ""
    return TrainingError(
        f"{what} skipped: loss or gradients were not finite ({where}, learning rate {rate:.3g}).",
        expected="finite numbers",
        hint="lower training.*.learning_rate, set gradient_clipping, or lower "
        f"distillation.temperature{others}",
    )
