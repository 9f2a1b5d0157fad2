"""Who waits for whom in a comparison with several workers, and when all are done."""

from pathlib import Path

import pytest

from erde_cli.core.comparison.plan import Plan
from erde_cli.core.comparison.students import student_specs
from erde_cli.core.events import Observer
from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.workflows.compare_gates import Gates, views_first
from erde_cli.core.workflows.compare_networks import Network, networks_of
from erde_cli.core.workflows.compare_progress import CrewProgress

CACHED = "distillation.teacher_cache.views=4"


def networks(*sets: str, name: str = "digits") -> dict[str, Network]:
    """The networks of two seeds, by seed and label."""
    recipe = load_recipe(name, sets)
    plan = Plan(recipe, Path("run"), (1, 2), student_specs(recipe, name))
    return {f"{one.seed} {one.label}": one for one in networks_of(plan, ())}


def test_all_pass_where_nothing_is_cached() -> None:
    gates = Gates()
    for network in networks().values():
        assert gates.lets_through(network)
        gates.starts(network)


def test_the_first_student_fills_the_cache_of_its_seed_and_the_others_wait() -> None:
    found, gates = networks(CACHED), Gates()
    gates.starts(found["1 erde"])
    passing = {name for name, network in found.items() if gates.lets_through(network)}
    assert passing == {"1 teacher", "1 cross_entropy", "2 teacher", "2 erde", "2 kd",
                       "2 cross_entropy"}  # fmt: skip
    gates.trains(found["1 erde"])
    assert gates.lets_through(found["1 kd"])
    gates.starts(found["1 kd"])
    assert gates.lets_through(found["1 erde"])


def test_the_next_student_fills_what_a_failed_one_has_not() -> None:
    found, gates = networks(CACHED), Gates()
    gates.starts(found["1 erde"])
    gates.ends(found["1 erde"])
    assert gates.lets_through(found["1 kd"])
    gates.starts(found["1 kd"])
    assert not gates.lets_through(found["1 erde"])


def test_a_student_of_another_precision_has_a_cache_of_its_own() -> None:
    own = "comparison.students=[erde, {name: kd, training: {student: {precision: bfloat16}}}]"
    found, gates = networks(CACHED, own), Gates()
    gates.starts(found["1 erde"])
    assert gates.lets_through(found["1 kd"])


def test_features_without_augmentation_are_computed_once_for_all_seeds() -> None:
    heads = "training.student={train: heads, views: 1, epochs: 2}"
    one = "distillation.teacher_cache.views=1"
    found = networks("data.root=x", heads, one, name="pretrained-photos")
    gates = Gates()
    gates.starts(found["1 erde"])
    for name in ("1 kd", "1 cross_entropy", "2 erde", "2 cross_entropy"):
        assert not gates.lets_through(found[name]), name
    gates.trains(found["1 erde"])
    gates.starts(found["2 erde"])
    assert gates.lets_through(found["2 cross_entropy"])
    assert not gates.lets_through(found["2 kd"])  # the logits of the other teacher


def test_the_first_student_computes_the_views_of_the_one_that_needs_most() -> None:
    students = "[{name: kd, training: {student: {epochs: 2}}}, erde, cross_entropy]"
    found = networks(CACHED, "training.student.epochs=3", f"comparison.students={students}")
    every = [*found.values()]
    assert views_first(found["1 kd"], every) == 3
    assert views_first(found["1 cross_entropy"], every) == 0
    assert views_first(networks()["1 kd"], every) == 0


class Shown(Observer):
    def __init__(self) -> None:
        self.last = (0, 0)

    def progress(self, title: str, done: int, total: int) -> None:
        assert title == "All trainings"
        self.last = (done, total)


def test_the_time_left_is_that_of_all_trainings_over_the_workers() -> None:
    sets = ("training.teacher.epochs=4", "training.student.epochs=2")
    found, now, shown = networks(*sets), [0.0], Shown()
    every = [*found.values()]
    progress = CrewProgress(every, 2, shown, lambda: now[0])
    assert progress.seconds_left() is None
    progress.began(found["1 teacher"], 0)
    now[0] = 30.0
    progress.reached(found["1 teacher"], 1.0)
    # 3 epochs of this teacher, 4 of the other, and 6 times 2, all taken for as long.
    assert progress.seconds_left() == 30 * (3 + 4 + 12) / 2
    progress.ended(found["1 teacher"])
    progress.began(found["1 kd"], 1)  # goes on after a stop
    now[0] = 31.0
    progress.reached(found["1 kd"], 1.5)
    of_kd = 0.5 * 2 + 2 * 2
    assert progress.seconds_left() == (4 * 30 + of_kd + 8 * 16) / 2
    done, total = shown.last
    assert done / total == pytest.approx(31 / (31 + 126.5), abs=1e-4)
    for network in every:
        progress.ended(network)
    assert progress.seconds_left() == 0
    progress.close()
    assert shown.last == (total, total)


def test_the_time_left_is_at_least_that_of_the_longest_training() -> None:
    found = networks("training.teacher.epochs=4")
    alone = found["1 teacher"]
    now = [0.0]
    progress = CrewProgress([alone], 8, Observer(), lambda: now[0])
    progress.began(alone, 0)
    now[0] = 10.0
    progress.reached(alone, 1.0)
    assert progress.seconds_left() == 3 * 10
