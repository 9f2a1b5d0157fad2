"""`compare.json` of a comparison's folder."""

from pathlib import Path
from typing import Any

import pytest

from erde_cli.core.comparison.plan import FILE, FORMAT, Plan, claim
from erde_cli.core.comparison.students import student_specs
from erde_cli.core.errors import RunError
from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.storage.json_files import read_json, write_json


@pytest.mark.parametrize(
    ("changes", "message", "got"),
    [
        ({"format": 9, "later": 1}, "cannot read the format", "format 9"),
        ({"later": 1}, "is not what erde writes", "later"),
    ],
)
def test_the_format_is_checked_before_the_keys(
    tmp_path: Path, changes: dict[str, Any], message: str, got: str
) -> None:
    recipe = load_recipe("digits")
    plan = Plan(recipe, tmp_path, (1,), student_specs(recipe, "mine.yaml"))
    claim(plan)
    document = read_json(tmp_path / FILE)
    assert document["format"] == FORMAT
    write_json(tmp_path / FILE, {**document, **changes})
    with pytest.raises(RunError, match=message) as caught:
        claim(plan)
    assert got in caught.value.got
    assert caught.value.hint.endswith("name another folder with --out")


def test_a_key_that_an_older_version_did_not_know_makes_no_other_comparison(tmp_path: Path) -> None:
    def plan(*sets: str) -> Plan:
        recipe = load_recipe("digits", sets)
        return Plan(recipe, tmp_path, (1,), student_specs(recipe, "mine.yaml"))

    claim(plan())
    (tmp_path / "seed-1").mkdir()
    document = read_json(tmp_path / FILE)
    for role in ("teacher", "student"):
        del document["recipe"]["training"][role]["sync_batch_norm"]
    write_json(tmp_path / FILE, document)
    with pytest.raises(RunError, match="was made by another comparison") as caught:
        claim(plan("training.student.sync_batch_norm=true"))
    assert "training.student.sync_batch_norm: None there, True here" in caught.value.message
    assert "teacher" not in caught.value.message
    claim(plan())
