"""`erde tune`: measure training speed on this machine, and find faster settings."""

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
from erde_cli.core.errors import DataError, InputError
from erde_cli.core.events import Role
from erde_cli.core.images.listing import class_names_in
from erde_cli.core.measurement.training_speed import Candidate, Speeds, measure
from erde_cli.core.measurement.training_speed_process import TrialProcess
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.recipe.sections.data import Data
from erde_cli.core.storage.json_files import Json
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.tune_worker import request

_UNKNOWN_CLASSES = 10  # if the images cannot be counted
_KEYS = ("precision", "memory_format", "compile")  # recipe keys of a candidate


@dataclass(frozen=True)
class RoleTuned:
    """Training speeds of one network; `now` are the recipe's settings on this machine."""

    batch_size: int
    classes: int
    now: Candidate
    speeds: Speeds

    @property
    def clear_gain(self) -> bool:
        """Whether a candidate is faster than `now` by more than the spread."""
        return self.speeds.clear_gain(self.now)

    @property
    def change(self) -> Json:
        """Keys to change in the recipe's training section; empty: none."""
        best, now = asdict(self.speeds.fastest), asdict(self.now)
        differing = {key: best[key] for key in _KEYS if best[key] != now[key]}
        if not self.clear_gain or not differing:
            return {}
        # The value of `auto` for one depends on the other, so both are written, or neither.
        pair = {key: best[key] for key in ("precision", "memory_format")}
        return {**(pair if differing.keys() & pair else {}), **differing}

    @property
    def threads(self) -> int | None:
        """Value for --threads; None: the default is best."""
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
    """Results of `erde tune`."""

    recipe: str
    device: str
    steps: int
    repeats: int
    roles: dict[Role, RoleTuned]

    @property
    def yaml(self) -> str | None:
        """The line to add to the recipe; None if nothing should change."""
        changes = {role: tuned.change for role, tuned in self.roles.items() if tuned.change}
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
            "roles": {role: tuned.to_json() for role, tuned in self.roles.items()},
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
    """Measure training steps of a recipe's networks on random images; write nothing.

    Each candidate runs in a separate process. One that crashes or hangs is skipped.

    Args:
        recipe: the recipe.
        roles: teacher, student, or both.
        options: device, observer.
        steps: training steps per measurement.
        repeats: measurements per candidate.
        threads: numbers of threads to try; None: 1, half of the cores, and all cores.
        compiled: also try torch.compile.

    Raises:
        InputError: this machine does not support the recipe's settings, or a number of threads is
            out of range.
        ErdeError: no candidate can be measured.
    """
    tuned = {}
    for role in _with_steps(recipe, roles, options):
        candidates = _candidates(recipe, role, options, threads, compiled)
        now, classes = candidates[0], count_classes(recipe.data)
        options.observer.phase(f"Measuring training steps of the {role}")
        trials = {
            one: TrialProcess(request(recipe, role, options.device, classes, one))
            for one in candidates
        }
        report = partial(options.observer.progress, f"Trying the {role}")
        speeds = measure(trials, now, steps, repeats, report)
        tuned[role] = RoleTuned(recipe.training_of(role).batch_size, classes, now, speeds)
    device = options.context("float32").device
    return Tuned(recipe.name, device.type, steps, repeats, tuned)


def _with_steps(recipe: Recipe, roles: Sequence[Role], options: Options) -> list[Role]:
    """Roles whose training consists of steps of the whole network.

    Raises:
        InputError: there are none.
    """
    heads = [role for role in roles if recipe.training_of(role).heads_only]
    for role in heads:
        options.observer.note(f"The {role} trains its heads alone, which takes no time to tune.")
    if len(heads) == len(roles):
        raise InputError(
            "There is nothing to tune: only heads are trained, on features that are computed once.",
            got=" and ".join(f"training.{role}.train: heads" for role in heads),
            expected="a network that is trained as a whole, or from a stage",
            hint="erde plan shows how long features and heads take",
        )
    return [role for role in roles if role not in heads]


def count_classes(data: Data) -> int:
    """Number of classes of a recipe's images; 10 if the folder of images is missing."""
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
    """The recipe's settings, and the candidates to compare with them."""
    settings = recipe.training_of(role)
    default = options.context("float32").threads
    cores = os.cpu_count() or 1
    counts = sorted({1, max(1, cores // 2), cores, default} if threads is None else set(threads))
    for count in counts:
        make_context(options.device, threads=count)  # refuses a number out of range
    usual = default if default in counts else counts[-1]
    context = options.training_context(settings)
    now = Candidate(context.precision, context.layout, usual, settings.compile)
    candidates = [now]
    candidates += [Candidate(p, f, count) for p in PRECISIONS for f in LAYOUTS for count in counts]
    if compiled:
        candidates += [Candidate(p, "channels_last", usual, True) for p in PRECISIONS]
    return list(dict.fromkeys(candidates))


def _in_yaml(change: Json) -> str:
    return ", ".join(f"{key}: {json.dumps(value).strip(chr(34))}" for key, value in change.items())
