"""Tune `kd` and `erde` for docs/evidence.md with the same number of trials, on the tuning half.

    python -m benchmarks.evidence_tuning RECIPE --teacher BUNDLE --out FOLDER [--set KEY=VALUE]

Coordinate descent: one setting after the other, each value with the best of the settings before.
Use a seed that the evidence does not use. The measure is that of `erde compare`, the area under
accuracy over cost, with thresholds chosen on one part of the tuning half and scored on the other.
The test half and the test split are not used. Finished trials are kept: the same call continues.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from benchmarks.measure import print_results
from erde_cli.core.bundle.bundle import Bundle, load_bundle
from erde_cli.core.calibration.estimate import calibrate
from erde_cli.core.calibration.halves import tuning_half
from erde_cli.core.comparison.curves import cost_curve, with_ends
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.data.opening import open_dataset
from erde_cli.core.inference.answers import answer_all, ready
from erde_cli.core.inference.observations import Observations
from erde_cli.core.models.profile import profile_model
from erde_cli.core.platform.allocator import keep_freed_memory
from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.storage.json_files import digest_of, read_json, write_json
from erde_cli.core.thresholds.targets import MaxMacs
from erde_cli.core.workflows.images import load_split
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.train import distill

_SHARED = [
    ("training.student.learning_rate", ["0.2", "0.1", "0.4", "0.8"]),
    ("distillation.temperature", ["2", "4"]),
    ("distillation.weights.distillation", ["1", "3"]),
    ("student.exit_weights", ["[1, 1, 1]", "[3, 2, 1]", "[1, 2, 3]"]),
]
# Settings of only one method; each method gets 10 trials.
_OWN = {
    "kd": ("training.student.weight_decay", ["5e-4", "1e-4", "1e-3"]),
    "erde": ("distillation.weights.entropy", ["1", "0.3", "3"]),
}


def main() -> None:
    """Tune both methods, and print every trial."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    keep_freed_memory()
    options = Options(threads=given.threads)
    dataset = open_dataset(load_recipe(given.recipe, given.overrides).data)
    trials = {method: _tune(method, own, given, dataset, options) for method, own in _OWN.items()}
    rows = [
        [method, ", ".join(trial["changed"]) or "as the recipe", f"{100 * trial['auc']:.2f}",
         " ".join(f"{100 * share:.1f}" for share in trial["exits"])]
        for method, found in trials.items() for trial in found
    ]  # fmt: skip
    columns = ["method", "tried", "AUC %, tuning half", "accuracy of each exit %"]
    print_results("Tuning on the tuning half", columns, rows, given.json, {"trials": trials})


def _tune(method, own, given, dataset: Dataset, options: Options):
    """All trials of one method, in order."""
    best: list[str] = []
    trials = [_trial(method, best, given, dataset, options)]
    top = trials[0]["auc"]
    for key, values in [*_SHARED, own]:
        kept = best
        for value in values[1:]:
            trial = _trial(method, [*best, f"{key}={value}"], given, dataset, options)
            trials.append(trial)
            if trial["auc"] > top:
                top, kept = trial["auc"], trial["changed"]
        best = kept
    return trials


def _trial(method, changed: list[str], given, dataset: Dataset, options: Options):
    overrides = [*given.overrides, f"distillation.method={method}", *changed]
    recipe = load_recipe(given.recipe, overrides)
    folder = given.out / digest_of(recipe.model_dump())[:12]
    path = folder / "trial.json"
    if path.is_file():
        return read_json(path)
    bundle_path = folder / "student"
    bundle = (
        load_bundle(bundle_path) if bundle_path.is_dir()
        else distill(recipe, folder, given.teacher, options, dataset).bundle
    )  # fmt: skip
    trial = {"method": method, "changed": changed, **_score(bundle, dataset, options)}
    write_json(path, trial)
    print(json.dumps(trial), flush=True)
    return trial


def _score(bundle: Bundle, dataset: Dataset, options: Options) -> dict[str, object]:
    """AUC and accuracy of every exit on the tuning half, 0 to 1."""
    calibration = load_split(dataset, "calibration", options)
    tuning = calibration.only(tuning_half(len(calibration), dataset.fingerprint))
    context = options.inference_context("float32")
    answers = answer_all(ready(bundle.model, context), tuning, bundle.normalisation, context)
    costs = np.array(profile_model(bundle.model, bundle.image_size).cumulative_macs, float)
    observations = Observations(answers.scores, answers.correct, costs)
    first = np.arange(len(observations)) % 2 == 0
    areas = []
    for chosen, scored in ((first, ~first), (~first, first)):
        frontier = calibrate(observations.only(chosen), MaxMacs(1.0)).frontier
        vectors = with_ends([point.thresholds for point in frontier], len(costs) - 1)
        areas.append(cost_curve(observations.only(scored), vectors).auc)
    return {"auc": float(np.mean(areas)), "exits": list(answers.accuracy)}


if __name__ == "__main__":
    main()
