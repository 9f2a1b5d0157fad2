"""`erde compare`: train the students of several seeds, and compare their answers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from erde_cli.core.comparison.document import Failed, Results
from erde_cli.core.comparison.files import write_results
from erde_cli.core.comparison.parallel import Shard
from erde_cli.core.comparison.plan import Plan, claim
from erde_cli.core.comparison.results import results
from erde_cli.core.comparison.rivals import static_rivals
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.data.summary import summarise
from erde_cli.core.recipe.schema import ROLES
from erde_cli.core.storage.json_files import Json
from erde_cli.core.storage.run_lock import LOCK, one_writer, wait_for_holders
from erde_cli.core.training.class_weights import check_class_weights
from erde_cli.core.workflows.compare_answers import all_answers
from erde_cli.core.workflows.compare_networks import Trained, networks_of, train_in_turn
from erde_cli.core.workflows.compare_workers import train_at_once
from erde_cli.core.workflows.images import open_for_training
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.prepared import check_weights
from erde_cli.core.workflows.report import report_of_comparison
from erde_cli.core.workflows.sized_student import with_sized_student
from erde_cli.core.workflows.teachers import check_splits, load_teacher


@dataclass(frozen=True)
class Compared:
    """The results of a comparison, its folder, a summary of the images, and the report.

    page: the report to look at; None if it could not be written.
    """

    results: Results
    run: Path
    data: Json
    page: Path | None = None

    @property
    def failed(self) -> bool:
        """Whether any network could not be trained."""
        return bool(self.results.failed)

    def to_json(self) -> Json:
        """The object that `--json` prints: `results.json`, and the images."""
        return {**self.results.to_json(), "data": self.data}


@dataclass(frozen=True)
class ShardDone:
    """A shard whose networks are trained; `of_seeds` are its own, `all_seeds` the comparison's."""

    shard: Shard
    run: Path
    of_seeds: tuple[int, ...]
    all_seeds: tuple[int, ...]
    failures: list[Failed]

    @property
    def failed(self) -> bool:
        """Whether any network could not be trained."""
        return bool(self.failures)

    def to_json(self) -> Json:
        """The object that `--json` prints."""
        return {
            "shard": str(self.shard),
            "run": str(self.run),
            "seeds": list(self.of_seeds),
            "all_seeds": list(self.all_seeds),
            "failed": [one.to_json() for one in self.failures],
        }


def compare(plan: Plan, options: Options, workers: int = 1) -> Compared:
    """Train the missing networks, answer the images with all of them, compare, write the results.

    Networks made from the same inputs are kept, so a stopped comparison resumes. A network that
    cannot be trained is reported, and the others go on.

    Args:
        plan: what is compared.
        options: device, observer, and the threads of each training.
        workers: trainings at once; with more than one, each in a process of its own.

    Raises:
        RunError: the folder belongs to another comparison.
        ErdeError: no student could be trained; the first reason.
    """
    plan = _with_sized_student(plan, options)
    dataset = _checked(plan, options)
    claim(plan)
    for seed in plan.seeds:  # of shards that were killed
        (plan.seed_folder(seed) / LOCK).unlink(missing_ok=True)
    trained = _train_all(plan, dataset, options, workers)
    found = all_answers(plan, trained, dataset, options)
    if not found.students:
        raise trained.errors[0]
    compared = results(plan, found)
    write_results(plan.run, compared, options.observer)
    page = report_of_comparison(plan.run, compared, options)
    return Compared(compared, plan.run, summarise(dataset).to_json(), page)


def train_shard(
    plan: Plan,
    shard: Shard,
    options: Options,
    workers: int,
    let_others_in: Callable[[], object],
) -> ShardDone:
    """Train the missing networks of some seeds, and answer the images with them.

    Other shards can do the same in the same folder at the same time. `compare` merges them.

    Args:
        plan: what is compared, with all seeds.
        shard: which seeds to train.
        options: device, observer, and the threads of each training.
        workers: trainings at once.
        let_others_in: called when the folder is claimed, as `one_of_several` yields it.

    Raises:
        RunError: the folder belongs to another comparison, or another shard has the same seeds.
    """
    own = replace(plan, seeds=shard.of(plan.seeds))
    own = _with_sized_student(own, options)
    dataset = _checked(own, options)
    claim(own)
    with ExitStack() as locks:
        for seed in own.seeds:
            locks.enter_context(one_writer(own.seed_folder(seed)))
        let_others_in()
        trained = _train_all(own, dataset, options, workers)
        all_answers(own, trained, dataset, options)
    return ShardDone(shard, plan.run, own.seeds, plan.seeds, trained.failed)


def _with_sized_student(plan: Plan, options: Options) -> Plan:
    """The plan with the student that the recipe's family and budget stand for."""
    return plan.with_student(with_sized_student(plan.recipe, options, plan.run).student)


def _checked(plan: Plan, options: Options) -> Dataset:
    """Open the images, and check everything that can be checked before hours of training."""
    if plan.teacher is not None:
        load_teacher(plan.recipe, plan.teacher)
    dataset = open_for_training(plan.recipe, options)
    for role in ROLES if plan.teacher is None else ("student",):
        check_weights(plan.recipe, role, dataset)
    for student in plan.students:
        check_class_weights(student.recipe, dataset.class_names)
    if plan.teacher is not None:
        check_splits(plan.teacher, dataset)
    return dataset


def _train_all(plan: Plan, dataset: Dataset, options: Options, workers: int) -> Trained:
    """Train the missing networks."""
    rivals = static_rivals(plan.static_recipe, len(dataset.class_names)) if plan.static else ()
    networks = networks_of(plan, rivals)
    for seed in plan.seeds:
        wait_for_holders(
            plan.seed_folder(seed),
            lambda: options.observer.note("Waiting for trainings of a killed command to stop"),
        )
    if workers > 1:
        outcomes = train_at_once(networks, plan.teacher, dataset, options, workers)
    else:
        outcomes = train_in_turn(networks, plan.teacher, dataset, options)
    return Trained.of(networks, outcomes, plan)
