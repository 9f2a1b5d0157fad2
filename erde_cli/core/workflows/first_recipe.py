"""A first recipe for a folder of images, chosen from a fixed table."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch

from erde_cli.core.data.dataset import Dataset
from erde_cli.core.data.folder_layout import folder_source
from erde_cli.core.data.folders import FolderSource
from erde_cli.core.data.opening import open_dataset
from erde_cli.core.device import Context, has_bfloat16
from erde_cli.core.errors import DataError, DownloadError, InputError, brief
from erde_cli.core.images.decoding import header_of
from erde_cli.core.images.pixels import used_bits
from erde_cli.core.models.library.weights_source import published_weights
from erde_cli.core.recipe.loading import load_recipe, name_of, recipe_from
from erde_cli.core.recipe.photo_starting_point import choose_for_photos, suits_photos
from erde_cli.core.recipe.schema import ROLES, Recipe
from erde_cli.core.recipe.starting_point import Machine, choose
from erde_cli.core.storage.files import write_text
from erde_cli.core.workflows.first_recipe_text import FolderSummary, recipe_text
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.run_folders import RECIPE

_HEADERS = 400  # files whose header is read, at most
_FEW = 2_000  # train images; with fewer, calibration gets the larger fraction
_LARGER, _SMALLER = 0.2, 0.1  # fractions of train for calibration
_TEST = 0.2  # fraction of the images, if there is no test folder
_MINUTES = 30.0  # of a run whose recipe is chosen without `erde init`


@dataclass(frozen=True)
class FirstRecipe:
    """A recipe as text and parsed, and its opened images."""

    text: str
    recipe: Recipe
    dataset: Dataset


def first_recipe(
    folder: Path,
    path: Path,
    name: str,
    minutes: float,
    options: Options,
    *,
    pretrained: bool | None = None,
) -> FirstRecipe:
    """Inspect a folder's images, and choose a recipe for them; write nothing.

    Args:
        folder: of the images.
        path: future path of the recipe.
        name: of the run.
        minutes: limit for the run.
        options: device, threads, observer.
        pretrained: whether the networks start from pretrained weights; None: where the images are
            few and large.

    Raises:
        DataError: the folder has no class folders, a class is empty, or no image can be read.
    """
    machine = machine_of(options.context("float32"))
    summary = _summary(folder_source(folder))
    if pretrained is None:
        pretrained = suits_photos(summary.train, summary.side)
    chosen_by = choose_for_photos if pretrained else choose
    choice = chosen_by(summary.train, summary.side, machine, minutes)
    root = _root(folder, path)
    first = recipe_text(root, name, summary, choice, machine, minutes, {"unreadable": "skip"})
    dataset = open_dataset(recipe_from(first, path).data, options.observer)
    pixels = _pixels(dataset)
    text = recipe_text(root, name, summary, choice, machine, minutes, pixels)
    recipe = recipe_from(text, path)
    if "bit_depth" in pixels:  # changes the pixels
        dataset = open_dataset(recipe.data, options.observer)
    return FirstRecipe(text, recipe, dataset)


def recipe_of_folder(
    folder: Path,
    run: Path,
    overrides: Sequence[str],
    seed: int | None,
    options: Options,
    *,
    write: bool,
) -> Recipe:
    """The recipe for a folder of images: the one in its run folder, or a new one.

    Args:
        folder: of the images.
        run: its run folder.
        overrides: `section.key=value` texts.
        seed: replaces the recipe's seed.
        options: device, threads, observer.
        write: write a new recipe into the run folder.

    Raises:
        DataError: the folder has no class folders.
        RecipeError: the recipe or the overrides are wrong.
    """
    path = run / RECIPE
    if path.is_file():
        options.observer.note(f"Recipe: {path}, from an earlier run; to replace it, remove it")
        return load_recipe(str(path), overrides, seed=seed)
    name = name_of(run.resolve().name)
    first = first_recipe(folder, path, name, _MINUTES, options)
    if write and not _has_weights(first.recipe, options):
        first = first_recipe(folder, path, name, _MINUTES, options, pretrained=False)
    recipe = recipe_from(first.text, path, overrides, seed=seed)
    if write:
        write_text(path, first.text)
        options.observer.note(f"Recipe: {path}, chosen for {_MINUTES:g} minutes")
    return recipe


def _has_weights(recipe: Recipe, options: Options) -> bool:
    """Whether the weights of the recipe's networks are there; downloads them where it can."""
    for role in ROLES:
        network = recipe.network_of(role)
        try:
            if network.pretrained:
                published_weights(network.backbone)
        except DownloadError as error:
            options.observer.warning(
                f"{error.message} So the networks are trained from scratch, which is less accurate "
                f"with few photos. For pretrained ones, {(error.hint or '').partition(';')[0]}, "
                f"remove {RECIPE} of the run, and type the same command again."
            )
            return False
    return True


def machine_of(context: Context) -> Machine:
    """Key of this machine in the table: its processor, not its current speed."""
    if context.device.type != "cpu":
        return Machine(context.device.type, context.threads)
    capability = torch.backends.cpu.get_cpu_capability().lower()
    known = [kind for kind in ("avx512", "avx2") if capability.startswith(kind)]
    kind = known[0] if known else "other"
    return Machine("avx512-bf16" if has_bfloat16(context.device) else kind, context.threads)


def _summary(source: FolderSource) -> FolderSummary:
    count = len(source.paths)
    places = np.linspace(0, count - 1, min(count, _HEADERS)).astype(int)
    headers = [header for place in places if (header := header_of(source.paths[place]))]
    if not headers:
        raise DataError(
            f"No image in {source.root} can be read.",
            got=f"{count:,} files, such as {source.paths[0]}",
            expected="image files of a format that Pillow reads",
            hint="open one of them, or give another folder",
        )
    none = np.zeros(count, dtype=bool)
    calibration = none if source.is_calibration is None else source.is_calibration
    test = none if source.is_test is None else source.is_test
    others = int((~calibration & ~test).sum())
    test_fraction = _TEST if source.is_test is None else None
    train = others - round(others * (test_fraction or 0))
    calibration_fraction = None
    if source.is_calibration is None:
        calibration_fraction = _LARGER if train < _FEW else _SMALLER
    counts = np.bincount(source.labels[~test], minlength=len(source.class_names))
    shapes = Counter((width, height) for width, height, _ in headers)
    grey = sum(mode[0] in "1LI" for _, _, mode in headers)
    return FolderSummary(
        images=count,
        classes=len(source.class_names),
        train=train - round(train * (calibration_fraction or 0)),
        side=median(min(width, height) for width, height, _ in headers),
        shapes=shapes.most_common(),
        grey=grey / len(headers),
        smallest=(int(counts.min()), source.class_names[int(counts.argmin())]),
        largest=(int(counts.max()), source.class_names[int(counts.argmax())]),
        calibration_fraction=calibration_fraction,
        test_fraction=test_fraction,
    )


def _pixels(dataset: Dataset) -> dict[str, str | int]:
    """Keys of the data section that the files require."""
    assert isinstance(dataset.source, FolderSource)  # noqa: S101
    decoded = dataset.source.decoded
    traits = decoded.traits
    keys: dict[str, str | int] = {}
    if decoded.unreadable:
        keys["unreadable"] = "skip"
    if traits.deep and used_bits(traits) < 16:
        keys["bit_depth"] = max(8, used_bits(traits))
    if traits.frames:
        keys["frames"] = "first"
    if traits.transparent:
        keys["transparent"] = "white"
    return keys


def _root(folder: Path, path: Path) -> str:
    """Path of the folder in the recipe: relative if both are below the current folder.

    Raises:
        InputError: the path is not UTF-8.
    """
    here, images, recipe = Path.cwd().resolve(), folder.resolve(), path.parent.resolve()
    if any(0xD800 <= ord(character) <= 0xDFFF for character in str(images)):
        raise InputError(
            "The path of the images cannot be written into a recipe.",
            got=brief(repr(str(images))),
            expected="a path in UTF-8",
            hint="rename the folder, or the parent folder that is not in UTF-8",
        )
    if images.is_relative_to(here) and recipe.is_relative_to(here):
        return Path(os.path.relpath(images, recipe)).as_posix()
    return str(images)
