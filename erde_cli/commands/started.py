"""What `run` and `plan` start from: a recipe, or a folder of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from erde_cli.core.recipe.schema import Recipe
    from erde_cli.core.workflows.options import Options


@dataclass(frozen=True)
class Started:
    """A recipe, or a folder of images whose recipe is still to be chosen, and the run folder."""

    recipe: Recipe | None
    folder: Path | None
    run: Path
    overrides: Sequence[str]
    seed: int | None

    def load(self, options: Options, *, write: bool) -> Recipe:
        """The recipe; one that is chosen now is written into the run folder if `write` says so."""
        if self.folder is None:
            assert self.recipe is not None  # noqa: S101
            return self.recipe
        from erde_cli.core.workflows.first_recipe import recipe_of_folder

        return recipe_of_folder(
            self.folder, self.run, self.overrides, self.seed, options, write=write
        )


def started(
    source: str, out: Path | None, overrides: Sequence[str] | None, seed: int | None
) -> Started:
    """See what was named, without torch; a recipe is read, a folder is looked at later.

    Raises:
        InputError: there is no such recipe or folder.
        RecipeError: something is wrong with the recipe or the overrides.
    """
    from erde_cli.core.recipe.loading import load_recipe, parse_overrides
    from erde_cli.core.workflows.run_folders import default_run, images_folder, run_of_folder

    given = overrides or ()
    folder = images_folder(source)
    if folder is not None:
        parse_overrides(given)
        return Started(None, folder, out or run_of_folder(folder), given, seed)
    recipe = load_recipe(source, given, seed=seed)
    return Started(recipe, None, out or default_run(recipe), given, seed)
