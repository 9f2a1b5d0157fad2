"""Open the images of a recipe and divide them into splits."""

from __future__ import annotations

from pathlib import Path

from erde_cli.core.data.dataset import MEGABYTE, Dataset
from erde_cli.core.data.digits import DigitsSource
from erde_cli.core.data.download import fetch
from erde_cli.core.data.folder_layout import folder_source
from erde_cli.core.data.folders import FolderSource
from erde_cli.core.data.published import PublishedSource
from erde_cli.core.data.published_files import data_root
from erde_cli.core.data.sources import ImageSource, rules_of
from erde_cli.core.data.splits import carve
from erde_cli.core.events import Observer
from erde_cli.core.images.pixels import PixelRules
from erde_cli.core.recipe.sections.data import Data
from erde_cli.core.storage.json_files import digest_of

_CHECKED_SIZE = 8  # side in pixels at which files are decoded that are only checked


def open_dataset(
    settings: Data, observer: Observer | None = None, rules: PixelRules | None = None
) -> Dataset:
    """Open a recipe's images and divide them into splits.

    A missing published data set is downloaded if the recipe allows it. The images of an
    `imagefolder` are decoded, or taken from the cache.

    The splits depend on the images, the fractions and `split_seed`, not on the run's seed. Runs
    with different seeds have the same splits, so that they can share one teacher.

    Args:
        settings: the data section of the recipe.
        observer: receives the progress of downloads and decoding.
        rules: how files become pixels; None: as in the recipe.

    Raises:
        DataError: images are missing, or a class has too few to be split.
        DownloadError: the published data set cannot be downloaded.
    """
    rules = rules or rules_of(settings)
    source, streamed = _open_source(settings, observer or Observer(), rules)
    splits = carve(source, settings)
    lists = {name: numbers.tolist() for name, numbers in splits.items()}
    fingerprint = digest_of({"images": source.digest(), "splits": lists})
    side = settings.photo_side
    # Beside the photos, train is read at image_size only for its mean: it stays in the cache file.
    memory = settings.memory_limit if side is None else 0
    return Dataset(source, splits, settings.image_size, fingerprint, memory, side, streamed)


def _open_source(settings: Data, observer: Observer, rules: PixelRules) -> tuple[ImageSource, int]:
    """The source, and the size of its train photos in bytes if they are not kept, else 0."""
    if settings.dataset == "digits":
        return DigitsSource(), 0
    if settings.dataset == "imagefolder":
        skip = settings.unreadable == "skip"
        source = folder_source(Path(settings.root or "."), skip_unreadable=skip, rules=rules)
        streamed = _bytes_over_limit(source, settings)
        source.decode(_CHECKED_SIZE if streamed else settings.image_size, observer)
        return source, streamed
    root = data_root(settings.root)
    if settings.download:
        fetch(settings.dataset, root, observer, extra=settings.extra)
    return PublishedSource(settings.dataset, root, extra=settings.extra), 0


def _bytes_over_limit(source: FolderSource, settings: Data) -> int:
    """Size of the photos of the train folder in bytes if it exceeds the disk limit, else 0."""
    if settings.photo_side is None:
        return 0
    given = [mask for mask in (source.is_test, source.is_calibration) if mask is not None]
    count = len(source.paths) - sum(int(mask.sum()) for mask in given)
    size = count * 3 * settings.photo_side**2
    return size if size > settings.disk_limit * MEGABYTE else 0
