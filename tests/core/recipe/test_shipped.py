"""The recipes that come with erde."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from erde_cli.core.errors import InputError
from erde_cli.core.recipe import load_recipe, shipped_recipe, shipped_recipes

NAMES = {"digits", "cifar10-cpu", "image-folder"}


def test_every_shipped_recipe_is_valid_short_and_says_what_it_is_for() -> None:
    seen = []
    for shipped in shipped_recipes():
        recipe = load_recipe(shipped.name)
        lines = shipped.text.splitlines()
        assert recipe.name == shipped.name
        assert recipe == load_recipe(str(shipped.path))
        assert len(lines) <= 60
        assert lines[0].startswith("# ")
        assert lines[0] == f"# {shipped.purpose}"
        assert len(shipped.purpose) > 20
        seen.append(shipped.name)
    assert len(seen) == 3
    assert set(seen) == NAMES


def test_shipped_recipes_are_listed_by_name() -> None:
    names = [shipped.name for shipped in shipped_recipes()]
    assert names == sorted(names)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_shipped_recipe_is_found_by_its_name(name: str) -> None:
    shipped = shipped_recipe(name)
    assert shipped.path.name == f"{name}.yaml"
    assert shipped.text == shipped.path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("digit", "did you mean digits?"), ("cifar10", "did you mean cifar10-cpu?"),
     ("nothing-like-it", "list them with: erde recipes")],
)  # fmt: skip
def test_an_unknown_name_is_refused_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(InputError, match=f"no recipe '{name}'") as caught:
        shipped_recipe(name)
    assert caught.value.hint == hint
    assert all(known in caught.value.expected for known in NAMES)


@pytest.fixture
def beside_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder in which a folder has the name of a shipped recipe."""
    (tmp_path / "digits").mkdir()
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("beside_folders")
def test_a_folder_is_not_taken_for_a_recipe() -> None:
    assert load_recipe("digits").name == "digits"
    with pytest.raises(InputError) as caught:
        load_recipe("mine")
    assert caught.value.got == "a folder"
