"""The recipe that a run starts from where a folder of images is named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from erde_cli.core.recipe.loading import load_recipe, name_of, recipe_from
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.storage.files import write_text
from erde_cli.core.workflows.first_recipe import first_recipe
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.run_folders import RECIPE

MINUTES = 30.0


def recipe_of_folder(
    folder: Path,
    run: Path,
    overrides: Sequence[str],
    seed: int | None,
    options: Options,
    *,
    write: bool,
) -> Recipe:
    """The recipe of a folder of images: the one in its run folder, or one that is chosen now.

    Args:
        folder: of the images.
        run: its run folder.
        overrides: `section.key=value` texts.
        seed: takes the place of the recipe's seed.
        options: device, threads, observer.
        write: whether what is chosen is written into the run folder.

    Raises:
        DataError: the folder is none of classes.
        RecipeError: what is wrong with the recipe or the overrides.
    """
    path = run / RECIPE
    if path.is_file():
        options.observer.note(f"Recipe: {path}, from before; remove it to have one chosen anew")
        return load_recipe(str(path), overrides, seed=seed)
    found = first_recipe(folder, path, name_of(run.resolve().name), MINUTES, options)
    recipe = recipe_from(found.text, path, overrides, seed=seed)
    if write:
        write_text(path, found.text)
        options.observer.note(f"Recipe: {path}, chosen for {MINUTES:g} minutes")
    return recipe
