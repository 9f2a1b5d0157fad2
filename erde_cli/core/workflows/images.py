"""The images of a recipe or a bundle: opened, checked, decoded, and reported."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.data.dataset import Dataset, open_dataset
from erde_cli.core.data.folders import UnreadableError
from erde_cli.core.data.splits import SPLITS, Split
from erde_cli.core.data.store import ImageStore
from erde_cli.core.data.summary import summarise
from erde_cli.core.errors import BundleError, DataError
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.recipe.sections.data import NAMED, Data
from erde_cli.core.storage.json_files import Json
from erde_cli.core.training.class_weights import check_class_weights
from erde_cli.core.workflows.options import Options

_NAMED = 10  # unreadable files named in a warning


def dataset_of(
    bundle: Bundle,
    options: Options,
    dataset: Dataset | None = None,
    instead: str = "evaluate others: erde evaluate {bundle} --data FOLDER",
) -> Dataset:
    """Open the images that a bundle was trained on, or check those that are open already.

    Args:
        bundle: whose images.
        options: observer.
        dataset: what is open already.
        instead: what can be done without those images, as the error says it.

    Raises:
        BundleError: they have changed since, so the splits are no longer the same.
        DataError: they are missing.
    """
    try:
        rules = bundle.document.rules
        dataset = dataset or open_dataset(_data_of(bundle), options.observer, rules)
    except DataError as error:
        published = bundle.recipe.data.dataset in NAMED
        back = error.hint if published else f"put the images of {bundle.path} back"
        raise DataError(
            error.message,
            got=error.got,
            expected=error.expected,
            hint=f"{back}, or {instead.format(bundle=bundle.path)}",
        ) from error
    if dataset.fingerprint != bundle.document.split_fingerprint:
        raise BundleError(
            f"The images of {bundle.path} have changed since it was trained, so its splits are no "
            "longer the same.",
            got=f"split fingerprint {dataset.fingerprint[:12]}",
            expected=f"split fingerprint {bundle.document.split_fingerprint[:12]}",
            hint=f"put the images back, or {instead.format(bundle=bundle.path)}",
        )
    return dataset


def _data_of(bundle: Bundle) -> Data:
    """Where the images of a bundle are looked for; a bundle never downloads.

    Published files are the same everywhere: the user's own serve a bundle that came from a machine
    where they lay elsewhere.
    """
    settings = bundle.recipe.data
    update: Json = {"download": False}
    if settings.dataset in NAMED and settings.root and not Path(settings.root).exists():
        update["root"] = None
    return settings.model_copy(update=update)


def open_for_training(recipe: Recipe, options: Options) -> Dataset:
    """Open a recipe's images, show which ones there are, and warn of what is likely to be wrong.

    Raises:
        DataError: they are missing, or a class has too few to be split.
        InputError: the recipe weighs other classes.
    """
    dataset = open_dataset(recipe.data, options.observer)
    check_class_weights(recipe, dataset.class_names)
    show_images(dataset, options)
    return dataset


def show_images(dataset: Dataset, options: Options) -> None:
    """Show which images there are, and warn of what is likely to be wrong."""
    summary = summarise(dataset)
    options.observer.table(summary.table())
    for warning in summary.warnings():
        options.observer.warning(warning)


def load_split(dataset: Dataset, split: Split, options: Options) -> ImageStore:
    """Decode one split; report progress, and which files had to be left out."""
    told = len(dataset.skipped)
    observer = options.observer
    store = dataset.load(split, partial(observer.progress, f"Decoding {split} images"))
    _tell_skipped(dataset, told, options)
    return store


def load_for_training(dataset: Dataset, options: Options) -> tuple[ImageStore, ImageStore]:
    """Decode train and calibration, and see that test can be decoded before hours are spent.

    Raises:
        UnreadableError: files of any split cannot be read; all of them are named.
    """
    told = len(dataset.skipped)
    observer = options.observer
    stores: list[ImageStore] = []
    unreadable: list[UnreadableError] = []
    for split in SPLITS:
        try:
            if split == "test":
                dataset.check(split)
            else:
                report = partial(observer.progress, f"Decoding {split} images")
                stores.append(dataset.load(split, report))
        except UnreadableError as error:
            unreadable.append(error)
    if unreadable:
        problems = [problem for error in unreadable for problem in error.problems]
        raise UnreadableError(unreadable[0].root, problems)
    _tell_skipped(dataset, told, options)
    train, calibration = stores
    return train, calibration


def _tell_skipped(dataset: Dataset, told: int, options: Options) -> None:
    new = dataset.skipped[told:]
    if new:
        names = "".join(f"\n  {path}" for path in new[:_NAMED])
        more = f"\n  ... and {len(new) - _NAMED} more" if len(new) > _NAMED else ""
        options.observer.warning(f"{len(new)} unreadable files left out:{names}{more}")
