"""Whether images can carry a promise: the network was not trained on them, and none is a copy."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.bundle.trained_on import trained_on_again
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.data.folders import FolderSource
from erde_cli.core.errors import BundleError
from erde_cli.core.workflows.options import Options

_NAMED = 3  # files in a message


def check_not_trained_on(
    bundle: Bundle, dataset: Dataset, options: Options, *, promise: bool
) -> None:
    """Warn where the network was trained on images of a folder, whatever their names are now.

    Args:
        bundle: of the network.
        dataset: the folder, opened.
        options: observer.
        promise: whether a promise is to rest on these images.

    Raises:
        BundleError: it was, or nobody knows, and a promise is asked for.
    """
    source = dataset.source
    assert isinstance(source, FolderSource)  # noqa: S101
    try:
        again = trained_on_again(bundle.path, bundle.document.trained_on, source.short_digests)
    except BundleError as error:
        if promise:
            raise
        options.observer.warning(f"{error.message} {source.root} may hold some of it.")
        return
    if again is None:
        again = np.full(len(source.paths), _lies_in_train(source.root, bundle.recipe.data.root))
    count = int(again.sum())
    if not count:
        return
    text = (
        f"The network was trained on images of {source.root}: {count:,} of {len(again):,}. It is "
        "surer of them than of others."
    )
    if promise:
        named = [source.paths[number] for number in np.flatnonzero(again)[:_NAMED]]
        raise BundleError(
            text,
            got=", ".join(named) + ", ..." * (count > _NAMED),
            expected="images that it was not trained on",
            hint="leave --data and --images out, or give another folder",
        )
    options.observer.warning(text)


def warn_of_copies(dataset: Dataset, options: Options) -> None:
    """Warn where images of the calibration split are copies of others: a promise counts each."""
    numbers, first = dataset.splits["calibration"], dataset.source.first_same
    copies = 0 if first is None else len(numbers) - len(np.unique(first[numbers]))
    if copies:
        options.observer.warning(
            f"{copies:,} of the {len(numbers):,} images are copies of others, and a promise counts "
            "each as an image of its own: it holds for images drawn one by one. Remove the copies"
        )


def _lies_in_train(folder: Path, root: str | None) -> bool:
    """The same by the path alone, for bundles that do not say what they were trained on."""
    if root is None:
        return False
    trained = Path(root).resolve()
    if (trained / "train").is_dir():
        trained /= "train"
    return folder.resolve().is_relative_to(trained)
