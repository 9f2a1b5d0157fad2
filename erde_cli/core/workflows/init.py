"""`erde init`: write a recipe for a folder of images, and plan its run on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from erde_cli.core.errors import InputError
from erde_cli.core.figures import duration
from erde_cli.core.recipe.loading import name_of
from erde_cli.core.storage.files import write_text
from erde_cli.core.storage.json_files import Json
from erde_cli.core.workflows.first_recipe import first_recipe
from erde_cli.core.workflows.images import show_images
from erde_cli.core.workflows.kept import Networks
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.plan import Plan, plan_run
from erde_cli.core.workflows.run_folders import default_run

_SLOWER = 1.25  # planned time over the limit above which a warning is shown


@dataclass(frozen=True)
class FirstRecipeWritten:
    """A written recipe, and the plan of its run."""

    path: Path
    plan: Plan

    def to_json(self) -> Json:
        """The object that `--json` prints."""
        return {"path": str(self.path), "plan": self.plan.to_json()}


def write_first_recipe(
    folder: Path,
    out: Path | None,
    minutes: float,
    options: Options,
    *,
    pretrained: bool | None = None,
) -> FirstRecipeWritten:
    """Choose a recipe for a folder of images, write it, and plan its run.

    Args:
        folder: of the images.
        out: path of the recipe; None: named after the folder, in the current folder.
        minutes: limit for the run.
        options: device, threads, observer.
        pretrained: whether the networks start from pretrained weights; None: where the images are
            few and large.

    Raises:
        InputError: the file exists, or cannot be written.
        DataError: the folder has no class folders.
    """
    path = out or Path(name_of(folder.resolve().name) + ".yaml")
    _refuse_existing(path, folder)
    name = name_of(path.stem)
    first = first_recipe(folder, path, name, minutes, options, pretrained=pretrained)
    show_images(first.dataset, options)
    options.observer.phase("Timing a few steps")
    networks = Networks(first.recipe, default_run(first.recipe), first.dataset)
    plan = plan_run(networks, options, force=True)
    write_text(path, first.text)
    if plan.total > _SLOWER * 60 * minutes:
        options.observer.warning(
            f"This machine is slower than the table assumes: the run will take about "
            f"{duration(plan.total)}, not {minutes:g} minutes. If it is busy, wait until it is "
            "idle. For a shorter run, choose fewer --minutes."
        )
    return FirstRecipeWritten(path, plan)


def _refuse_existing(path: Path, folder: Path) -> None:
    if path.exists() or path.is_symlink():
        raise InputError(
            f"{path} already exists.",
            expected="a path that does not exist; nothing is overwritten",
            hint=f"name another: erde init {quote(str(folder))} --out other.yaml",
        )
