"""`erde tune`: how fast this machine trains a recipe's networks, and what makes it faster."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from erde_cli.core.data.folder_layout import train_folder
from erde_cli.core.data.published_files import PUBLISHED
from erde_cli.core.device import LAYOUTS, PRECISIONS, make_context
from erde_cli.core.errors import DataError
from erde_cli.core.events import Role
from erde_cli.core.images.listing import class_names_in
from erde_cli.core.measurement.training_speed import Candidate, Speeds, measure
from erde_cli.core.measurement.training_speed_process import TrialProcess
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.recipe.sections.data import Data
from erde_cli.core.storage.json_files import Json
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.prepared import settings_of
from erde_cli.core.workflows.tune_worker import request

_UNKNOWN_CLASSES = 10  # where the images are not there to be counted
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
        candidates = []
        for candidate in speeds.found:
            factor = speeds.factor(candidate, self.now)
            candidates.append(
                {
                    **asdict(candidate),
                    "images_per_second": asdict(speeds.spread(candidate)),
                    "factor": asdict(factor) if factor else None,
                    "now": candidate == self.now,
                    "best": candidate == speeds.fastest,
                }
            )
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

    Each candidate has a process of its own: one that crashes, or does not answer, is left out.

    Args:
        recipe: the recipe.
        roles: which of its networks.
        options: device, and who receives progress.
        steps: training steps of one figure.
        repeats: figures of each candidate.
        threads: numbers of threads to try; None: 1, half of the cores, and all of them.
        compiled: try torch.compile as well.

    Raises:
        InputError: the recipe's own settings cannot be had here, or a number of threads is absurd.
        ErdeError: no candidate can be measured.
    """
    found = {}
    for role in roles:
        candidates = _candidates(recipe, role, options, threads, compiled)
        now, classes = candidates[0], count_classes(recipe.data)
        options.observer.phase(f"Measuring training steps of the {role}")
        trials = {
            one: TrialProcess(request(recipe, role, options.device, classes, one))
            for one in candidates
        }
        report = partial(options.observer.progress, f"Trying the {role}")
        speeds = measure(trials, now, steps, repeats, report)
        found[role] = RoleTuned(settings_of(recipe, role).batch_size, classes, now, speeds)
    device = options.context("float32").device
    return Tuned(recipe.name, device.type, steps, repeats, found)


def count_classes(data: Data) -> int:
    """Classes of a recipe's images; a guess where images in folders are not there."""
    if data.dataset in PUBLISHED:
        return PUBLISHED[data.dataset].classes
    if data.dataset == "digits":
        return _UNKNOWN_CLASSES
    try:
        return max(2, len(class_names_in(train_folder(Path(data.root or "")))))
    except DataError:
        return _UNKNOWN_CLASSES


def _candidates(
    recipe: Recipe, role: Role, options: Options, threads: Sequence[int] | None, compiled: bool
) -> list[Candidate]:
    """What the recipe gives now, and everything else to compare with it."""
    settings = settings_of(recipe, role)
    own = options.context("float32").threads
    cores = os.cpu_count() or 1
    given = sorted({1, max(1, cores // 2), cores, own} if threads is None else set(threads))
    for count in given:
        make_context(options.device, threads=count)  # refuses an absurd number
    usual = own if own in given else given[-1]
    context = options.training_context(settings)
    now = Candidate(context.precision, context.layout, usual, settings.compile)
    found = [now]
    found += [Candidate(p, f, count) for p in PRECISIONS for f in LAYOUTS for count in given]
    if compiled:
        found += [Candidate(p, "channels_last", usual, True) for p in PRECISIONS]
    return list(dict.fromkeys(found))


def _in_yaml(change: Json) -> str:
    return ", ".join(f"{key}: {json.dumps(value).strip(chr(34))}" for key, value in change.items())
