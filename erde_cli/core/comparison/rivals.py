"""Static rivals: plain networks that cost what an adaptive student spends, distilled by `kd`.

An early-exit student at half of its MACs is worth its trouble only where it beats a network that
is half as large and has no exits at all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

import numpy as np

from erde_cli.core.comparison.answers import Seen
from erde_cli.core.comparison.arms import Arm
from erde_cli.core.comparison.curves import resampled
from erde_cli.core.comparison.document import Against, RivalResult
from erde_cli.core.comparison.paired import difference
from erde_cli.core.comparison.plan import Plan
from erde_cli.core.models.architecture import build_model, resolve_architecture
from erde_cli.core.models.profile import profile_model
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.recipe.sections.distillation import Method
from erde_cli.core.recipe.sections.network import Network
from erde_cli.core.storage.json_files import Json

SHARES = (0.5, 0.7)  # of the student's full MACs
_Key = tuple[int, str]  # seed, label


def static_rivals(recipe: Recipe, classes: int) -> tuple[Arm, ...]:
    """Narrower networks without early exits, learning from the last exit; named by their cost.

    As near to `SHARES` as a width comes; of a narrow student, both may be one.
    """
    size = recipe.data.image_size
    full = _macs(recipe.student, classes, size)
    found: dict[str, Arm] = {}
    for wanted in SHARES:
        student = _nearest(recipe, classes, wanted * full)
        label = f"static-{100 * _macs(student, classes, size) / full:.0f}"
        kd = {"method": "kd", "pairing": recipe.pairing[-1:]}
        rival = recipe.model_copy(
            update={
                "student": student,
                "distillation": recipe.distillation.model_copy(update=kd),
            }
        )
        found[label] = Arm(label, "kd", rival, plain=False, name=label)
    return tuple(found.values())


def rival_results(
    plan: Plan, students: Mapping[_Key, Seen], rivals: Mapping[_Key, Seen]
) -> list[RivalResult]:
    """Each rival, and every plain method at the very cost of the rival; descriptive."""
    found = []
    for label in dict.fromkeys(label for _, label in rivals):
        mine = {seed: seen for (seed, name), seen in rivals.items() if name == label}
        macs = next(iter(mine.values())).full_macs
        against = [
            _against(arm.method, macs, mine, students)
            for arm in plan.arms
            if arm.plain and all((seed, arm.label) in students for seed in mine)
        ]
        accuracies = [seen.test.full_accuracy for seen in mine.values()]
        bundles = [str(seen.bundle) for seen in mine.values()]
        found.append(RivalResult(label, list(mine), macs, accuracies, bundles, against))
    return found


def _against(
    method: Method, macs: float, mine: Mapping[int, Seen], students: Mapping[_Key, Seen]
) -> Against:
    """Accuracy of a method's students at the rival's MACs, and the difference method − rival."""
    rows, of_seeds, accuracy = [], [], []
    for seed, rival in mine.items():
        student = students[seed, method]
        share = (macs / student.full_macs,)
        there = student.curve.at(share)[0]
        if there is None:  # leaving at exit 0 costs more than the rival
            return Against(method, None, None)
        ours, theirs = resampled([student.curve, rival.curve], share)
        rows.append(ours[:, 1] - theirs[:, 0])
        of_seeds.append(there - rival.test.full_accuracy)
        accuracy.append(there)
    return Against(method, accuracy, difference(of_seeds, np.stack(rows)))


def _nearest(recipe: Recipe, classes: int, goal: float) -> Network:
    """The student without early exits, of the width whose MACs lie nearest to `goal`."""
    student, size = recipe.student, recipe.data.image_size
    widths = range(1, student.channels + 1)
    above = bisect_left(widths, goal, key=lambda w: _macs(_plain(student, w), classes, size))
    near = widths[max(0, above - 1) : above + 1]
    return min(
        (_plain(student, width) for width in near),
        key=lambda one: abs(_macs(one, classes, size) - goal),
    )


def _plain(student: Network, width: int) -> Network:
    stem = student.stem and max(1, round(student.stem * width / student.channels))
    update: Json = {"width": width, "stem": stem, "exits": [], "exit_weights": None}
    return student.model_copy(update=update)


def _macs(network: Network, classes: int, image_size: int) -> int:
    architecture = resolve_architecture(network, classes, image_size)
    return profile_model(build_model(architecture), image_size).full_macs
