"""Open, check and decode the images of a recipe or a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.data.folders import UnreadableError
from erde_cli.core.data.opening import open_dataset
from erde_cli.core.data.splits import SPLITS, Split
from erde_cli.core.data.store import ImageStore
from erde_cli.core.data.summary import summarise
from erde_cli.core.errors import BundleError, DataError
from erde_cli.core.recipe.schema import ROLES, Recipe
from erde_cli.core.recipe.sections.data import NAMED, Data
from erde_cli.core.storage.json_files import Json
from erde_cli.core.training.class_weights import check_class_weights
from erde_cli.core.workflows.options import Options

_LISTED = 10  # unreadable files listed in a warning


def dataset_of(
    bundle: Bundle,
    options: Options,
    dataset: Dataset | None = None,
    instead: str = "evaluate others: erde evaluate {bundle} --data FOLDER",
) -> Dataset:
    """Open the images that a bundle was trained on, at its size; if they are open, check them.

    The files are opened at the size of the recipe, as in training, where all are decoded. Of those
    at a smaller size of the bundle, a split is decoded when it is loaded.

    Args:
        bundle: the bundle.
        options: observer.
        dataset: the bundle's data set, if it is already open, at any size.
        instead: alternative without these images, for the hint of an error.

    Raises:
        BundleError: the images have changed, so the splits differ.
        DataError: images are missing.
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
            f"The images of {bundle.path} have changed since it was trained, so its splits would "
            "differ.",
            got=f"split fingerprint {dataset.fingerprint[:12]}",
            expected=f"split fingerprint {bundle.document.split_fingerprint[:12]}",
            hint=f"put the images back, or {instead.format(bundle=bundle.path)}",
        )
    return dataset.at(bundle.image_size)


def _data_of(bundle: Bundle) -> Data:
    """Data section of a bundle's recipe, without downloads.

    Published files are the same on every machine. If the recorded folder does not exist here, the
    default folder is used.
    """
    settings = bundle.recipe.data
    update: Json = {"download": False}
    if settings.dataset in NAMED and settings.root and not Path(settings.root).exists():
        update["root"] = None
    return settings.model_copy(update=update)


def open_for_training(recipe: Recipe, options: Options) -> Dataset:
    """Open a recipe's images, show a summary, and warn about likely mistakes.

    Raises:
        DataError: images are missing, or a class has too few to split.
        InputError: the recipe weights classes that do not exist, or another process has other
            images.
    """
    with options.engine.first():  # it downloads, and fills the cache
        dataset = open_dataset(recipe.data, options.observer)
    images = {"images": f"fingerprint {dataset.fingerprint[:12]}"}
    options.engine.require_agreement(images, hint="let every rank read the same images")
    check_class_weights(recipe, dataset.class_names)
    show_images(dataset, options)
    return dataset


def show_images(dataset: Dataset, options: Options) -> None:
    """Show a summary of the images, and warn about likely mistakes."""
    summary = summarise(dataset)
    options.observer.table(summary.table())
    for warning in summary.warnings():
        options.observer.warning(warning)


def load_split(dataset: Dataset, split: Split, options: Options) -> ImageStore:
    """Decode one split; report progress, and warn of skipped files."""
    skipped_before, observer = len(dataset.skipped), options.observer
    store = dataset.load(split, partial(observer.progress, f"Decoding {split} images"))
    _warn_of_skipped(dataset.skipped[skipped_before:], options)
    return store


def load_for_training(
    dataset: Dataset, recipe: Recipe, options: Options
) -> tuple[ImageStore | None, ImageStore]:
    """Decode train and calibration; check that test can be decoded before hours of training.

    Train photos for random crops are decoded as well, if the recipe has such crops and a network
    that sees them. If these are decoded in every epoch, there is no store of train images.

    Raises:
        UnreadableError: files cannot be read; the message lists those of every split.
    """
    skipped_before, observer = len(dataset.skipped), options.observer
    stores: dict[Split, ImageStore] = {}
    unreadable: list[UnreadableError] = []
    for split in SPLITS:
        try:
            if split == "test" or (split == "train" and dataset.streamed_bytes):
                dataset.check(split)
            else:
                report = partial(observer.progress, f"Decoding {split} images")
                stores[split] = dataset.load(split, report)
        except UnreadableError as error:
            unreadable.append(error)
    if unreadable:
        problems = [problem for error in unreadable for problem in error.problems]
        raise UnreadableError(unreadable[0].root, problems)
    _warn_of_skipped(dataset.skipped[skipped_before:], options)
    crops = not all(recipe.plain_view(role) for role in ROLES)
    if crops and dataset.photo_files(observer) is None:
        dataset.photos(observer)
    return stores.get("train"), stores["calibration"]


def _warn_of_skipped(skipped: Sequence[Path], options: Options) -> None:
    if skipped:
        names = "".join(f"\n  {path}" for path in skipped[:_LISTED])
        more = f"\n  ... and {len(skipped) - _LISTED} more" if len(skipped) > _LISTED else ""
        files = f"{len(skipped)} unreadable file{'' if len(skipped) == 1 else 's'}"
        options.observer.warning(f"{files} skipped:{names}{more}")
