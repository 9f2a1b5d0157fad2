"""Photos that are decoded in every epoch: the same images as if they were kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from erde_cli.core.arrays import ImageArray
from erde_cli.core.data import dataset as dataset_module
from erde_cli.core.data import streamed_views
from erde_cli.core.data.augmentation import AugmentationPlan
from erde_cli.core.data.batches import Batches
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.data.normalisation import Normalisation
from erde_cli.core.data.opening import open_dataset
from erde_cli.core.data.photo_views import PhotoAugmentation, PhotoViews
from erde_cli.core.data.splits import SPLITS
from erde_cli.core.data.streamed_views import StreamedViews
from erde_cli.core.data.summary import summarise
from erde_cli.core.data.views import TrainingViews
from erde_cli.core.device import Context
from erde_cli.core.errors import DataError, ErdeError
from erde_cli.core.events import Observer
from erde_cli.core.recipe.sections.data import Data

from ..conftest import MakeFolder
from ..images.test_image_cache import Listener

SIDE, KEPT = 12, 16
CROP = {"resized_crop": 0.4, "crop": 0}
AUGMENTATION = PhotoAugmentation(
    SIDE, 0.4, "bilinear", AugmentationPlan(0, True, 3, (9, 8, 7), trivial=True)
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ERDE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "images"


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decode in this process; other processes import torch for seconds."""
    monkeypatch.setattr(streamed_views, "cores", lambda: 1)


@pytest.fixture
def root(make_images: MakeFolder) -> Path:
    """Photos of 24 x 12 pixels; one of them is upright by its orientation only."""
    root = make_images({"train": {"a": 12, "b": 15}, "test": {"a": 3, "b": 4}}, size=(24, 12))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    path = root / "train/a/000.png"
    with Image.open(path) as image:
        turned = image.copy()
    turned.save(path, exif=exif)
    return root


def opened(
    root: Path, limit: int = 0, observer: Observer | None = None, **settings: Any
) -> Dataset:
    given = {"photo_size": KEPT, "augmentation": CROP, "disk_limit": limit, **settings}
    data = Data(dataset="imagefolder", root=str(root), image_size=SIDE, **given)
    return open_dataset(data, observer)


def streamed(dataset: Dataset) -> StreamedViews:
    files = dataset.photo_files()
    assert files is not None
    return StreamedViews(files, AUGMENTATION)


def kept(dataset: Dataset) -> PhotoViews:
    photos = dataset.photos()
    assert photos is not None
    return PhotoViews(photos, AUGMENTATION)


def two_epochs(views: TrainingViews, context: Context) -> tuple[list[int], ImageArray]:
    """Labels and pixels of two epochs, the second from its second batch on."""
    batches = Batches(views, Normalisation((0, 0, 0), (1, 1, 1)), 5, 3, context)
    every = [*batches.epoch(0), *batches.epoch(1, first=1)]
    labels = torch.cat([batch.labels for batch in every]).tolist()
    return labels, torch.cat([batch.images for batch in every]).numpy()


@pytest.mark.parametrize("processes", [1, 2])
def test_the_pixels_are_those_of_photos_that_are_kept(
    processes: int, root: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, wanted = two_epochs(kept(opened(root, limit=1)), context)
    monkeypatch.setattr(streamed_views, "cores", lambda: processes)
    if processes > 1:
        monkeypatch.setattr(streamed_views, "_views", lambda request: pytest.fail("decoded here"))
    starts: list[int] = []
    real = streamed_views.worker_processes
    monkeypatch.setattr(
        streamed_views, "worker_processes", lambda *given: (starts.append(1), real(*given))[1]
    )
    found_labels, found = two_epochs(streamed(opened(root)), context)
    assert found_labels == labels
    assert len(starts) == 1  # for both epochs
    np.testing.assert_array_equal(found, wanted)
    assert len(np.unique(found, axis=0)) > len(found) / 2


def test_views_that_are_decoded_are_copied_to_the_device(root: Path) -> None:
    views = streamed(opened(root))
    there = views.on(Context(torch.device("meta"), "float32", 1))
    [batch] = there.batches([np.array([1, 2])], 0, 0)
    assert batch.device.type == there.labels.device.type == "meta"
    assert batch.shape == (2, SIDE, SIDE, 3)
    assert views.labels.device.type == "cpu"


@pytest.mark.parametrize("unreadable", [False, True])
def test_nothing_else_depends_on_the_limit(root: Path, unreadable: bool) -> None:
    (root / "train/b/copy.png").write_bytes((root / "train/a/003.png").read_bytes())
    if unreadable:
        for name in ("train/a/004.png", "train/b/005.png", "test/a/001.png"):
            (root / name).write_bytes(b"no image")
    many, none = opened(root, limit=1, unreadable="skip"), opened(root, unreadable="skip")
    assert (many.streamed_bytes, none.streamed_bytes) == (0, 28 * KEPT**2 * 3)
    assert none.fingerprint == many.fingerprint
    assert none.normalisation == many.normalisation
    assert summarise(none).table() == summarise(many).table()
    np.testing.assert_array_equal(streamed(none).numbers, kept(many).numbers)
    for split in SPLITS:
        own, other = none.load(split), many.load(split)
        np.testing.assert_array_equal(own.numbers, other.numbers)
        np.testing.assert_array_equal(none.readable(split), other.numbers)
        np.testing.assert_array_equal(own.labels, other.labels)
        np.testing.assert_array_equal(own.part(0, 99), other.part(0, 99))
    assert none.skipped == many.skipped
    assert len(none.skipped) == 3 * unreadable


def test_unreadable_files_are_refused_before_the_training(root: Path) -> None:
    for path in root.glob("train/a/00*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match="cannot be read as images"):
        opened(root).photo_files()


def test_the_normalisation_is_that_of_a_sample_on_both_sides_of_the_limit(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = opened(root, limit=1)
    whole = Normalisation.of(every.load("train"))
    assert every.normalisation == whole
    monkeypatch.setattr(dataset_module, "_SAMPLE", 10)
    train = every.load("train")
    step = 3  # of 24 or 25 images
    wanted = Normalisation.of(train.only(np.arange(0, len(train), step)))
    assert 20 < len(train) <= 30
    assert wanted != whole
    assert opened(root, limit=1).normalisation == opened(root).normalisation == wanted
    plain = opened(root, photo_size=None, augmentation={"crop": 0})
    assert plain.normalisation == whole


def test_no_train_photo_is_kept(root: Path, cache: Path) -> None:
    dataset = opened(root)
    list(streamed(dataset).batches([np.arange(9)], 0, 0))
    for split in SPLITS[1:]:
        dataset.load(split)
    shapes = sorted(np.load(folder / "images.npy").shape[:2] for folder in cache.iterdir())
    assert shapes == [(len(dataset.splits["calibration"]), SIDE), (7, SIDE), (34, 8)]
    listener = Listener()
    again = opened(root, observer=listener)
    again.load("calibration")
    assert listener.decoded == []


def test_a_note_says_why_and_how_to_change_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = Listener()
    assert opened(root, limit=1).photo_files(listener) is None
    assert opened(root, photo_size=None, augmentation={"crop": 0}).photo_files(listener) is None
    assert listener.notes == []
    dataset = opened(root)
    for count, where in ((1, "in this process"), (3, "by 3 processes")):
        monkeypatch.setattr(streamed_views, "cores", lambda count=count: count)
        dataset.photo_files(listener)
        assert listener.notes.pop() == (
            "Train photos for random crops, at 16 x 16 pixels, would take 21 kB of disk, more than "
            f"data.disk_limit. Their files are decoded in every epoch, {where}. To keep the photos "
            "instead, type --set data.disk_limit=1"
        )
    assert dataset.photos(listener) is None


def replace(path: Path) -> None:
    Image.new("RGB", (5, 5)).save(path)


@pytest.mark.parametrize(
    ("meanwhile", "message"),
    [(replace, "changed during the training"), (Path.unlink, "Cannot open")],
)
def test_a_file_that_changes_in_between_is_named(
    root: Path, meanwhile: Callable[[Path], object], message: str
) -> None:
    views = streamed(opened(root))
    path = Path(views._files.paths[7])
    meanwhile(path)
    batches = views.batches([np.arange(5), np.arange(5, 10)], 0, 0)
    next(batches)
    with pytest.raises(DataError, match=message) as caught:
        next(batches)
    assert str(path) in str(caught.value)


def test_a_process_that_dies_is_an_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    views = streamed(opened(root))
    monkeypatch.setattr(streamed_views, "cores", lambda: 2)
    monkeypatch.setattr(streamed_views, "_SERVE", "import os; os._exit(3)")
    with pytest.raises(ErdeError, match="decodes images died"):
        next(views.batches([np.arange(5)], 0, 0))


@pytest.mark.parametrize(("here", "expected"), [("1", 8), ("2", 4), ("3", 2), ("16", 1)])
def test_processes_of_one_host_share_its_cores(
    here: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamed_views, "cores", lambda: 8)
    assert streamed_views.decoding_processes() == 8
    place = {"RANK": "0", "WORLD_SIZE": "16", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": here,
             "MASTER_ADDR": "there", "MASTER_PORT": "1234"}  # fmt: skip
    for name, text in place.items():
        monkeypatch.setenv(name, text)
    assert streamed_views.decoding_processes() == expected
