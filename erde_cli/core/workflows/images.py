"""The images of a recipe or a bundle: opened, checked, decoded, and told of."""

from __future__ import annotations

from functools import partial

from erde_cli.core.bundle import Bundle
from erde_cli.core.data import Dataset, ImageStore, Split, open_dataset
from erde_cli.core.errors import BundleError
from erde_cli.core.workflows.options import Options

_NAMED = 10  # unreadable files named in a warning


def dataset_of(bundle: Bundle, dataset: Dataset | None = None) -> Dataset:
    """Open the images that a bundle was trained on, or check those that are open already.

    Raises:
        BundleError: they have changed since, so the splits are no longer the same.
        DataError: they are missing.
    """
    dataset = dataset or open_dataset(bundle.recipe.data)
    if dataset.fingerprint != bundle.document.split_fingerprint:
        raise BundleError(
            f"The images of {bundle.path} have changed since it was trained, so its splits are no "
            "longer the same.",
            got=f"split fingerprint {dataset.fingerprint[:12]}",
            expected=f"split fingerprint {bundle.document.split_fingerprint[:12]}",
            hint="put the images back, or train again",
        )
    return dataset


def load_split(dataset: Dataset, split: Split, options: Options) -> ImageStore:
    """Decode one split; tell how far it is, and which files had to be left out."""
    told = len(dataset.skipped)
    observer = options.observer
    store = dataset.load(split, partial(observer.progress, f"Decoding {split} images"))
    _tell_skipped(dataset, told, options)
    return store


def check_split(dataset: Dataset, split: Split, options: Options) -> None:
    """See that a split can be decoded, before hours are spent on the others."""
    told = len(dataset.skipped)
    dataset.check(split, partial(options.observer.progress, f"Checking {split} images"))
    _tell_skipped(dataset, told, options)


def _tell_skipped(dataset: Dataset, told: int, options: Options) -> None:
    new = dataset.skipped[told:]
    if new:
        names = "".join(f"\n  {path}" for path in new[:_NAMED])
        more = f"\n  ... and {len(new) - _NAMED} more" if len(new) > _NAMED else ""
        options.observer.warning(f"{len(new)} unreadable files left out:{names}{more}")
