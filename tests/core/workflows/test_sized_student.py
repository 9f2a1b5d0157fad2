"""A student is the largest member of its family within the budget."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from erde_cli.core.errors import InputError, RunError
from erde_cli.core.events import Observer, Table
from erde_cli.core.models.architecture import build_model, resolve_architecture
from erde_cli.core.models.profile import Profile, profile_model
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.recipe.sections.network import Network
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.sized_student import STUDENT, _last_within, with_sized_student


class Listener(Observer):
    def __init__(self) -> None:
        self.tables: list[Table] = []
        self.warnings: list[str] = []

    def table(self, table: Table) -> None:
        self.tables.append(table)

    def warning(self, message: str, *, again: bool = False) -> None:
        self.warnings.append(message)


def recipe(**student: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "a",
            "data": {"dataset": "digits", "image_size": 16},
            "teacher": {"depth": 14, "width": 8, "exits": 2},
            "student": {"family": "resnet", "exits": 2, **student},
            "distillation": {"pairing": [0, 1, 1] if student.get("exits") == 3 else None},
            "training": {"teacher": {"epochs": 1}, "student": {"epochs": 1}},
        }
    )


def profile(network: Network, side: int = 16) -> Profile:
    return profile_model(build_model(resolve_architecture(network, 10, side)), side)


@pytest.mark.parametrize("kind", ["macs", "parameters"])
def test_the_largest_member_within_the_budget_is_chosen(kind: str) -> None:
    listener = Listener()
    given = recipe(depth=8, budget=0.2 if kind == "macs" else {"parameters": 0.2})
    sized = with_sized_student(given, Options(observer=listener))
    chosen = sized.student
    wider = chosen.model_copy(update={"width": (chosen.width or 0) + 2})
    teacher, one, next_ = (profile(network) for network in (given.teacher, chosen, wider))
    name = "full_macs" if kind == "macs" else "parameters"
    assert getattr(one, name) <= 0.2 * getattr(teacher, name) < getattr(next_, name)
    (table,) = listener.tables
    assert [("chosen" in row[0]) for row in table.rows] == [False, True, False, False]
    assert sized.model_copy(update={"student": given.student}) == given


def test_a_smaller_image_size_can_be_chosen() -> None:
    sized = with_sized_student(recipe(depth=8, width=8, budget=0.3), Options())
    assert sized.student.image_size == 12
    assert profile(sized.student, 12).full_macs <= 0.3 * profile(sized.teacher).full_macs


def test_nothing_is_chosen_without_a_family() -> None:
    plain = recipe(family=None, depth=8)
    assert with_sized_student(plain, Options()) is plain


def test_a_choice_by_timing_is_kept_in_the_run(tmp_path: Path) -> None:
    listener = Listener()
    given = recipe(depth=8, width=8, budget={"latency_ms": 10_000})
    options = Options(observer=listener)
    first = with_sized_student(given, options, tmp_path, write=False)
    assert not (tmp_path / STUDENT).exists()
    assert first.student.image_size == 16  # the largest: the budget allows everything
    assert "timing" in listener.warnings[0]
    with_sized_student(given, options, tmp_path)
    text = (tmp_path / STUDENT).read_text()
    (tmp_path / STUDENT).write_text(text.replace('"image_size": 16', '"image_size": 12'))
    assert with_sized_student(given, options, tmp_path).student.image_size == 12  # not timed again
    (tmp_path / STUDENT).write_text("[]")
    with pytest.raises(RunError, match="student"):
        with_sized_student(given, options, tmp_path)
    (tmp_path / STUDENT).write_text(text)
    other = recipe(depth=8, width=8, budget={"latency_ms": 9_000})
    assert with_sized_student(other, options, tmp_path).student.image_size == 16


def test_a_budget_below_all_members_names_the_smallest() -> None:
    with pytest.raises(InputError) as caught:
        with_sized_student(recipe(budget=0.01), Options())
    assert "resnet 8, width 16, 16 px" in (caught.value.got or "")
    assert "student.depth" in (caught.value.hint or "")


def test_a_member_whose_images_are_too_small_is_never_chosen() -> None:
    """Below 16 pixels its head cannot pool, so such a member has no cost."""
    vgg = recipe(family="vgg", depth=8, width=4, budget=0.9, exits=3).model_dump()
    sized = with_sized_student(Recipe.model_validate(vgg), Options())
    assert sized.student.image_size == 16
    vgg["student"]["budget"] = 0.01
    with pytest.raises(InputError) as caught:
        with_sized_student(Recipe.model_validate(vgg), Options())
    assert "vgg 8, width 4, 16 px" in (caught.value.got or "")


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 9])
@pytest.mark.parametrize("within", range(10))
def test_the_search_finds_the_last_place_within(count: int, within: int) -> None:
    seen: list[int] = []

    def cost(place: int) -> float:
        seen.append(place)
        return place

    expected = min(count, within) - 1
    assert _last_within(cost, count, within - 0.5) == expected
    assert max(seen, default=0) <= 2 * max(within, 1)  # no giant is built


@pytest.mark.parametrize(
    "student",
    [
        {"budget": None},
        {"family": None, "budget": 0.1},
        {"budget": 0.1, "backbone": "wrn"},
        {"budget": 0.1, "exits": [1]},
        {"budget": 0.1, "exit_weights": [1]},
        {"budget": {"macs": 0.1, "parameters": 0.1}},
        {"budget": {}},
        {"budget": 1.5},
        {"budget": 0.1, "family": "resnext"},
    ],
)
def test_keys_that_contradict_each_other_are_refused(student: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        recipe(**student)


def test_a_teacher_has_no_family() -> None:
    document = recipe(budget=0.1).model_dump()
    document["teacher"] |= {"family": "resnet", "budget": 0.5, "depth": None, "width": None}
    with pytest.raises(ValidationError, match="only to the student"):
        Recipe.model_validate(document)
