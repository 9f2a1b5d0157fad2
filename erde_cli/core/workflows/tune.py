"""`erde tune`: how fast this machine trains a recipe's networks, and what makes it faster."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from erde_cli.core.context import (
    LAYOUTS,
    PRECISIONS,
    Context,
    make_context,
    why_not,
    why_not_compiled,
)
from erde_cli.core.data import Batch, Normalisation, Normaliser
from erde_cli.core.data.published_files import PUBLISHED
from erde_cli.core.models import EarlyExitNet, build_model, resolve_architecture
from erde_cli.core.objectives import DistillationObjective, LabelObjective
from erde_cli.core.recipe import Data, Recipe, Training
from erde_cli.core.teacher_logits import ComputedLogits
from erde_cli.core.training import Objective
from erde_cli.core.tuning import Candidate, Speeds, Trial, measure, training_trial
from erde_cli.core.workflows.options import Json, Options
from erde_cli.core.workflows.training import Role, loss_settings

_UNKNOWN_CLASSES = 10  # where the images are not there to be counted
_NORMALISATION = Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
_KEYS = ("precision", "memory_format", "compile")  # of a candidate, in a recipe


@dataclass(frozen=True)
class RoleTuned:
    """How fast one network of a recipe trains; `now` is what the recipe gives on this machine."""

    batch_size: int
    classes: int
    now: Candidate
    speeds: Speeds

    @property
    def clear_gain(self) -> bool:
        """Whether something is faster than now by more than the spread."""
        return self.speeds.clear_gain(self.now)

    @property
    def change(self) -> Json:
        """What to write into the recipe's training section; empty: leave it as it is."""
        best, now = asdict(self.speeds.fastest), asdict(self.now)
        differing = {key: best[key] for key in _KEYS if best[key] != now[key]}
        if not self.clear_gain or not differing:
            return {}
        # What `auto` makes of one of these depends on the other: both, or neither.
        pair = {key: best[key] for key in ("precision", "memory_format")}
        return {**(pair if differing.keys() & pair else {}), **differing}

    @property
    def threads(self) -> int | None:
        """What to give as --threads; None: leave it out."""
        best = self.speeds.fastest.threads
        return best if self.clear_gain and best != self.now.threads else None

    def to_json(self) -> Json:
        """One role in the object that `--json` prints."""
        speeds = self.speeds
        candidates = [
            {
                **asdict(candidate),
                "images_per_second": asdict(speeds.spread(candidate)),
                "factor": asdict(speeds.factor(candidate, self.now)),
                "now": candidate == self.now,
                "best": candidate == speeds.fastest,
            }
            for candidate in speeds.found
        ]
        return {
            "batch_size": self.batch_size,
            "classes": self.classes,
            "candidates": candidates,
            "skipped": [{**asdict(one), "reason": why} for one, why in speeds.skipped.items()],
            "clear_gain": self.clear_gain,
            "change": self.change,
            "threads": self.threads,
        }


@dataclass(frozen=True)
class Tuned:
    """What `erde tune` found."""

    recipe: str
    device: str
    steps: int
    repeats: int
    roles: dict[Role, RoleTuned]

    @property
    def yaml(self) -> str | None:
        """The line to put into the recipe; None where there is nothing to change."""
        changes = {role: found.change for role, found in self.roles.items() if found.change}
        sections = [f"{role}: {{{_in_yaml(change)}}}" for role, change in changes.items()]
        return f"training: {{{', '.join(sections)}}}" if sections else None

    def to_json(self) -> Json:
        """The object that `--json` prints."""
        return {
            "recipe": self.recipe,
            "device": self.device,
            "steps": self.steps,
            "repeats": self.repeats,
            "yaml": self.yaml,
            "roles": {role: found.to_json() for role, found in self.roles.items()},
        }


def tune(
    recipe: Recipe,
    roles: Sequence[Role],
    options: Options,
    *,
    steps: int,
    repeats: int,
    threads: Sequence[int] | None = None,
    compiled: bool = False,
) -> Tuned:
    """Measure training steps of a recipe's networks on random images; writes nothing.

    Args:
        recipe: the recipe.
        roles: which of its networks.
        options: device, and who is told of progress.
        steps: training steps of one figure.
        repeats: figures of each candidate.
        threads: numbers of threads to try; None: 1, half of the cores, and all of them.
        compiled: try torch.compile as well.

    Raises:
        InputError: the recipe's own settings do not work here, or a number of threads is absurd.
    """
    device = options.context("float32").device
    found = {}
    for role in roles:
        with _threads_kept():
            candidates = _candidates(recipe, role, options, threads, compiled)
            now, reasons = candidates[0], _reasons(candidates, device)
            run = _Run(recipe, role, options, count_classes(recipe.data))
            options.observer.phase(f"Measuring training steps of the {role}")
            trials = {one: run.trial(one) for one in candidates if one not in reasons}
            report = partial(options.observer.progress, f"Trying the {role}")
            speeds = measure(trials, now, steps, repeats, report)
        speeds = Speeds(speeds.found, {**reasons, **speeds.skipped})
        found[role] = RoleTuned(run.settings.batch_size, run.classes, now, speeds)
    return Tuned(recipe.name, device.type, steps, repeats, found)


def count_classes(data: Data) -> int:
    """Classes of a recipe's images; a guess where images in folders are not there."""
    if data.dataset in PUBLISHED:
        return PUBLISHED[data.dataset].classes
    train = Path(data.root or "") / "train"
    if data.dataset == "digits" or not train.is_dir():
        return _UNKNOWN_CLASSES
    folders = [path for path in train.iterdir() if path.is_dir() and path.name[0] != "."]
    return max(2, len(folders))


@contextmanager
def _threads_kept() -> Iterator[None]:
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _candidates(
    recipe: Recipe, role: Role, options: Options, threads: Sequence[int] | None, compiled: bool
) -> list[Candidate]:
    """What the recipe gives now, and everything else to compare with it."""
    settings = recipe.training.teacher if role == "teacher" else recipe.training.student
    own = torch.get_num_threads()
    cores = os.cpu_count() or 1
    given = sorted({1, max(1, cores // 2), cores, own} if threads is None else set(threads))
    for count in given:
        make_context(options.device, threads=count)  # refuses an absurd number
    torch.set_num_threads(own)
    usual = own if own in given else given[-1]
    context = options.training_context(settings)
    now = Candidate(context.precision, context.layout, usual, settings.compile)
    found = [now]
    found += [Candidate(p, f, count) for p in PRECISIONS for f in LAYOUTS for count in given]
    if compiled:
        found += [
            Candidate(p, "contiguous" if p == "float32" else "channels_last", usual, True)
            for p in PRECISIONS
        ]
    return list(dict.fromkeys(found))


def _reasons(candidates: Sequence[Candidate], device: torch.device) -> dict[Candidate, str]:
    """Why candidates cannot be measured on a device, for those that cannot."""
    tried = {candidate.precision for candidate in candidates}
    of_precision = {precision: why_not(device, precision) for precision in tried}
    wanted = any(candidate.compile for candidate in candidates)
    of_compile = why_not_compiled(device) if wanted else ""
    reasons = {
        one: of_precision[one.precision] or (of_compile if one.compile else "")
        for one in candidates
    }
    return {candidate: reason for candidate, reason in reasons.items() if reason}


@dataclass(frozen=True)
class _Run:
    """One network of a recipe, and random images for it."""

    recipe: Recipe
    role: Role
    options: Options
    classes: int

    @property
    def settings(self) -> Training:
        """How the network is trained."""
        training = self.recipe.training
        return training.teacher if self.role == "teacher" else training.student

    def trial(self, candidate: Candidate) -> Trial:
        """Make ready to train in the way of a candidate."""
        wanted = {key: getattr(candidate, key) for key in _KEYS}
        settings = self.settings.model_copy(update=wanted)
        context = make_context(
            self.options.device, candidate.precision, candidate.threads, candidate.memory_format
        )
        batch = self._batch(context)
        objective = self._objective(context, batch)
        return training_trial(
            candidate.threads, self._network(self.role), settings, context, batch, objective
        )

    def _network(self, role: Role) -> EarlyExitNet:
        network = self.recipe.teacher if role == "teacher" else self.recipe.student
        architecture = resolve_architecture(network, self.classes, self.recipe.data.image_size)
        return build_model(architecture, self.recipe.seed)

    def _batch(self, context: Context) -> Batch:
        generator = torch.Generator().manual_seed(self.recipe.seed)
        size, count = self.recipe.data.image_size, self.settings.batch_size
        shape = (count, size, size, 3)
        images = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
        labels = torch.randint(self.classes, (count,), generator=generator)
        normalise = Normaliser(_NORMALISATION, size, context)
        images, labels = context.to_device(images), context.to_device(labels)
        return Batch(normalise(images), labels, np.arange(count))

    def _objective(self, context: Context, batch: Batch) -> Objective:
        """Objective of this role's training; a teacher whose logits are kept costs nothing."""
        recipe, settings = self.recipe, self.settings
        network = recipe.teacher if self.role == "teacher" else recipe.student
        weights = torch.tensor(network.exit_weights or [1.0] * network.exit_count)
        weights = context.to_device(weights)
        if self.role == "teacher" or recipe.distillation.method == "cross_entropy":
            return LabelObjective(weights, settings.label_smoothing)
        teacher = ComputedLogits(self._network("teacher"), context)
        if recipe.distillation.teacher_cache.views is not None:
            kept = teacher(batch)
            return self._distillation(lambda _: kept, weights, context)
        return self._distillation(teacher, weights, context)

    def _distillation(
        self, teacher: Callable[[Batch], Tensor], weights: Tensor, context: Context
    ) -> Objective:
        recipe = self.recipe
        return DistillationObjective(
            teacher,
            recipe.pairing,
            loss_settings(recipe),
            recipe.distillation.entropy_on,
            weights,
            recipe.seed,
            context,
        )


def _in_yaml(change: Json) -> str:
    return ", ".join(f"{key}: {json.dumps(value).strip(chr(34))}" for key, value in change.items())
