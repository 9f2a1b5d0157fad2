"""The run folder of a recipe, or of a folder of images."""

from __future__ import annotations

from pathlib import Path

from erde_cli.core.recipe.loading import load_recipe, name_of
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.recipe.shipped import shipped_recipes
from erde_cli.core.storage.run_lock import LOCK

RECIPE = "recipe.yaml"  # in the run folder of a folder of images
_RUNS = Path("runs")


def default_run(recipe: Recipe) -> Path:
    """Default run folder of a recipe."""
    return _RUNS / recipe.name


def images_folder(reference: str) -> Path | None:
    """The folder of images that a command line names; None if it names a recipe or nothing.

    The name of a shipped recipe means that recipe; ./digits means a folder of that name.
    """
    if not reference.strip() or reference in {recipe.name for recipe in shipped_recipes()}:
        return None
    try:
        folder = Path(reference).expanduser()
        return folder if folder.is_dir() else None
    except (OSError, RuntimeError, ValueError):  # too long, no such user, a null character
        return None


def run_of_folder(folder: Path) -> Path:
    """Run folder of a folder of images: runs/<name>, or with a number if that is taken.

    It can be taken by another folder of the same name, or by a shipped recipe of that name.

    Raises:
        RecipeError: the recipe in a run folder is wrong.
    """
    name = name_of(folder.resolve().name)
    shipped = {recipe.name for recipe in shipped_recipes()}
    number = 1
    while True:
        run = name if number == 1 else f"{name}-{number}"
        if run not in shipped and _is_for(_RUNS / run, folder):
            return _RUNS / run
        number += 1


def _is_for(run: Path, folder: Path) -> bool:
    """Whether a run folder is unused, or belongs to this folder of images."""
    recipe = run / RECIPE
    if not recipe.is_file():
        return not run.exists() or (
            run.is_dir() and {path.name for path in run.iterdir()} <= {LOCK}
        )
    root = load_recipe(str(recipe)).data.root
    return root is not None and Path(root).resolve() == folder.resolve()
