"""Effect of temperature scaling on the probabilities and on the frontier."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from erde_cli.core.calibration.estimate import Calibrated
from erde_cli.core.calibration.temperature import TemperatureReport
from erde_cli.core.inference.observations import Figures
from erde_cli.core.storage.json_files import Json

_COMPARED = ("accuracy", "balanced_accuracy", "agreement", "expected_macs", "exit_rates")


@dataclass(frozen=True)
class TemperatureEffect:
    """Report of every exit; without: the same target searched without temperatures, or None."""

    exits: tuple[TemperatureReport, ...]
    without: Calibrated | None

    def to_json(self) -> Json:
        """The object `temperature` of `erde calibrate --json`."""
        without, chosen, frontier = self.without, None, None
        if without is not None:
            chosen = {**_compared(without.chosen, without.held_out), "met": without.met}
            frontier = [_compared(one.figures, one.held_out) for one in without.frontier]
        return {
            "exits": [asdict(report) for report in self.exits],
            "without": chosen,
            "frontier": frontier,
        }


def _compared(figures: Figures, held_out: Figures) -> Json:
    compared = {name: getattr(figures, name) for name in _COMPARED}
    return {**compared, "held_out": asdict(held_out)}
