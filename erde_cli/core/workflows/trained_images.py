"""Check that a guarantee can rest on images: none was trained on, and none is a copy."""

from __future__ import annotations

import numpy as np

from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.bundle.trained_on import was_trained_on
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.data.folders import FolderSource
from erde_cli.core.errors import BundleError
from erde_cli.core.workflows.options import Options

_LISTED = 3  # files in a message


def check_not_trained_on(
    bundle: Bundle, dataset: Dataset, options: Options, *, guarantee: bool
) -> None:
    """Warn if the network was trained on images of a folder; files are compared by content.

    Args:
        bundle: the network's bundle.
        dataset: the folder, opened.
        options: observer.
        guarantee: whether a guarantee will rest on these images.

    Raises:
        BundleError: with `guarantee`, the network was trained on some, or this is unknown.
    """
    source = dataset.source
    assert isinstance(source, FolderSource)  # noqa: S101
    try:
        trained_on = was_trained_on(bundle.path, bundle.document.trained_on, source.short_digests)
    except BundleError as error:
        if guarantee:
            raise
        options.observer.warning(
            f"{error.message} {source.root} may contain images it was trained on."
        )
        return
    if trained_on is None or not trained_on.any():
        return
    count = int(trained_on.sum())
    text = (
        f"The network was trained on {count:,} of the {len(trained_on):,} images in {source.root}. "
        "It is more certain of them than of new images."
    )
    if guarantee:
        listed = [source.paths[number] for number in np.flatnonzero(trained_on)[:_LISTED]]
        raise BundleError(
            text,
            got=", ".join(listed) + ", ..." * (count > _LISTED),
            expected="images that it was not trained on",
            hint="leave --data and --images out, or give another folder",
        )
    options.observer.warning(text)


def warn_of_copies(dataset: Dataset, options: Options) -> None:
    """Warn if calibration images are copies of others, since a guarantee counts each of them."""
    numbers, first = dataset.splits["calibration"], dataset.source.first_same
    copies = 0 if first is None else len(numbers) - len(np.unique(first[numbers]))
    if copies:
        options.observer.warning(
            f"{copies:,} of the {len(numbers):,} images are copies of others. A guarantee counts "
            "every copy as a separate image, but holds only for independent images. Remove the "
            "copies."
        )
