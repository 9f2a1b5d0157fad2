"""`erde calibrate`: choose the thresholds of a bundle on its calibration split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from erde_cli.core.bundle import (
    Bundle,
    figures,
    load_bundle,
    save_thresholds,
    target_to_json,
)
from erde_cli.core.calibration import Calibrated, Observations, Target, calibrate, one_target
from erde_cli.core.data import Dataset
from erde_cli.core.inference import answer_all, ready
from erde_cli.core.profiling import Profile, profile_model
from erde_cli.core.recipe import Calibration
from erde_cli.core.thresholds import write_threshold
from erde_cli.core.workflows.images import dataset_of, load_split
from erde_cli.core.workflows.options import Json, Options


@dataclass(frozen=True)
class Thresholds:
    """Chosen thresholds, what they give on the calibration split, and what the exits cost."""

    bundle: Bundle
    calibrated: Calibrated
    profile: Profile

    def to_json(self) -> Json:
        """The object that `--json` prints."""
        chosen = self.calibrated
        return {
            "thresholds": [write_threshold(value) for value in chosen.thresholds],
            "target": target_to_json(chosen),
            "met": chosen.met,
            "images": chosen.images,
            **figures(chosen.chosen, chosen.full_accuracy),
            "exit_rates": list(chosen.chosen.exit_rates),
            "held_out": figures(chosen.held_out, chosen.full_accuracy),
        }


def target_of(settings: Calibration) -> Target:
    """The target that a recipe's calibration section names."""
    return one_target(**settings.model_dump())


def calibrate_bundle(
    path: Path,
    target: Target,
    options: Options,
    precision: str = "float32",
    dataset: Dataset | None = None,
) -> Thresholds:
    """Choose thresholds for a target and write them into the bundle.

    Raises:
        BundleError: the bundle is unusable, or its images are no longer the same.
        DataError: its images are missing.
    """
    bundle = load_bundle(path)
    options.observer.phase("Calibrating thresholds")
    dataset = dataset_of(bundle, options, dataset)
    store = load_split(dataset, "calibration", options)
    context = options.inference_context(precision)
    answers = answer_all(ready(bundle.model, context), store, bundle.normalisation, context)
    profile = profile_model(bundle.model, bundle.image_size)
    costs = np.array(profile.cumulative_macs, dtype=np.float64)
    calibrated = calibrate(Observations(answers.scores, answers.correct, costs), target)
    save_thresholds(bundle, calibrated, dataset.fingerprint, precision)
    return Thresholds(bundle, calibrated, profile)
