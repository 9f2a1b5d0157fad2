"""Answers of every exit on the calibration images, and the half that each image is in."""

from __future__ import annotations

from dataclasses import dataclass

from erde_cli.core.arrays import IntArray
from erde_cli.core.calibration.temperature import TemperatureReport
from erde_cli.core.inference.observations import Observations
from erde_cli.core.storage.short_digests import ShortDigests


@dataclass(frozen=True)
class CalibrationObservations:
    """Observations at the fitted temperatures, and at temperature 1 (`plain`).

    half_a, half_b: numbers of the images in the tuning half and the test half, int64 [images].
    tested: short digests of the files in the test half, uint64 [images]; None: not files.
    """

    fingerprint: str
    observations: Observations
    plain: Observations
    temperatures: list[float] | None
    reports: tuple[TemperatureReport, ...]
    half_a: IntArray
    half_b: IntArray
    tested: ShortDigests | None
