"""A user's own folders of images, labelled or not, as one split."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from erde_cli.core.arrays import IntArray
from erde_cli.core.data.dataset import MEMORY_LIMIT, Dataset
from erde_cli.core.data.folder_layout import CALIBRATION_FOLDERS, some_names
from erde_cli.core.data.folders import FolderSource
from erde_cli.core.data.splits import SPLITS, Split
from erde_cli.core.errors import DataError
from erde_cli.core.events import Observer
from erde_cli.core.images.class_names import normal_form
from erde_cli.core.images.listing import class_names_in, list_classes, list_images
from erde_cli.core.images.passed_over import PassedOver
from erde_cli.core.images.pixels import PixelRules, pixel_warnings
from erde_cli.core.storage.json_files import digest_of


class Reading(NamedTuple):
    """How a user's files are decoded.

    image_size: side in pixels. rules: how files become pixels. skip_unreadable: leave out files
    that are not readable images. memory_limit: MB; a larger data set is not read into memory, but
    memory-mapped from the cache.
    """

    image_size: int
    rules: PixelRules
    skip_unreadable: bool = False
    memory_limit: int = MEMORY_LIMIT


def open_labelled_folder(
    root: Path,
    class_names: tuple[str, ...],
    reading: Reading,
    *,
    split: Split = "test",
    observer: Observer | None = None,
) -> Dataset:
    """Open a user's labelled images as one split: `root/<split>/<class>/*`, or `root/<class>/*`.

    Args:
        root: the user's folder.
        class_names: of the model, in the order of its labels.
        reading: how the files are decoded.
        split: the split that the images become.
        observer: receives the progress of decoding, and warnings.

    Raises:
        DataError: the folder is missing, has no images, or has classes unknown to the model.
    """
    _require_folder(root, "--data", "a folder of images, one subfolder per class")
    folder_names = CALIBRATION_FOLDERS if split == "calibration" else (split,)
    present = [name for name in folder_names if name not in class_names and (root / name).is_dir()]
    folder = root / present[0] if present else root
    folders = class_names_in(folder)
    unknown = sorted(set(folders) - {normal_form(name) for name in class_names})
    if unknown or not folders:
        raise DataError(
            f"The folders in {folder} are not the model's classes.",
            got=some_names(unknown) or "no folders",
            expected=f"one folder per class: {', '.join(class_names[:10])}",
            hint="rename the folders, or give other images with --data; to classify images without "
            "labels, type erde predict BUNDLE FOLDER",
        )
    passed = PassedOver()
    listed = list_classes(folder, class_names, passed, allow_empty=True)
    source = FolderSource(
        folder, class_names, *listed, is_test=None, skip_unreadable=reading.skip_unreadable,
        rules=reading.rules, passed_over=passed,
    )  # fmt: skip
    return _as_one_split(source, split, reading, observer)


def open_unlabelled_folder(
    root: Path, reading: Reading, *, split: Split, observer: Observer | None = None
) -> Dataset:
    """Open every image below a folder as one split. All labels are 0 and have no meaning.

    Raises:
        DataError: the folder does not exist, or contains no image.
    """
    _require_folder(root, "--images", "a folder of images")
    passed = PassedOver()
    files = list_images(root, passed)
    labels = np.zeros(len(files), dtype=np.int64)
    source = FolderSource(
        root, ("",), files, labels, is_test=None, skip_unreadable=reading.skip_unreadable,
        rules=reading.rules, passed_over=passed,
    )  # fmt: skip
    return _as_one_split(source, split, reading, observer)


def _require_folder(root: Path, option: str, expected: str) -> None:
    if not root.is_dir():
        raise DataError(
            f"There is no folder {root}.", hint=f"give an existing one with {option}",
            expected=expected,
        )  # fmt: skip


def _as_one_split(
    source: FolderSource, split: Split, reading: Reading, observer: Observer | None
) -> Dataset:
    observer = observer or Observer()
    source.passed_over.show(observer)
    source.decode(reading.image_size, observer)
    for warning in pixel_warnings(source.decoded.traits, source.rules):
        observer.warning(warning)
    numbers = np.arange(len(source.paths), dtype=np.int64)
    fingerprint = digest_of({"images": source.digest()})
    splits: dict[Split, IntArray] = dict.fromkeys(SPLITS, numbers[:0])
    splits[split] = numbers
    return Dataset(source, splits, reading.image_size, fingerprint, reading.memory_limit)
