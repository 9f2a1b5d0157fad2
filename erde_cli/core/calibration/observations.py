"""What the calibration images show: every exit's answers, and which half tunes or tests."""

from __future__ import annotations

from dataclasses import dataclass

from erde_cli.core.arrays import IntArray
from erde_cli.core.calibration.temperature import TemperatureReport
from erde_cli.core.inference.observations import Observations
from erde_cli.core.storage.short_digests import ShortDigests


@dataclass(frozen=True)
class CalibrationObservations:
    """What every exit says of the images, at temperature 1 (`plain`) and at the fitted ones.

    half_a, half_b: numbers of the images of the two fixed random halves. tested: short digests of
    the files of half B, uint64 [images]; None where they are no files.
    """

    fingerprint: str
    observations: Observations
    plain: Observations
    temperatures: list[float] | None
    reports: tuple[TemperatureReport, ...]
    half_a: IntArray
    half_b: IntArray
    tested: ShortDigests | None
