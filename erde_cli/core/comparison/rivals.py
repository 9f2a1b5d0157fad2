"""Static rivals: plain networks at the cost of an adaptive student, distilled by `kd`.

An early-exit student at half of its MACs is only worth having if it beats a network that is half
as large and has no early exits.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

import numpy as np

from erde_cli.core.comparison.answers import NetworkAnswers
from erde_cli.core.comparison.curves import resampled
from erde_cli.core.comparison.document import Against, RivalResult
from erde_cli.core.comparison.paired import difference
from erde_cli.core.comparison.plan import Plan
from erde_cli.core.comparison.students import StudentSpec
from erde_cli.core.errors import InputError
from erde_cli.core.figures import percent
from erde_cli.core.models.architecture import build_model, resolve_architecture
from erde_cli.core.models.profile import profile_model
from erde_cli.core.recipe.backbones import FAMILIES
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.recipe.sections.network import Network
from erde_cli.core.storage.json_files import Json

SHARES = (0.5, 0.7)  # of the student's full MACs
_Key = tuple[int, str]  # seed, label


def static_rivals(recipe: Recipe, classes: int) -> tuple[StudentSpec, ...]:
    """Narrower networks without early exits that learn from the teacher's last exit.

    Their widths come nearest to `SHARES` of the student's MACs; names give the share. If the
    student is narrow, both can be the same network.
    """
    size = recipe.image_size("student")
    full = _macs(recipe.student, classes, size)
    rivals: dict[str, StudentSpec] = {}
    for share in SHARES:
        student = _nearest(recipe, classes, share * full)
        label = f"static-{percent(_macs(student, classes, size) / full, 0)}"
        kd = {"method": "kd", "pairing": recipe.pairing[-1:]}
        rival = recipe.model_copy(
            update={
                "student": student,
                "distillation": recipe.distillation.model_copy(update=kd),
            }
        )
        rivals[label] = StudentSpec(label, rival)
    return tuple(rivals.values())


def rival_results(
    plan: Plan, students: Mapping[_Key, NetworkAnswers], rivals: Mapping[_Key, NetworkAnswers]
) -> list[RivalResult]:
    """Each rival, and every reference student at the rival's cost; descriptive."""
    results = []
    for label in dict.fromkeys(label for _, label in rivals):
        by_seed = {seed: answers for (seed, name), answers in rivals.items() if name == label}
        macs = next(iter(by_seed.values())).full_macs
        against = [
            _against(student.name, macs, by_seed, students)
            for student in plan.references
            if all((seed, student.name) in students for seed in by_seed)
        ]
        accuracies = [answers.test.full_accuracy for answers in by_seed.values()]
        bundles = [str(answers.bundle) for answers in by_seed.values()]
        results.append(RivalResult(label, list(by_seed), macs, accuracies, bundles, against))
    return results


def _against(
    name: str,
    macs: float,
    rivals: Mapping[int, NetworkAnswers],
    students: Mapping[_Key, NetworkAnswers],
) -> Against:
    """Accuracy of a student at the rival's MACs, and the difference student − rival."""
    drawn, of_seeds, accuracies = [], [], []
    for seed, rival in rivals.items():
        student = students[seed, name]
        share = (macs / student.full_macs,)
        accuracy = student.curve.at(share)[0]
        if accuracy is None:  # leaving at exit 0 costs more than the rival
            return Against(name, None, None)
        of_student, of_rival = resampled([student.curve, rival.curve], share)
        drawn.append(of_student[:, 1] - of_rival[:, 0])
        of_seeds.append(accuracy - rival.test.full_accuracy)
        accuracies.append(accuracy)
    return Against(name, accuracies, difference(of_seeds, np.stack(drawn)))


def _nearest(recipe: Recipe, classes: int, goal: float) -> Network:
    """The student without early exits, with the width whose MACs are nearest to `goal`."""
    student, size = recipe.student, recipe.image_size("student")
    if student.channels is None:
        raise InputError(
            "Static rivals are narrower networks, and a library's network has no width to change.",
            got=f"student.backbone: {student.backbone}",
            expected=f"one of {', '.join(FAMILIES)}",
            hint="leave static out",
        )
    widths = range(1, student.channels + 1)
    above = bisect_left(widths, goal, key=lambda w: _macs(_plain(student, w), classes, size))
    near = widths[max(0, above - 1) : above + 1]
    return min(
        (_plain(student, width) for width in near),
        key=lambda one: abs(_macs(one, classes, size) - goal),
    )


def _plain(student: Network, width: int) -> Network:
    stem = student.stem
    if isinstance(stem, int) and student.channels is not None:
        stem = max(1, round(stem * width / student.channels))
    update: Json = {"width": width, "stem": stem, "exits": [], "exit_weights": None}
    return student.model_copy(update=update)


def _macs(network: Network, classes: int, image_size: int) -> int:
    architecture = resolve_architecture(network, classes, image_size)
    return profile_model(build_model(architecture), image_size).full_macs
