"""Answers of the networks of the planned comparison, one file for each network of a seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from benchmarks.measure import machine
from erde_cli.core.calibration.estimate import calibrate
from erde_cli.core.comparison.curves import Curve, cost_curve, one_threshold, with_ends
from erde_cli.core.inference.observations import Observations
from erde_cli.core.thresholds.targets import MaxMacs

TEACHER, CLASSES = "teacher", 10
A, B = "erde", "kd"
_SPLITS = ("calibration", "test")

Arrays = dict[str, np.ndarray]


def keep_networks(run: Path, folder: Path, name: str | None) -> None:
    """Write a file for each network that has answers, and is not kept yet."""
    about = {key: str(value) for key, value in machine().items()}
    for seed in sorted(run.glob("seed-*")):
        paths = {path.parent.name: path for path in seed.glob("*/answers.safetensors")}
        if name is not None:
            paths = {name: paths[A]} if A in paths else {}
        elif (seed / "teacher.safetensors").is_file():
            paths[TEACHER] = seed / "teacher.safetensors"
        for network, path in sorted(paths.items()):
            target = folder / seed.name.removeprefix("seed-") / f"{network}.safetensors"
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                save_file(_slim(load_file(path)), target, about)
                print(target)


def _slim(arrays: Arrays) -> Arrays:
    kept = {name: arrays[name] for name in ("costs", "static")}
    for split in _SPLITS:
        right = arrays[f"{split}.predictions"] == arrays[f"{split}.labels"][:, None]
        kept[f"{split}.correct"] = np.packbits(right, axis=0)
        kept[f"{split}.scores"] = arrays[f"{split}.scores"].astype(np.float32)
    return kept


@dataclass(frozen=True)
class Kept:
    """Answers of one network of a seed."""

    calibration: Observations
    test: Observations
    static: float

    @cached_property
    def thresholds(self) -> list[tuple[float, ...]]:
        """Vectors of the frontier on calibration images, and both ends, as in `erde compare`."""
        frontier = calibrate(self.calibration, MaxMacs(1.0)).frontier
        return with_ends([point.thresholds for point in frontier], len(self.test.scores[0]) - 1)

    @cached_property
    def per_exit(self) -> Curve:
        """With a threshold for each exit."""
        return cost_curve(self.test, self.thresholds)

    @property
    def one_theta(self) -> Curve:
        """With one θ for all exits."""
        early = self.test.scores.shape[1] - 1
        return cost_curve(self.test, [(theta,) * early for theta in one_threshold(CLASSES)])


def read_network(path: Path) -> tuple[Kept, str]:
    """Answers of a network, and the processor that trained it."""
    arrays = load_file(path)
    with safe_open(path, "np") as file:
        about = file.metadata()
    calibration, test = (
        Observations(
            arrays[f"{split}.scores"].astype(np.float64),
            np.unpackbits(arrays[f"{split}.correct"], axis=0, count=len(arrays[f"{split}.scores"]))
            .astype(bool),
            arrays["costs"],
        )
        for split in _SPLITS
    )  # fmt: skip
    kept = Kept(calibration, test, float(arrays["static"][-1]))
    return kept, f"{about['processor']}, {about['arithmetic']}"
