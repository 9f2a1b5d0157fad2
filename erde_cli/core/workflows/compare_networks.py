"""The networks of a comparison: which there are, how each is trained, and which are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from erde_cli.core.bundle.bundle import Bundle, load_bundle
from erde_cli.core.bundle.document import DOCUMENT
from erde_cli.core.comparison.document import Failed
from erde_cli.core.comparison.plan import Plan
from erde_cli.core.comparison.students import StudentSpec
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.errors import ErdeError, StoppedError
from erde_cli.core.events import Role
from erde_cli.core.inference.answers_file import FILE
from erde_cli.core.recipe.inputs import inputs_digest
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.train import distill, drop_checkpoints, train_teacher

TEACHER = "teacher"
KEPT = "nothing has changed, kept"
Key = tuple[int, str]  # seed and label
Outcome = Bundle | ErdeError  # a trained network, or why it could not be trained


@dataclass(frozen=True)
class Network:
    """One network of a comparison; its recipe has the seed.

    label: "teacher", or the student's name. run: the folder that it is trained in. title: of the
    phase. answers: the file with its answers.
    """

    seed: int
    label: str
    role: Role
    recipe: Recipe
    run: Path
    title: str
    answers: Path

    @property
    def key(self) -> Key:
        """What distinguishes it from the other networks."""
        return self.seed, self.label

    @property
    def name(self) -> str:
        """Its name in messages."""
        return f"Seed {self.seed}, {self.label}"

    @property
    def taught(self) -> bool:
        """Whether it learns from a teacher."""
        return self.role == "student" and self.recipe.distillation.method != "cross_entropy"

    def digest(self, dataset: Dataset, teacher: Bundle | None) -> str:
        """Digest of all that decides its bytes; `teacher`: None if it has none."""
        weights = None if teacher is None else teacher.document.weights_digest
        return inputs_digest(self.recipe, self.role, dataset.fingerprint, weights)

    def kept(self, digest: str) -> Bundle | None:
        """The bundle of an earlier command, if it was made from the same inputs, else None."""
        path = self.run / self.role
        bundle = load_bundle(path) if (path / DOCUMENT).is_file() else None
        if bundle is None or bundle.document.inputs_digest != digest:
            return None
        drop_checkpoints(path)
        return bundle

    def train(
        self, teacher: Bundle | None, options: Options, dataset: Dataset, digest: str | None = None
    ) -> Bundle:
        """Train it, or go on with its training."""
        if self.role == "teacher":
            return train_teacher(self.recipe, self.run, options, dataset, digest).bundle
        return distill(self.recipe, self.run, teacher, options, dataset, digest).bundle


@dataclass
class Trained:
    """Networks by seed, and by seed and label; and those that could not be trained."""

    teachers: dict[int, Bundle] = field(default_factory=dict)
    students: dict[Key, Bundle] = field(default_factory=dict)
    failed: list[Failed] = field(default_factory=list)
    errors: list[ErdeError] = field(default_factory=list)

    @classmethod
    def of(
        cls, networks: Sequence[Network], outcomes: Mapping[Key, Outcome], plan: Plan
    ) -> Trained:
        """The outcomes in the order of the plan, however they were come by."""
        trained = cls()
        if plan.teacher is not None:
            trained.teachers = dict.fromkeys(plan.seeds, plan.teacher)
        for network in networks:
            outcome = outcomes[network.key]
            if isinstance(outcome, ErdeError):
                trained.failed.append(Failed(network.seed, network.label, outcome.message))
                trained.errors.append(outcome)
            elif network.role == "teacher":
                trained.teachers[network.seed] = outcome
            else:
                trained.students[network.key] = outcome
        return trained


def networks_of(plan: Plan, rivals: Sequence[StudentSpec]) -> list[Network]:
    """Every network to train, seed by seed: its teacher, then its students and static rivals."""
    students = [*plan.students, *rivals]
    networks = []
    for seed in plan.seeds:
        folder = plan.seed_folder(seed)
        if plan.teacher is None:
            recipe = plan.recipe.model_copy(update={"seed": seed})
            title, answers = f"Seed {seed}, teacher", folder / "teacher.safetensors"
            networks.append(Network(seed, TEACHER, "teacher", recipe, folder, title, answers))
        for number, student in enumerate(students, 1):
            recipe = student.recipe.model_copy(update={"seed": seed})
            title = f"Seed {seed}, student {number} of {len(students)}: {student.name}"
            run = folder / student.name
            networks.append(Network(seed, student.name, "student", recipe, run, title, run / FILE))
    return networks


def teacher_of(
    network: Network, outcomes: Mapping[Key, Outcome], shared: Bundle | None
) -> Bundle | None:
    """The trained teacher of a network; None if it learns without one.

    Raises:
        ErdeError: the teacher could not be trained.
    """
    if not network.taught:
        return None
    teacher = shared or outcomes[network.seed, TEACHER]
    if isinstance(teacher, ErdeError):
        raise ErdeError("Its teacher is missing.")
    return teacher


def tell_failure(network: Network, error: ErdeError, options: Options) -> None:
    """Warn that a network could not be trained."""
    options.observer.warning(f"{network.name} failed. The others go on. {error}")


def train_in_turn(
    networks: Sequence[Network], shared: Bundle | None, dataset: Dataset, options: Options
) -> dict[Key, Outcome]:
    """Train the missing networks one after the other, in this process.

    Args:
        networks: a teacher stands before its students.
        shared: the teacher of all seeds, if there is one.
        dataset: the images.
        options: device, threads, observer.
    """
    outcomes: dict[Key, Outcome] = {}
    for network in networks:
        options.observer.phase(network.title)
        try:  # one failure does not end the others
            teacher = teacher_of(network, outcomes, shared)
            digest = network.digest(dataset, teacher)
            kept = network.kept(digest)
            if kept is not None:
                options.observer.note(KEPT)
            outcomes[network.key] = kept or network.train(teacher, options, dataset, digest)
        except StoppedError:
            raise
        except ErdeError as error:
            tell_failure(network, error, options)
            outcomes[network.key] = error
    return outcomes
