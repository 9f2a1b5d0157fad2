"""The recipes that come with erde, in a checkout or an installed wheel."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from erde_cli.core.errors import InputError, brief

_PACKAGE = Path(__file__).parents[2]
_FOLDERS = (_PACKAGE / "recipes", _PACKAGE.parent / "recipes")  # wheel, checkout


@dataclass(frozen=True)
class ShippedRecipe:
    """A recipe that comes with erde."""

    name: str
    path: Path

    @property
    def text(self) -> str:
        """The whole file."""
        return self.path.read_text(encoding="utf-8")

    @property
    def purpose(self) -> str:
        """First comment line of the file."""
        return self.text.splitlines()[0].lstrip("# ").strip()


def shipped_recipes() -> list[ShippedRecipe]:
    """All shipped recipes, sorted by name."""
    folder = next((folder for folder in _FOLDERS if folder.is_dir()), _FOLDERS[0])
    paths = sorted(folder.glob("*.yaml"), key=lambda path: path.stem)
    return [ShippedRecipe(path.stem, path) for path in paths]


def shipped_recipe(name: str, got: str = "an unknown name") -> ShippedRecipe:
    """The shipped recipe of a name; `got` describes a wrong name in the error.

    Raises:
        InputError: no shipped recipe has this name.
    """
    recipes = {recipe.name: recipe for recipe in shipped_recipes()}
    if name in recipes:
        return recipes[name]
    near = get_close_matches(name, list(recipes), n=1)
    raise InputError(
        f"There is no recipe {brief(repr(name))}.",
        got=got,
        expected=f"a path, or one of {', '.join(recipes)}",
        hint=f"did you mean {near[0]}?" if near else "list them with: erde recipes",
    )
