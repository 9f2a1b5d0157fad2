"""Measure a whole calibration: search, frontier and held-out figures.

python -m benchmarks.calibration [--repeats 5] [--json]
"""

from __future__ import annotations

from time import perf_counter

import numpy as np

from benchmarks.measure import arguments, interleave, print_results, show, spread
from erde_cli.core.calibration.estimate import calibrate
from erde_cli.core.inference.observations import Observations
from erde_cli.core.thresholds.target import Target
from erde_cli.core.thresholds.targets import MaxDrop, MaxMacs

SIZES = ((2_000, 3), (10_000, 4), (10_000, 8))
TARGETS = (MaxDrop(1.0), MaxMacs(0.6))


def observe(images: int, exits: int) -> Observations:
    """Images of different difficulty; later exits are better, and more certain if right."""
    generator = np.random.default_rng(0)
    skill = generator.normal(size=(images, 1)) + 0.4 * np.arange(exits) + 0.3
    correct = skill + generator.normal(size=(images, exits)) > 0
    scores = np.abs(generator.normal(size=(images, exits))) * np.where(correct, 0.5, 1.2)
    return Observations(scores, correct, np.arange(1.0, exits + 1))


def seconds(observations: Observations, target: Target) -> float:
    """Seconds that one calibration takes."""
    start = perf_counter()
    calibrate(observations, target)
    return perf_counter() - start


def main() -> None:
    """Measure every size and target."""
    given = arguments(__doc__ or "")
    sides = {
        (images, exits, target.kind): (observe(images, exits), target)
        for images, exits in SIZES
        for target in TARGETS
    }
    found = interleave(
        {
            f"{images} x {exits} {kind}": lambda one=one: seconds(*one)
            for (images, exits, kind), one in sides.items()
        },
        given.repeats,
    )
    document = [{"case": case, "seconds": spread(times)} for case, times in found.items()]
    rows = [[row["case"], show(row["seconds"])] for row in document]
    columns = ["images x exits, target", "seconds"]
    print_results("Calibration", columns, rows, given.json, {"calibration": document})


if __name__ == "__main__":
    main()
