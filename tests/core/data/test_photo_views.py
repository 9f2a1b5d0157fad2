"""Views of photos: those of torchvision's transforms, and a pure function of seed, image, view."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from erde_cli.core.arrays import ImageArray
from erde_cli.core.data.augmentation import AugmentationPlan
from erde_cli.core.data.photo_views import PhotoAugmentation, Photos, PhotoViews, _square_crop
from erde_cli.core.data.seeded_transforms import trivially_augmented
from erde_cli.core.data.store import ImageStore
from erde_cli.core.data.views import StoreViews
from erde_cli.core.device import Context
from erde_cli.core.platform.torchvision_import import torchvision_transforms
from erde_cli.core.randomness import derive_seed

KEPT, SIDE, COUNT, SMALLEST = 40, 24, 12, 0.3
FILL = (9, 120, 200)
NUMBERS = np.arange(COUNT, dtype=np.int64) * 7 + 3
NOTHING = AugmentationPlan(0, False, 0)
EVERYTHING = AugmentationPlan(0, True, 5, FILL, trivial=True)


def smooth(width: int, height: int, seed: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def photos() -> Photos:
    images = np.stack([np.asarray(smooth(KEPT, KEPT, seed)) for seed in range(COUNT)])
    ratios = np.linspace(0.5, 2, COUNT).astype(np.float32)
    labels = torch.arange(COUNT) % 3
    return Photos(ImageStore(torch.from_numpy(images), labels, NUMBERS), ratios)


def augmentation(after: AugmentationPlan, interpolation: str = "bilinear") -> PhotoAugmentation:
    return PhotoAugmentation(SIDE, SMALLEST, interpolation, after)


def views_of(views: PhotoViews | StoreViews, *parts: list[int], view: int = 2) -> ImageArray:
    batches = views.batches([np.array(part) for part in parts], seed=4, view=view)
    return np.concatenate([batch.numpy() for batch in batches])


def by_torchvision(transform: object, image: ImageArray, seed: int) -> ImageArray:
    """What a transform of torchvision makes of an image, seeded in the usual way."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return np.asarray(transform(Image.fromarray(image)))  # type: ignore[operator]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_square_photo_is_cropped_as_by_torchvision(photos: Photos, interpolation: str) -> None:
    v2 = torchvision_transforms()
    mode = v2.InterpolationMode(interpolation)
    transform = v2.RandomResizedCrop(SIDE, scale=(SMALLEST, 1.0), interpolation=mode)
    made = set()
    for view in range(5):
        photo = photos.store.images[view].numpy()
        found = augmentation(NOTHING, interpolation).view_of(photo, 1.0, 17, 3, view)
        seed = derive_seed(3, "augmentation/resized_crop", view, 17)
        np.testing.assert_array_equal(found, by_torchvision(transform, photo, seed))
        made.add(found.tobytes())
    assert len(made) == 5


@pytest.mark.parametrize(("width", "height"), [(320, 160), (160, 280)])
def test_a_squashed_photo_is_cropped_as_if_it_had_its_own_shape(width: int, height: int) -> None:
    """The short side is the kept one, so that torchvision draws the same rectangles."""
    transform = torchvision_transforms().RandomResizedCrop(SIDE, scale=(SMALLEST, 1.0))
    whole = smooth(width, height, 1)
    squashed = np.array(whole.resize((160, 160), Image.Resampling.BILINEAR))
    as_whole, as_square = [], []
    for view in range(20):
        seed = derive_seed(3, "augmentation/resized_crop", view, 17)
        wanted = by_torchvision(transform, np.array(whole), seed).astype(float)
        for ratio, errors in ((width / height, as_whole), (1.0, as_square)):
            found = augmentation(NOTHING).view_of(squashed, ratio, 17, 3, view)
            errors.append(np.abs(found - wanted).mean())
    assert max(as_whole) < 2  # of 255 levels
    assert np.median(as_square) > 10


@pytest.mark.parametrize("ratio", [1e-6, 0.02, 0.5, 1.0, 16 / 9, 40.0, 1e6])
def test_crops_lie_in_the_photo_and_have_the_shapes_of_torchvision(ratio: float) -> None:
    side = 200
    crops = [_square_crop(side, ratio, SMALLEST, seed) for seed in range(150)]
    for top, left, height, width in crops:
        assert 0 <= top < top + height <= side
        assert 0 <= left < left + width <= side
    if 0.5 <= ratio <= 2:  # elsewhere a crop in the middle is the only one, or nearly
        shapes = np.array([crop.width * ratio / crop.height for crop in crops])
        shares = np.array([crop.width * crop.height / side**2 for crop in crops])
        assert 0.73 < shapes.min() < 0.85 < 1.2 < shapes.max() < 1.36
        assert SMALLEST - 0.01 < shares.min() < 0.4
        assert shares.max() > 0.6


def test_trivial_augment_is_that_of_torchvision(photos: Photos) -> None:
    transform = torchvision_transforms().TrivialAugmentWide(fill=list(FILL))
    made = set()
    for seed in range(60):
        image = photos.store.images[seed % COUNT].numpy()
        wanted = by_torchvision(transform, image, seed)
        found = trivially_augmented(image, FILL, seed)
        np.testing.assert_array_equal(found, wanted)
        made.add((found.astype(int) - image).tobytes())
    assert len(made) > 30


def test_the_fill_is_seen_where_nothing_was(photos: Photos) -> None:
    image = np.zeros((KEPT, KEPT, 3), np.uint8)
    filled = [(trivially_augmented(image, FILL, seed) == FILL).all(2).any() for seed in range(60)]
    assert 5 < sum(filled) < 40


def test_a_view_depends_on_nothing_but_seed_image_and_view(photos: Photos) -> None:
    views = PhotoViews(photos, augmentation(EVERYTHING))
    everything = views_of(views, list(range(COUNT)))
    order = [5, 0, 11, 3, 3]
    torch.manual_seed(1)
    np.testing.assert_array_equal(views_of(views, order[:1], order[1:]), everything[order])
    torch.manual_seed(2)
    np.testing.assert_array_equal(views_of(views, order), everything[order])
    alone = augmentation(EVERYTHING).view_of(
        photos.store.images[5].numpy(), float(photos.ratios[5]), int(NUMBERS[5]), 4, 2
    )
    np.testing.assert_array_equal(alone, everything[5])
    other_view = views_of(views, list(range(COUNT)), view=3)
    [other_seed] = views.batches([np.arange(COUNT)], 5, 2)
    for other in (other_view, other_seed.numpy()):
        assert (other == everything).all(axis=(1, 2, 3)).sum() <= 1


@pytest.mark.parametrize("threads", [2, 5])
def test_several_threads_make_the_same_views(photos: Photos, threads: int) -> None:
    views = PhotoViews(photos, augmentation(EVERYTHING))
    several = views.on(Context(torch.device("cpu"), "float32", threads))
    rows = [[3, 1, 2], list(range(COUNT))]
    np.testing.assert_array_equal(views_of(several, *rows), views_of(views, *rows))


def test_images_of_one_content_have_views_of_their_own(photos: Photos) -> None:
    photo = photos.store.images[0].numpy()
    made = {
        augmentation(NOTHING).view_of(photo, 1.5, number, 0, 0).tobytes() for number in range(9)
    }
    assert len(made) == 9


def test_the_process_draws_as_if_no_view_had_been_made(photos: Photos) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    views_of(PhotoViews(photos, augmentation(EVERYTHING)), list(range(COUNT)))
    assert torch.equal(torch.get_rng_state(), before)


def test_another_thread_that_seeds_torch_changes_no_view(photos: Photos) -> None:
    """As a training on an accelerator does, while the next batch is made."""
    views = PhotoViews(photos, augmentation(EVERYTHING))
    everything = list(range(COUNT)) * 4
    wanted = views_of(views, everything)
    done = threading.Event()

    def seed_all_the_time() -> None:
        while not done.is_set():
            torch.default_generator.manual_seed(7)

    thread = threading.Thread(target=seed_all_the_time)
    thread.start()
    try:
        found = views_of(views, everything)
    finally:
        done.set()
        thread.join()
    np.testing.assert_array_equal(found, wanted)


def test_another_process_makes_the_same_views(photos: Photos) -> None:
    code = (
        "import sys, numpy as np\n"
        "from erde_cli.core.data.augmentation import AugmentationPlan\n"
        "from erde_cli.core.data.photo_views import PhotoAugmentation\n"
        f"after = AugmentationPlan(0, True, 5, {FILL}, trivial=True)\n"
        "photo = np.frombuffer(bytearray(sys.stdin.buffer.read()), np.uint8)\n"
        f"photo = photo.reshape({KEPT}, {KEPT}, 3)\n"
        f"made = PhotoAugmentation({SIDE}, {SMALLEST}, 'bilinear', after)\n"
        "sys.stdout.buffer.write(made.view_of(photo, 1.5, 3, 0, 1).tobytes())\n"
    )
    photo = photos.store.images[0].numpy()
    found = subprocess.run(
        [sys.executable, "-c", code], input=photo.tobytes(), capture_output=True, check=True
    ).stdout
    assert found == augmentation(EVERYTHING).view_of(photo, 1.5, 3, 0, 1).tobytes()


def test_what_follows_the_crop_follows_it(photos: Photos) -> None:
    """Mirror image, TrivialAugment and cutout, in this order."""
    photo = photos.store.images[0].numpy()
    changed = 0
    for number in range(12):
        crop = augmentation(NOTHING).view_of(photo, 1.5, number, 0, 0)
        images, rows = torch.from_numpy(crop)[None], torch.zeros(1, dtype=torch.int64)
        wanted = EVERYTHING(images, rows, np.array([number]), 0, 0)[0].numpy()
        found = augmentation(EVERYTHING).view_of(photo, 1.5, number, 0, 0)
        np.testing.assert_array_equal(found, wanted)
        changed += not np.array_equal(found, crop)
    assert changed > 6


def test_trivial_augment_comes_after_the_crop_and_before_the_cutout(photos: Photos) -> None:
    """In a store whose images have the side of the views, such as CIFAR-10."""
    plan = AugmentationPlan(3, True, 0, FILL)
    rows = list(range(COUNT))
    plain = views_of(StoreViews(photos.store, plan), rows)
    trivial = views_of(StoreViews(photos.store, replace(plan, trivial=True)), rows)
    for image, found, number in zip(plain, trivial, NUMBERS.tolist(), strict=True):
        seed = derive_seed(4, "augmentation/trivial", 2, number)
        np.testing.assert_array_equal(found, trivially_augmented(image, FILL, seed))
    assert (trivial != plain).any(axis=(1, 2, 3)).sum() > COUNT / 2
    covered = views_of(StoreViews(photos.store, replace(plan, trivial=True, cutout=6)), rows)
    holes = (covered == FILL).all(axis=3)
    assert (holes.sum(axis=(1, 2)) >= 9).all()  # not changed by TrivialAugment
    np.testing.assert_array_equal(covered[~holes], trivial[~holes])
    alone = views_of(StoreViews(photos.store, replace(plan, trivial=True)), [7], [2])
    np.testing.assert_array_equal(alone, trivial[[7, 2]])


@pytest.mark.parametrize("make", [
    lambda photos: PhotoViews(photos, augmentation(EVERYTHING)),
    lambda photos: StoreViews(photos.store, AugmentationPlan(2, True, 0, trivial=True)),
], ids=["photos", "store"])  # fmt: skip
def test_views_made_on_the_cpu_are_copied_to_the_device(photos: Photos, make: object) -> None:
    views = make(photos)  # type: ignore[operator]
    there = views.on(Context(torch.device("meta"), "float32", 1))
    [batch] = there.batches([np.array([1, 2])], 0, 0)
    assert batch.device.type == there.labels.device.type == "meta"
    assert batch.shape == (2, there.side, there.side, 3)
    assert views.labels.device.type == "cpu"
