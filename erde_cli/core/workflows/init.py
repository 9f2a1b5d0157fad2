"""`erde init`: a recipe for a folder of images, and what it comes to on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from erde_cli.core.errors import InputError
from erde_cli.core.events import duration
from erde_cli.core.recipe.loading import name_of
from erde_cli.core.storage.files import write_text
from erde_cli.core.storage.json_files import Json
from erde_cli.core.workflows.first_recipe import first_recipe
from erde_cli.core.workflows.images import show_images
from erde_cli.core.workflows.kept import Networks
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.plan import Plan, plan_run
from erde_cli.core.workflows.run_folders import default_run

_SLOWER = 1.25  # times the minutes, from which a warning is shown


@dataclass(frozen=True)
class FirstRecipeWritten:
    """A recipe that was written, and its plan."""

    path: Path
    plan: Plan

    def to_json(self) -> Json:
        """The object that `--json` prints."""
        return {"path": str(self.path), "plan": self.plan.to_json()}


def write_first_recipe(
    folder: Path, out: Path | None, minutes: float, options: Options
) -> FirstRecipeWritten:
    """Choose a recipe for a folder of images, write it, and plan its run.

    Args:
        folder: of the images.
        out: the recipe to write; None: named after the folder, in the current one.
        minutes: that the run may take.
        options: device, threads, observer.

    Raises:
        InputError: the file exists, or cannot be written.
        DataError: the folder is none of classes.
    """
    path = out or Path(name_of(folder.resolve().name) + ".yaml")
    _refuse_existing(path, folder)
    found = first_recipe(folder, path, name_of(path.stem), minutes, options)
    show_images(found.dataset, options)
    options.observer.phase("Timing a few steps")
    networks = Networks(found.recipe, default_run(found.recipe), found.dataset)
    plan = plan_run(networks, options, force=True)
    write_text(path, found.text)
    if plan.total > _SLOWER * 60 * minutes:
        options.observer.warning(
            f"This machine is slower than the table, now or ever: about {duration(plan.total)} for "
            f"{minutes:g} minutes. Where it is busy, wait; for less, choose fewer --minutes"
        )
    return FirstRecipeWritten(path, plan)


def _refuse_existing(path: Path, folder: Path) -> None:
    if path.exists() or path.is_symlink():
        raise InputError(
            f"{path} is there already.",
            expected="a file that does not exist: nothing is overwritten",
            hint=f"name another: erde init {quote(str(folder))} --out other.yaml",
        )
