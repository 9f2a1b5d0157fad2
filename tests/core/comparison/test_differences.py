"""Students by hand: one threshold for all exits, and entropies by the teacher's paired exits."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from erde_cli.commands.views.compare import _together
from erde_cli.core.comparison.answers import NetworkAnswers
from erde_cli.core.comparison.differences import Key, differences, one_threshold_differences
from erde_cli.core.comparison.document import Results
from erde_cli.core.comparison.plan import Plan
from erde_cli.core.comparison.report import gap_rows, markdown, statement, theta_head
from erde_cli.core.comparison.results import AllAnswers, results
from erde_cli.core.comparison.students import student_specs
from erde_cli.core.inference.observations import Observations
from erde_cli.core.recipe.loading import load_recipe

COSTS = np.array([10.0, 50.0, 100.0])
METHODS = ("erde", "kd", "cross_entropy")
PAIRING = "distillation.pairing=[2, 0, 1]"


def plan(*settings: str, seeds: tuple[int, ...] = (1, 2)) -> Plan:
    recipe = load_recipe("digits", settings)
    return Plan(recipe, Path("run"), seeds, student_specs(recipe, "mine.yaml"))


def network(seed: int, images: int = 60, right: float = 0.6) -> NetworkAnswers:
    """Calibration found no threshold but both ends."""
    rng = np.random.default_rng(seed)
    correct = rng.random((images, 3)) < [right, right + 0.1, right + 0.2]
    seen = Observations(rng.random((images, 3)) * np.log(4), correct, COSTS)
    ends = [(np.inf, np.inf), (0.0, 0.0)]
    return NetworkAnswers(Path("x"), seen, seen, COSTS, COSTS, ends, (9.0, 40.0, 80.0), 4)


def students() -> dict[Key, NetworkAnswers]:
    return {
        (seed, method): network(10 * seed + place, right=0.5 + 0.1 * (2 - place))
        for seed in (1, 2)
        for place, method in enumerate(METHODS)
    }


def test_both_measures_are_made_alike_from_their_own_curves() -> None:
    found = students()
    ours, theirs = one_threshold_differences(plan(), found), differences(plan(), found)
    assert [(one.a, one.b) for one in ours] == [(one.a, one.b) for one in theirs]
    for one, other in zip(ours, theirs, strict=True):
        pairs = [(found[seed, one.a], found[seed, one.b]) for seed in (1, 2)]
        assert one.found.of_seeds == pytest.approx(
            [a.one_threshold.auc - b.one_threshold.auc for a, b in pairs]
        )
        assert one.found.of_seeds != pytest.approx(other.found.of_seeds)
        assert 0 < one.found.sd_images != other.found.sd_images
    assert [one.primary for one in theirs] == [True, False, False]
    assert [one.primary for one in ours] == [False, False, False]


def test_what_decides_is_named_in_the_sentence() -> None:
    said = [statement(one) for one in one_threshold_differences(plan(), students())]
    assert said[0].startswith("erde − kd, one θ for all exits: ")
    assert "points of mean accuracy over budgets (95 % interval " in said[0]
    assert all("(simultaneous 95 % interval " in one for one in said[1:])
    shared = replace(differences(plan(), students())[0], conditional_on_teacher=True)
    assert ", 2 seeds, given this teacher): " in statement(shared)
    [alone, *_] = one_threshold_differences(plan(seeds=(1,)), students())
    assert "one θ for all exits: " in statement(alone)
    assert "one seed says nothing about others" in statement(alone)


def compared(
    made: Plan, teachers: dict[int, NetworkAnswers], found: dict[Key, NetworkAnswers] | None = None
) -> Results:
    return results(made, AllAnswers(teachers, found or students(), {}, {}, []))


def test_entropies_are_split_by_the_paired_exit_of_the_teacher() -> None:
    teacher = network(7)
    found = compared(plan(PAIRING), {1: teacher, 2: teacher})
    for one in found.students:
        mine = students()[one.seed, one.label].test.scores
        for row, paired in zip(one.entropy_gaps or (), (2, 0), strict=True):
            wrong = ~teacher.test.correct[:, paired]
            assert row.share_wrong == pytest.approx(wrong.mean())
            assert row.wrong == pytest.approx(mine[wrong, row.exit].mean())


def test_where_a_teacher_is_missing_its_seed_is_left_out() -> None:
    found = compared(plan(), {2: network(7)})
    gaps = {(one.seed, one.label): one.entropy_gaps for one in found.students}
    assert [gaps[1, method] for method in METHODS] == [None] * 3
    assert len(gaps[2, "cross_entropy"] or ()) == 2
    assert found.summary[0].entropy_gaps[0].seeds == 1
    alone = compared(plan(), {})
    assert gap_rows(alone) == []
    assert "Entropy at early exits" not in markdown(alone)


def test_the_table_of_one_theta_is_of_plain_methods() -> None:
    variant = "more"
    more = "{name: more, distillation: {weights: {entropy: 3}}}"
    made = plan(f"comparison.students=[erde, kd, cross_entropy, {more}]")
    found = compared(made, {}, students() | {(1, variant): network(5), (2, variant): network(6)})
    assert len(found.one_threshold.differences) == 6
    head = theta_head(found)
    assert head[1:] == [f"{method} {what}" for method in METHODS for what in ("%", "MACs %")]


def test_what_is_written_is_what_was_read_before_it_was_typed() -> None:
    found = compared(plan(), {2: network(7)}).to_json()
    assert found["primary"] == found["differences"][0]
    assert list(found["primary"])[-1] == "at_budgets"
    assert "at_budgets" not in found["one_threshold"]["differences"][0]
    first, *_, last = found["students"]
    assert list(first) == [
        "seed", "method", "bundle", "full_macs", "static_macs", "least_cost", "auc", "at_budgets",
        "points", "exits", "savings", "entropy_gaps", "one_threshold",
    ]  # fmt: skip
    assert (first["savings"], first["points"][0]["thresholds"]) == (None, ["always", "always"])
    assert list(last["savings"][0])[:3] == ["points", "reached", "thresholds"]
    assert list(found["summary"][0])[:3] == ["method", "seeds", "auc"]
    assert list(found["teachers"][0])[:5] == ["seed", "bundle", "accuracy", "wrong", "full_macs"]
    json.dumps(found, allow_nan=False)


def test_only_intervals_over_seeds_are_said_to_hold_together() -> None:
    several, alone = (differences(plan(seeds=seeds), students())[1:] for seeds in ((1, 2), (1,)))
    assert _together(several)[0].startswith("These intervals hold together")
    assert _together(alone) == [statement(one) for one in alone]
