"""The input of `run` and `plan`: a recipe, or a folder of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from erde_cli.core.recipe.schema import Recipe
    from erde_cli.core.workflows.options import Options


@dataclass(frozen=True)
class RunInput:
    """A recipe, or a folder of images whose recipe is not chosen yet, and the run folder."""

    recipe: Recipe | None
    folder: Path | None
    run: Path
    overrides: Sequence[str]
    seed: int | None

    def load(self, options: Options, *, write: bool) -> Recipe:
        """The recipe; one for a folder is chosen now, and stored in the run folder if `write`."""
        if self.folder is None:
            assert self.recipe is not None  # noqa: S101
            recipe = self.recipe
        else:
            from erde_cli.core.workflows.first_recipe import recipe_of_folder

            recipe = recipe_of_folder(
                self.folder, self.run, self.overrides, self.seed, options, write=write
            )
        from erde_cli.core.workflows.sized_student import with_sized_student

        return with_sized_student(recipe, options, self.run, write=write)


def read_input(
    source: str, out: Path | None, overrides: Sequence[str] | None, seed: int | None
) -> RunInput:
    """Read a recipe, or check that a folder exists; imports no torch.

    Raises:
        InputError: there is no such recipe or folder.
        RecipeError: the recipe or an override is invalid.
    """
    from erde_cli.core.recipe.loading import load_recipe, parse_overrides
    from erde_cli.core.workflows.run_folders import default_run, images_folder, run_of_folder

    given = overrides or ()
    folder = images_folder(source)
    if folder is not None:
        parse_overrides(given)
        return RunInput(None, folder, out or run_of_folder(folder), given, seed)
    recipe = load_recipe(source, given, seed=seed)
    return RunInput(recipe, None, out or default_run(recipe), given, seed)
