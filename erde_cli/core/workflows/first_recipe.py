"""A first recipe for a folder of images: what they are, and what the fixed table makes of it."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch

from erde_cli.core.data.dataset import Dataset, open_dataset
from erde_cli.core.data.folder_layout import folder_source
from erde_cli.core.data.folders import FolderSource
from erde_cli.core.device import Context, has_bfloat16
from erde_cli.core.errors import DataError, InputError, brief
from erde_cli.core.images.decoding import header_of
from erde_cli.core.images.pixels import used_bits
from erde_cli.core.recipe.loading import recipe_from
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.recipe.starting_point import Machine, choose
from erde_cli.core.workflows.first_recipe_text import Looks, recipe_text
from erde_cli.core.workflows.options import Options

_LOOKED_AT = 400  # files whose header is read
_FEW = 2_000  # images from which a tenth of them is enough for calibration
_MORE, _TENTH = 0.2, 0.1
_TEST = 0.2  # of the images, where there is no test folder


@dataclass(frozen=True)
class FirstRecipe:
    """A recipe, as text and as read, and its images, open."""

    text: str
    recipe: Recipe
    dataset: Dataset


def first_recipe(
    folder: Path, path: Path, name: str, minutes: float, options: Options
) -> FirstRecipe:
    """Look at a folder's images, and choose a recipe for them; writes nothing.

    Args:
        folder: of the images.
        path: where the recipe will stand.
        name: of the run.
        minutes: that the run may take.
        options: device, threads, observer.

    Raises:
        DataError: the folder is none of classes, a class is empty, or nothing can be read.
    """
    machine = machine_of(options.context("float32"))
    looks = _looks(folder_source(folder))
    choice = choose(looks.train, looks.side, machine, minutes)
    root = _root(folder, path)
    before = recipe_text(root, name, looks, choice, machine, minutes, {"unreadable": "skip"})
    dataset = open_dataset(recipe_from(before, path).data, options.observer)
    pixels = _pixels(dataset)
    text = recipe_text(root, name, looks, choice, machine, minutes, pixels)
    recipe = recipe_from(text, path)
    if "bit_depth" in pixels:  # other pixels
        dataset = open_dataset(recipe.data, options.observer)
    return FirstRecipe(text, recipe, dataset)


def machine_of(context: Context) -> Machine:
    """What the table knows of this machine: what its processor is, never how fast it is now."""
    if context.device.type != "cpu":
        return Machine(context.device.type, context.threads)
    used = torch.backends.cpu.get_cpu_capability().lower()
    kind = "avx512" if used.startswith("avx512") else used if used == "avx2" else "other"
    return Machine("avx512-bf16" if has_bfloat16(context.device) else kind, context.threads)


def _looks(source: FolderSource) -> Looks:
    count = len(source.paths)
    places = np.linspace(0, count - 1, min(count, _LOOKED_AT)).astype(int)
    headers = [header for place in places if (header := header_of(source.paths[place]))]
    if not headers:
        raise DataError(
            f"None of the images in {source.root} can be read.",
            got=f"{count:,} files, such as {source.paths[0]}",
            expected="image files of a format that Pillow reads",
            hint="look at one of them, or name another folder",
        )
    given = np.zeros(count, dtype=bool) if source.is_calibration is None else source.is_calibration
    test = np.zeros(count, dtype=bool) if source.is_test is None else source.is_test
    own = int((~given & ~test).sum())
    test_fraction = _TEST if source.is_test is None else None
    rest = own - round(own * (test_fraction or 0))
    fraction = None if source.is_calibration is not None else _MORE if rest < _FEW else _TENTH
    counts = np.bincount(source.labels[~test], minlength=len(source.class_names))
    shapes = Counter((width, height) for width, height, _ in headers)
    grey = sum(mode[0] in "1LI" for _, _, mode in headers)
    return Looks(
        images=count,
        classes=len(source.class_names),
        train=rest - round(rest * (fraction or 0)),
        side=median(min(width, height) for width, height, _ in headers),
        shapes=shapes.most_common(),
        grey=grey / len(headers),
        smallest=(int(counts.min()), source.class_names[int(counts.argmin())]),
        largest=(int(counts.max()), source.class_names[int(counts.argmax())]),
        calibration_fraction=fraction,
        test_fraction=test_fraction,
    )


def _pixels(dataset: Dataset) -> dict[str, str | int]:
    """What the recipe has to say of the files: keys of its data section."""
    assert isinstance(dataset.source, FolderSource)  # noqa: S101
    decoded = dataset.source.decoded
    traits = decoded.traits
    found: dict[str, str | int] = {}
    if decoded.unreadable:
        found["unreadable"] = "skip"
    if traits.deep and used_bits(traits) < 16:
        found["bit_depth"] = max(8, used_bits(traits))
    if traits.frames:
        found["frames"] = "first"
    if traits.transparent:
        found["transparent"] = "white"
    return found


def _root(folder: Path, path: Path) -> str:
    """The folder as the recipe names it: from where that stands, where both are below one place.

    Raises:
        InputError: its path is not in UTF-8.
    """
    here, images, recipe = Path.cwd().resolve(), folder.resolve(), path.parent.resolve()
    if any(0xD800 <= ord(character) <= 0xDFFF for character in str(images)):
        raise InputError(
            "The path of the images cannot be written into a recipe.",
            got=brief(repr(str(images))),
            expected="a path in UTF-8",
            hint="rename the folder, or the one above it that is not",
        )
    if images.is_relative_to(here) and recipe.is_relative_to(here):
        return Path(os.path.relpath(images, recipe)).as_posix()
    return str(images)
