"""What of an earlier run still holds: each network, the thresholds, the evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from erde_cli.core.bundle.bundle import Bundle, load_bundle
from erde_cli.core.bundle.document import DOCUMENT
from erde_cli.core.calibration.thresholds_file import ThresholdsDocument, target_to_json
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.device import Precision
from erde_cli.core.errors import BundleError
from erde_cli.core.recipe.inputs import inputs_digest
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.storage.json_files import digest_of
from erde_cli.core.workflows.calibrate import target_of
from erde_cli.core.workflows.journal import REPORT, Journal
from erde_cli.core.workflows.prepared import Role

PHASES = ("teacher", "student", "calibration", "evaluation")
PRECISION: Precision = "float32"  # of inference, in a whole run


@dataclass(frozen=True)
class Kept:
    """Phases of a run that need not be done again, in their order, and its teacher."""

    phases: list[str]
    teacher: Bundle | None


def what_is_kept(recipe: Recipe, run: Path, dataset: Dataset) -> Kept:
    """What a run of this recipe would keep.

    Raises:
        BundleError: a bundle is damaged.
    """
    teacher = kept_network(recipe, "teacher", run, dataset, None)
    student = kept_network(recipe, "student", run, dataset, teacher)
    phases = ["teacher"] * (teacher is not None) + ["student"] * (student is not None)
    if student is None or not kept_thresholds(recipe, dataset, student.thresholds()):
        return Kept(phases, teacher)
    phases.append("calibration")
    if teacher is not None and (run / REPORT).is_file():
        done = Journal(run, recipe).evaluated == evaluated_digest(teacher, student)
        phases += ["evaluation"] * done
    return Kept(phases, teacher)


def inputs_of(recipe: Recipe, role: Role, dataset: Dataset, teacher: Bundle | None) -> str | None:
    """Digest of all that decides a network; None for a student whose teacher is not trained yet."""
    if role == "teacher" or recipe.distillation.method == "cross_entropy":
        return inputs_digest(recipe, role, dataset.fingerprint)
    if teacher is None:
        return None
    return inputs_digest(recipe, role, dataset.fingerprint, teacher.document.weights_digest)


def kept_network(
    recipe: Recipe, role: Role, run: Path, dataset: Dataset, teacher: Bundle | None
) -> Bundle | None:
    """The run's teacher or student, where it is what this recipe would train.

    Raises:
        BundleError: it is damaged.
    """
    path, digest = run / role, inputs_of(recipe, role, dataset, teacher)
    if digest is None or not (path / DOCUMENT).is_file():
        return None
    try:
        bundle = load_bundle(path)
    except BundleError as error:
        raise BundleError(
            error.message,
            got=error.got,
            expected=error.expected,
            hint="copy the folder again, or make it again with --force",
        ) from error
    return bundle if bundle.document.inputs_digest == digest else None


def kept_thresholds(recipe: Recipe, dataset: Dataset, found: ThresholdsDocument | None) -> bool:
    """Whether thresholds were chosen for this recipe's target, on these images, in this way."""
    return (
        found is not None
        and found.target == target_to_json(target_of(recipe.calibration))
        and found.split_fingerprint == dataset.fingerprint
        and found.precision == PRECISION
        and (found.temperatures is not None) == recipe.calibration.temperature
    )


def evaluated_digest(teacher: Bundle, student: Bundle) -> str:
    """Digest of what an evaluation depends on, besides the images."""
    thresholds = student.thresholds()
    return digest_of(
        {
            "teacher": teacher.document.weights_digest,
            "student": student.document.weights_digest,
            "thresholds": thresholds.model_dump() if thresholds else None,
        }
    )
