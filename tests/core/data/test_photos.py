"""Train photos for random crops: decoded once, with their shapes, and verified."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from erde_cli.core.data.dataset import Dataset
from erde_cli.core.data.opening import open_dataset
from erde_cli.core.data.photo_views import Photos
from erde_cli.core.errors import DataError
from erde_cli.core.images import image_cache
from erde_cli.core.recipe.sections.data import Data

from ..conftest import MakeFolder
from ..images.test_image_cache import Listener

SIDE, KEPT = 8, 16
CROP = {"resized_crop": 0.4, "crop": 0}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ERDE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "images"


@pytest.fixture
def root(make_images: MakeFolder) -> Path:
    """Photos of 24 x 12 pixels; one of them is upright by its orientation only, one is square."""
    root = make_images({"train": {"a": 8, "b": 9}, "test": {"a": 3, "b": 4}}, size=(24, 12))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    for number, options in ((0, {"exif": exif}), (1, {})):
        path = root / f"train/a/00{number}.png"
        with Image.open(path) as image:
            turned = image.copy() if options else image.resize((12, 12))
        turned.save(path, **options)  # type: ignore[arg-type]
    return root


def opened(root: Path, **settings: Any) -> tuple[Dataset, Listener]:
    listener = Listener()
    given = {"photo_size": KEPT, "augmentation": CROP, **settings}
    data = Data(dataset="imagefolder", root=str(root), image_size=SIDE, **given)
    return open_dataset(data, listener), listener


def photos_of(dataset: Dataset, listener: Listener | None = None) -> Photos:
    photos = dataset.photos(listener)
    assert photos is not None
    return photos


@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_the_train_files_are_kept_squashed_with_their_shapes(root: Path, resize: str) -> None:
    dataset, _ = opened(root, resize=resize)
    photos = photos_of(dataset)
    train = dataset.load("train")
    np.testing.assert_array_equal(photos.store.numbers, train.numbers)
    np.testing.assert_array_equal(photos.store.labels, train.labels)
    assert photos.ratios.dtype == np.float32
    shapes = set()
    for pixels, ratio, number in zip(
        photos.store.images.numpy(), photos.ratios, train.numbers, strict=True
    ):
        path = dataset.source.files[number]  # type: ignore[attr-defined]
        with Image.open(path) as image:
            upright = image.transpose(Image.Transpose.ROTATE_270) if image.getexif() else image
            wanted = upright.resize((KEPT, KEPT), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(pixels, np.asarray(wanted))
        assert ratio == upright.width / upright.height
        shapes.add(float(ratio))
    assert shapes >= {2.0}


def test_every_shape_is_noticed(root: Path) -> None:
    dataset, _ = opened(root)
    ratios = dataset.source.decoded.ratios  # type: ignore[attr-defined]
    assert ratios[:3].tolist() == [0.5, 1.0, 2.0]


def test_photos_are_decoded_once_and_their_size_is_shown(root: Path, cache: Path) -> None:
    dataset, listener = opened(root)
    first = photos_of(dataset, listener)
    count = len(first.store)
    assert photos_of(dataset) is first
    assert listener.decoded[-1] == (count, count)
    size = f"{count * KEPT**2 * 3 / 1000:.0f} kB"
    assert f"Train photos for random crops, at 16 x 16 pixels: {size}" in listener.notes
    assert len(list(cache.iterdir())) == 2
    again, listener = opened(root)
    second = photos_of(again, listener)
    assert listener.decoded == []
    np.testing.assert_array_equal(second.store.images, first.store.images)
    np.testing.assert_array_equal(second.ratios, first.ratios)
    assert second.store.mapping is not None


def test_without_random_crops_there_are_no_photos(root: Path) -> None:
    dataset, listener = opened(root, photo_size=None, augmentation={"crop": 0})
    assert dataset.photos(listener) is None


def test_the_usual_size_is_eight_sevenths_of_that_of_the_images(root: Path) -> None:
    assert opened(root)[0].photo_side == KEPT
    given = {"dataset": "imagefolder", "root": ".", "image_size": 224, "augmentation": CROP}
    assert Data.model_validate(given).photo_side == 256


def test_images_beside_the_photos_are_not_copied_to_memory(root: Path) -> None:
    assert opened(root)[0].load("train").mapping is not None
    plain, _ = opened(root, photo_size=None, augmentation={"crop": 0})
    assert plain.load("train").mapping is None


def test_unreadable_photos_are_left_out(root: Path) -> None:
    (root / "train/a/003.png").write_bytes(b"no image")
    dataset, _ = opened(root, unreadable="skip")
    photos = photos_of(dataset)
    np.testing.assert_array_equal(photos.store.numbers, dataset.load("train").numbers)
    assert 3 not in photos.store.numbers
    with pytest.raises(DataError, match="cannot be read as an image"):
        opened(root)[0].photos()


def change(root: Path) -> None:
    for path in root.glob("train/*/*.png"):
        with Image.open(path) as image:
            mirrored = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        mirrored.save(path)


def remove(root: Path) -> None:
    for path in root.glob("train/*/*.png"):
        path.unlink()


@pytest.mark.parametrize(
    ("meanwhile", "message"), [(change, "changed while"), (remove, "Cannot open")]
)
def test_files_that_change_after_the_start_are_refused(
    root: Path, meanwhile: Callable[[Path], None], message: str
) -> None:
    dataset, _ = opened(root)
    meanwhile(root)
    with pytest.raises(DataError, match=message):
        dataset.photos()


def test_a_flipped_bit_is_noticed_before_training(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_cache, "_sample", lambda handle: 0)
    first, _ = opened(root)
    others = set(cache.iterdir())
    wanted = photos_of(first).store.images.clone()
    [folder] = set(cache.iterdir()) - others
    path = folder / "images.npy"
    content = bytearray(path.read_bytes())
    content[-100] ^= 4
    path.write_bytes(content)
    with pytest.raises(DataError, match="is damaged"):
        opened(root)[0].photos()
    again = photos_of(opened(root)[0])
    assert again.store.mapping is not None
    np.testing.assert_array_equal(again.store.images, wanted)


@pytest.mark.parametrize("damage", [
    lambda content: content[:-4] + np.float32(3).tobytes(),
    lambda content: content[:-4],
], ids=["other", "fewer"])  # fmt: skip
def test_damaged_shapes_are_noticed(
    root: Path, cache: Path, damage: Callable[[bytes], bytes]
) -> None:
    photos_of(opened(root)[0])
    for folder in cache.iterdir():
        path = folder / "ratios"
        path.write_bytes(damage(path.read_bytes()))
    dataset, listener = opened(root)
    ratios = photos_of(dataset, listener).ratios
    assert len(listener.warnings) == 2
    assert all("is damaged. Its images are decoded again" in text for text in listener.warnings)
    assert set(ratios.tolist()) <= {0.5, 1.0, 2.0}


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_shapes_are_refused(root: Path, cache: Path, value: float) -> None:
    """With a checksum that fits: a cache can be written by others."""
    photos_of(opened(root)[0])
    for folder in cache.iterdir():
        path = folder / "ratios"
        content = path.read_bytes()[:-4] + np.float32(value).tobytes()
        path.write_bytes(content)
        index = json.loads((folder / "index.json").read_text())
        index["ratios"] = zlib.crc32(content)
        (folder / "index.json").write_text(json.dumps(index))
    dataset, listener = opened(root)
    assert set(photos_of(dataset, listener).ratios.tolist()) <= {0.5, 1.0, 2.0}
    assert len(listener.warnings) == 2


def test_a_cache_that_cannot_be_written_is_done_without(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = photos_of(opened(root)[0])
    (tmp_path / "in the way").write_text("a file")
    monkeypatch.setenv("ERDE_CACHE", os.fspath(tmp_path / "in the way"))
    photos = photos_of(opened(root)[0])
    np.testing.assert_array_equal(photos.store.images, wanted.store.images)
    np.testing.assert_array_equal(photos.ratios, wanted.ratios)
    assert photos.store.mapping is None
