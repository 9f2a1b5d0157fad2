"""A short, seeded round of every fuzzer; long ones: `python -m tests.fuzz recipe --minutes 10`."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from erde_cli.core.errors import InputError
from tests.fuzz.cases import FindingError, execute, fuzz, mutated, mutated_json
from tests.fuzz.readers import bundles, images, recipes, remove_chain


@pytest.mark.parametrize(("reader", "cases"), [("recipe", 500), ("bundle", 24), ("images", 24)])
@pytest.mark.filterwarnings("ignore")
def test_a_short_round_finds_nothing(
    reader: str, cases: int, tmp_path: Path, finished_run: Path
) -> None:
    made = {
        "recipe": lambda: recipes(tmp_path),
        "bundle": lambda: bundles(tmp_path, finished_run / "student"),
        "images": lambda: images(tmp_path),
    }
    tally = fuzz(made[reader](), seed=7, executions=cases)
    remove_chain(tmp_path / "images" / "train" / "dark" / "d")
    assert tally.findings == {}
    assert tally.executions == cases
    assert tally.refused > 0


def refused() -> None:
    raise InputError("no")


def crashes() -> None:
    raise KeyError("x")


@pytest.mark.parametrize("case", [refused, crashes])
def test_the_oracle_knows_a_finding(case: Callable[[], None]) -> None:
    with pytest.raises(FindingError):
        execute(case)
    assert fuzz(lambda draw: case, seed=1, executions=1).findings
    assert fuzz(lambda draw: case, seed=1, seconds=0.01).findings


def test_the_oracle_knows_a_result_and_a_refusal_with_help() -> None:
    def helped() -> None:
        raise InputError("no", hint="do that")

    assert execute(lambda: 1)
    assert not execute(helped)


def test_a_seed_gives_the_same_case_again() -> None:
    for seed in range(20):
        first, second = random.Random(seed), random.Random(seed)
        assert mutated(b"abcdef" * 9, first) == mutated(b"abcdef" * 9, second)
        assert mutated_json({"a": [1, 2]}, first) == mutated_json({"a": [1, 2]}, second)
