"""Crop, mirror image and cutout, against what is cut by hand."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from erde_cli.core.arrays import ImageArray
from erde_cli.core.data.augmentation import AugmentationPlan

HEIGHT, WIDTH, COUNT = 10, 7, 400
FILL = (1, 2, 3)
NUMBERS = np.arange(1000, 1000 + COUNT, dtype=np.int64)


@pytest.fixture(scope="module")
def images() -> ImageArray:
    """Noise without the colour of the cutout, so that each slice of it is another."""
    generator = np.random.default_rng(0)
    return generator.integers(10, 256, (COUNT, HEIGHT, WIDTH, 3), dtype=np.uint8)


def augmented(
    plan: AugmentationPlan,
    images: ImageArray,
    *,
    seed: int = 0,
    epoch: int = 0,
    rows: NDArray[np.int64] | None = None,
) -> ImageArray:
    rows = np.arange(len(images)) if rows is None else rows
    taken = plan(torch.from_numpy(images), torch.from_numpy(rows), NUMBERS[rows], seed, epoch)
    assert taken.dtype == torch.uint8
    assert taken.shape == (len(rows), HEIGHT, WIDTH, 3)
    return taken.numpy()


def places_of(crop: ImageArray, image: ImageArray, margin: int) -> list[tuple[int, int]]:
    """Where in the padded image the crop is found."""
    padded = np.pad(image, ((margin, margin), (margin, margin), (0, 0)))
    sides = range(2 * margin + 1)
    return [
        (top, left)
        for top in sides
        for left in sides
        if np.array_equal(padded[top : top + HEIGHT, left : left + WIDTH], crop)
    ]


def test_without_crop_mirror_and_cutout_nothing_changes(images: ImageArray) -> None:
    plan = AugmentationPlan(crop=0, flip=False, cutout=0)
    np.testing.assert_array_equal(augmented(plan, images), images)
    rows = np.array([5, 3, 3, 0])
    np.testing.assert_array_equal(augmented(plan, images, rows=rows), images[rows])


@pytest.mark.parametrize("margin", [1, 3])
def test_a_crop_is_a_slice_of_the_padded_image_and_every_place_comes_up(
    images: ImageArray, margin: int
) -> None:
    plan = AugmentationPlan(crop=margin, flip=False, cutout=0)
    found = [
        places_of(crop, image, margin)
        for crop, image in zip(augmented(plan, images), images, strict=True)
    ]
    assert all(len(places) == 1 for places in found)
    tops, lefts = zip(*(places[0] for places in found), strict=True)
    for offsets in (tops, lefts):
        counts = np.bincount(offsets, minlength=2 * margin + 1)
        expected = COUNT / (2 * margin + 1)
        assert np.all(np.abs(counts - expected) < 0.5 * expected)
    assert abs(np.corrcoef(tops, lefts)[0, 1]) < 0.15


def test_about_half_of_the_images_are_mirrored_and_the_others_stay(images: ImageArray) -> None:
    result = augmented(AugmentationPlan(crop=0, flip=True, cutout=0), images)
    mirrored = np.array(
        [np.array_equal(a, b[:, ::-1]) for a, b in zip(result, images, strict=True)]
    )
    same = np.array([np.array_equal(a, b) for a, b in zip(result, images, strict=True)])
    np.testing.assert_array_equal(mirrored, ~same)
    assert 0.4 < mirrored.mean() < 0.6


def test_a_crop_may_be_mirrored_as_well(images: ImageArray) -> None:
    crops = augmented(AugmentationPlan(crop=2, flip=False, cutout=0), images)
    both = augmented(AugmentationPlan(crop=2, flip=True, cutout=0), images)
    mirrored = [
        bool(places_of(result[:, ::-1], image, 2))
        for result, image in zip(both, images, strict=True)
    ]
    np.testing.assert_array_equal(both[np.logical_not(mirrored)], crops[np.logical_not(mirrored)])
    np.testing.assert_array_equal(both[mirrored], crops[mirrored][:, :, ::-1])
    assert 0.4 < np.mean(mirrored) < 0.6


@pytest.mark.parametrize("side", [1, 2, 3, 4, 7])
def test_a_cutout_is_a_square_of_the_colour_cut_off_at_the_border(
    images: ImageArray, side: int
) -> None:
    result = augmented(AugmentationPlan(crop=0, flip=False, cutout=side, fill=FILL), images)
    holes = (result == FILL).all(axis=3)
    np.testing.assert_array_equal(result[~holes], images[~holes])
    whole = 0
    for hole in holes:
        lines, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
        for places, length in ((lines, HEIGHT), (columns, WIDTH)):
            assert np.array_equal(places, np.arange(places[0], places[-1] + 1))
            assert len(places) <= side
            assert len(places) == side or places[0] == 0 or places[-1] == length - 1
            assert len(places) >= side // 2
        assert hole.sum() == len(lines) * len(columns)
        whole += hole.sum() == side**2
    assert whole >= 1
    assert side > 1 or whole == COUNT


def test_a_cutout_is_centred_on_every_pixel(images: ImageArray) -> None:
    result = augmented(AugmentationPlan(crop=0, flip=False, cutout=1, fill=FILL), images)
    covered = (result == FILL).all(axis=3).sum(axis=0)
    assert covered.shape == (HEIGHT, WIDTH)
    assert covered.sum() == COUNT
    assert covered.any(axis=0).all()
    assert covered.any(axis=1).all()


PLAN = AugmentationPlan(crop=2, flip=True, cutout=3, fill=FILL)


def test_what_happens_to_an_image_does_not_depend_on_its_batch(images: ImageArray) -> None:
    everything = augmented(PLAN, images, seed=4, epoch=2)
    order = np.random.default_rng(1).permutation(COUNT)
    np.testing.assert_array_equal(
        augmented(PLAN, images, seed=4, epoch=2, rows=order), everything[order]
    )
    for rows in (order[:1], order[1:6], np.array([7, 7])):
        np.testing.assert_array_equal(
            augmented(PLAN, images, seed=4, epoch=2, rows=rows), everything[rows]
        )


def test_what_happens_to_an_image_does_not_depend_on_its_place_in_the_store(
    images: ImageArray,
) -> None:
    kept = np.array([3, 11, 200])
    alone = PLAN(torch.from_numpy(images[kept]), torch.arange(3), NUMBERS[kept], 4, 2).numpy()
    np.testing.assert_array_equal(alone, augmented(PLAN, images, seed=4, epoch=2)[kept])


@pytest.mark.parametrize(("seed", "epoch"), [(0, 1), (1, 0), (0, 1000)])
def test_other_epochs_and_seeds_give_other_views(images: ImageArray, seed: int, epoch: int) -> None:
    one, other = augmented(PLAN, images), augmented(PLAN, images, seed=seed, epoch=epoch)
    same = (one == other).all(axis=(1, 2, 3)).mean()
    assert same < 0.05
    np.testing.assert_array_equal(other, augmented(PLAN, images, seed=seed, epoch=epoch))


def test_the_store_is_not_changed(images: ImageArray) -> None:
    before = images.copy()
    augmented(PLAN, images)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("crop", [0, 2])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("cutout", [0, 3])
def test_an_accelerator_would_give_the_same_bytes(
    images: ImageArray, crop: int, flip: bool, cutout: int
) -> None:
    plan = AugmentationPlan(crop, flip, cutout, FILL)
    draws = plan._draw(NUMBERS, HEIGHT, WIDTH, 4, 2)
    by_index = plan._by_index(torch.from_numpy(images), draws).numpy()
    np.testing.assert_array_equal(by_index, augmented(plan, images, seed=4, epoch=2))
