"""`erde plan`: what a run will do and how long it will take, before anything is trained."""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from erde_cli.core.data.dataset import Dataset
from erde_cli.core.data.summary import summarise
from erde_cli.core.device import Context
from erde_cli.core.events import Role, duration
from erde_cli.core.recipe.schema import ROLES, Recipe
from erde_cli.core.storage.json_files import Json
from erde_cli.core.workflows.journal import Journal
from erde_cli.core.workflows.kept import PHASES, Networks, kept_phases
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.planned_training import Measured, PlannedTraining

# Seconds that hardly depend on images and networks, on one core of 2024: imports and the plan
# itself, a search for thresholds, tables and pictures.
_START, _SEARCH, _PICTURES = 4.0, 0.7, 3.0
_STATES = 2  # checkpoints of a training under way
_IN_STATE, _IN_BUNDLE = 8, 4  # bytes of a parameter: with its momentum, and without
_FILES = 2_000_000  # bytes of logs, tables and pictures


@dataclass(frozen=True)
class Plan:
    """What a run will do on this machine.

    seconds: of each phase, 0 where it is kept. memory_bytes: the most that was held while a few
    steps were trained. disk_bytes: the most that the run folder will hold.
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
        """Seconds of all that is left to do, the start included."""
        return _START + sum(self.seconds.values()) if len(self.kept) < len(PHASES) else 0.0

    @property
    def disk_bytes(self) -> int:
        """Bytes of both bundles, of the larger training's checkpoints, and of kept logits."""
        parameters = {role: one.profile.parameters for role, one in self.roles.items()}
        trained = [parameters[role] for role, one in self.roles.items() if not one.kept]
        states = _STATES * _IN_STATE * max(trained, default=0)
        return _FILES + _IN_BUNDLE * sum(parameters.values()) + states

    def after(self, phase: str) -> float:
        """Seconds of all that comes after a phase."""
        return sum(self.seconds[later] for later in PHASES[PHASES.index(phase) + 1 :])

    def in_short(self) -> str:
        """The plan in a line."""
        parts = [
            f"{role} {one.epochs_left:,.0f} epochs of {duration(one.seconds_per_epoch)}"
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
    """Work out what `erde run` would do; trains a few steps of what it would train, writes nothing.

    Args:
        networks: of the recipe; its run folder perhaps has something from an earlier run.
        options: device, threads, observer.
        force: plan for a folder that another recipe made as well.

    Raises:
        BundleError: what an earlier run left is damaged.
        RunError: the folder was made by another recipe, and `force` is not set.
    """
    recipe, run, dataset = networks.recipe, networks.run, networks.dataset
    if not force:
        Journal(run, recipe).refuse_other_recipe()
    kept = kept_phases(networks)
    measured = Measured(networks, options, kept)
    roles = {role: measured.training(role) for role in ROLES}
    context = options.context(recipe.training.student.precision)
    return Plan(
        recipe,
        run,
        context,
        summarise(dataset).to_json(),
        roles,
        _seconds(kept, roles, measured, dataset),
        kept,
        _memory_held(),
    )


def _seconds(
    kept: list[str], roles: dict[Role, PlannedTraining], measured: Measured, dataset: Dataset
) -> dict[str, float]:
    seconds = dict.fromkeys(PHASES, 0.0)
    for role, one in roles.items():
        seconds[role] = one.seconds
    if "evaluation" in kept:
        return seconds
    answers = {role: measured.seconds_per_answer(role) for role in ROLES}
    if "calibration" not in kept:
        images = len(dataset.splits["calibration"])
        seconds["calibration"] = _SEARCH + images * answers["student"]
    seconds["evaluation"] = _PICTURES + len(dataset.splits["test"]) * sum(answers.values())
    return seconds


def _memory_held() -> int:
    """The most memory that this process has held so far, and that it holds on an accelerator."""
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    on_device = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return held * (1 if sys.platform == "darwin" else 1024) + on_device
