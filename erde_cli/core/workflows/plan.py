"""`erde plan`: the phases of a run and their duration, before anything is trained."""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from erde_cli.core.data.summary import summarise
from erde_cli.core.device import Context
from erde_cli.core.events import Role
from erde_cli.core.figures import duration
from erde_cli.core.recipe.schema import ROLES, Recipe
from erde_cli.core.storage.json_files import Json
from erde_cli.core.workflows.journal import Journal
from erde_cli.core.workflows.kept import PHASES, Networks, kept_phases
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.planned_training import PlanMeasurements, PlannedTraining

# Seconds on one core of 2024, nearly independent of images and networks: imports and the plan
# itself; the search for thresholds; tables and pictures.
_START, _SEARCH, _PICTURES = 4.0, 0.7, 3.0
_STATES = 2  # checkpoints of an unfinished training
_IN_STATE, _IN_BUNDLE = 8, 4  # bytes per parameter: with momentum, and without
_FILES = 2_000_000  # bytes of logs, tables and pictures


@dataclass(frozen=True)
class Plan:
    """Estimates for a run on this machine.

    seconds: of each phase; 0 for a kept phase. memory_bytes: peak while a few steps were trained.
    """

    recipe: Recipe
    run: Path
    context: Context
    data: Json
    roles: dict[Role, PlannedTraining]
    seconds: dict[str, float]
    kept: list[str]
    memory_bytes: int

    @property
    def total(self) -> float:
        """Seconds of all remaining phases and the start."""
        return _START + sum(self.seconds.values()) if len(self.kept) < len(PHASES) else 0.0

    @property
    def disk_bytes(self) -> int:
        """Peak bytes of the run folder: both bundles and the checkpoints of the larger training."""
        parameters = {role: one.profile.parameters for role, one in self.roles.items()}
        trained = [parameters[role] for role, one in self.roles.items() if not one.kept]
        states = _STATES * _IN_STATE * max(trained, default=0)
        return _FILES + _IN_BUNDLE * sum(parameters.values()) + states

    def after(self, phase: str) -> float:
        """Seconds of all later phases."""
        return sum(self.seconds[later] for later in PHASES[PHASES.index(phase) + 1 :])

    def in_short(self) -> str:
        """The plan in one line."""
        parts = [
            f"{role} {_features(one)}{one.epochs_left:,.0f} epochs of "
            f"{duration(one.seconds_per_epoch)}"
            for role, one in self.roles.items()
            if one.seconds_per_epoch is not None
        ]
        rest = self.seconds["calibration"] + self.seconds["evaluation"]
        return f"Plan: about {duration(self.total)} ({', '.join(parts)}, the rest {duration(rest)})"

    def to_json(self) -> Json:
        """The object that `--json` prints."""
        return {
            "recipe": self.recipe.name,
            "run": str(self.run),
            "device": self.context.device.type,
            "precision": self.context.precision,
            "threads": self.context.threads,
            "data": self.data,
            **{role: one.to_json() for role, one in self.roles.items()},
            "seconds": self.total,
            "seconds_of_phases": self.seconds,
            "kept": self.kept,
            "memory_bytes": self.memory_bytes,
            "disk_bytes": self.disk_bytes,
        }


def plan_run(networks: Networks, options: Options, *, force: bool = False) -> Plan:
    """Estimate a run: train and time a few steps of each network to be trained; write nothing.

    Args:
        networks: of the recipe and its run folder.
        options: device, threads, observer.
        force: accept a folder that belongs to another recipe.

    Raises:
        BundleError: a bundle of an earlier run is damaged.
        RunError: the folder belongs to another recipe, and `force` is not set.
    """
    recipe, run, dataset = networks.recipe, networks.run, networks.dataset
    if not force:
        Journal(run, recipe).refuse_other_recipe()
    kept = kept_phases(networks)
    measurements = PlanMeasurements(networks, options, kept)
    roles = {role: measurements.training(role) for role in ROLES}
    context = options.context(recipe.training.student.precision)
    return Plan(
        recipe,
        run,
        context,
        summarise(dataset).to_json(),
        roles,
        _seconds(roles, measurements),
        kept,
        _memory_held(),
    )


def _seconds(
    roles: dict[Role, PlannedTraining], measurements: PlanMeasurements
) -> dict[str, float]:
    kept, splits = measurements.kept, measurements.dataset.splits
    seconds = dict.fromkeys(PHASES, 0.0)
    for role, one in roles.items():
        seconds[role] = one.seconds
    if "evaluation" in kept:
        return seconds
    answers = {role: measurements.answer_seconds(role) for role in ROLES}
    if "calibration" not in kept:
        seconds["calibration"] = _SEARCH + len(splits["calibration"]) * answers["student"]
    seconds["evaluation"] = _PICTURES + len(splits["test"]) * sum(answers.values())
    return seconds


def _features(training: PlannedTraining) -> str:
    seconds = training.seconds_of_features
    return f"features in {duration(seconds)} and " if seconds else ""


def _memory_held() -> int:
    """Peak bytes of this process so far, in memory and on an accelerator."""
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    on_device = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return held * (1 if sys.platform == "darwin" else 1024) + on_device
