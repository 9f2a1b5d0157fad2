"""Results of an earlier run that are still valid: networks, thresholds, evaluation."""

from __future__ import annotations

from pathlib import Path

from erde_cli.core.bundle.bundle import Bundle, load_bundle
from erde_cli.core.bundle.document import DOCUMENT
from erde_cli.core.calibration.thresholds_file import TargetDocument, ThresholdsDocument
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.device import Precision
from erde_cli.core.errors import BundleError
from erde_cli.core.events import Role
from erde_cli.core.recipe.inputs import inputs_digest
from erde_cli.core.recipe.schema import ROLES, Recipe
from erde_cli.core.storage.json_files import digest_of
from erde_cli.core.thresholds.scores import ENTROPY
from erde_cli.core.workflows.calibrate import target_of
from erde_cli.core.workflows.journal import REPORT, Journal

PHASES = ("teacher", "student", "calibration", "evaluation")
PRECISION: Precision = "float32"  # of inference, in a whole run


class Networks:
    """Teacher and student of a run: digests are computed, and bundles loaded, only once.

    A phase adds the network it trains with `put`; later phases get it from `kept`.
    """

    def __init__(self, recipe: Recipe, run: Path, dataset: Dataset) -> None:
        self.recipe, self.run, self.dataset = recipe, run, dataset
        self._digests: dict[Role, str] = {}
        self._bundles: dict[Role, Bundle | None] = {}

    def digest(self, role: Role) -> str | None:
        """Digest of all inputs of a network; None for a student without its teacher yet.

        Raises:
            BundleError: the student's teacher is damaged.
        """
        if role not in self._digests:
            weights = None
            if role == "student" and self.recipe.distillation.method != "cross_entropy":
                teacher = self.kept("teacher")
                if teacher is None:
                    return None
                weights = teacher.document.weights_digest
            fingerprint = self.dataset.fingerprint
            self._digests[role] = inputs_digest(self.recipe, role, fingerprint, weights)
        return self._digests[role]

    def kept(self, role: Role) -> Bundle | None:
        """The network, if it exists and was made from the inputs of this recipe.

        Raises:
            BundleError: the bundle is damaged.
        """
        if role not in self._bundles:
            digest = self.digest(role)
            if digest is None:
                return None
            self._bundles[role] = _load(self.run / role, digest)
        return self._bundles[role]

    def put(self, role: Role, bundle: Bundle) -> None:
        """Add a network that was just trained."""
        self._bundles[role] = bundle


def _load(path: Path, digest: str) -> Bundle | None:
    """The bundle at a path; None if it does not exist or was made from other inputs."""
    if not (path / DOCUMENT).is_file():
        return None
    try:
        bundle = load_bundle(path)
    except BundleError as error:
        raise BundleError(
            error.message,
            got=error.got,
            expected=error.expected,
            hint="copy the folder again, or train again with --force",
        ) from error
    return bundle if bundle.document.inputs_digest == digest else None


def kept_phases(networks: Networks) -> list[str]:
    """Phases that a run of this recipe would keep, in order.

    Raises:
        BundleError: a bundle is damaged.
    """
    recipe, run = networks.recipe, networks.run
    teacher, student = (networks.kept(role) for role in ROLES)
    phases = ["teacher"] * (teacher is not None) + ["student"] * (student is not None)
    if student is None or not kept_thresholds(recipe, networks.dataset, student.thresholds()):
        return phases
    phases.append("calibration")
    if teacher is not None and (run / REPORT).is_file():
        journal = Journal(run, recipe)
        done = journal.evaluated == evaluated_digest(teacher, student) and journal.has_answers
        phases += ["evaluation"] * done
    return phases


def kept_thresholds(
    recipe: Recipe, dataset: Dataset, thresholds: ThresholdsDocument | None
) -> bool:
    """Whether thresholds were chosen with this recipe's settings on these images."""
    return (
        thresholds is not None
        and thresholds.target == TargetDocument.of(target_of(recipe.calibration))
        and thresholds.split_fingerprint == dataset.fingerprint
        and thresholds.precision == PRECISION
        and thresholds.criterion == ENTROPY.name
        and (thresholds.temperatures is not None) == recipe.calibration.temperature
    )


def evaluated_digest(teacher: Bundle, student: Bundle) -> str:
    """Digest of everything that an evaluation depends on, except the images."""
    thresholds = student.thresholds()
    return digest_of(
        {
            "teacher": teacher.document.weights_digest,
            "student": student.document.weights_digest,
            "thresholds": thresholds.model_dump() if thresholds else None,
        }
    )
