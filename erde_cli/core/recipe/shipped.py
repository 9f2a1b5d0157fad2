"""The recipes that come with erde, from a checkout as well as from an installed wheel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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
    """All shipped recipes, by name."""
    folder = next((folder for folder in _FOLDERS if folder.is_dir()), _FOLDERS[0])
    return [ShippedRecipe(path.stem, path) for path in sorted(folder.glob("*.yaml"))]


def shipped_recipe(name: str) -> ShippedRecipe | None:
    """Return the shipped recipe of that name, if there is one."""
    return next((recipe for recipe in shipped_recipes() if recipe.name == name), None)
