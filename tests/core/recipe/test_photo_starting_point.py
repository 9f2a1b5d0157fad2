"""When a first recipe starts from pretrained networks, and what the time decides then."""

from itertools import product

import pytest

from erde_cli.core.models.library.weights_source import preprocessing_of
from erde_cli.core.recipe.photo_starting_point import (
    INTERPOLATION,
    PHOTO_SPEEDS,
    STUDENT_SIZES,
    TEACHER,
    choose_for_photos,
    suits_photos,
)
from erde_cli.core.recipe.sections.data import Data
from erde_cli.core.recipe.starting_point import SPEEDS, Machine, seconds_for_training

MACHINE = Machine("avx2", 2)


@pytest.mark.parametrize(
    ("images", "side", "suited"),
    [
        (20_000, 128, True), (20_001, 128, False), (20_000, 127.5, False), (1, 4000, True),
        (1500, 227, True), (1500, 32, False), (1_000_000, 500, False),
    ],
)  # fmt: skip
def test_few_and_large_images_start_from_pretrained_networks(
    images: int, side: float, suited: bool
) -> None:
    assert suits_photos(images, side) == suited


@pytest.mark.parametrize(
    ("side", "size"),
    [(32, 128), (127, 128), (128, 160), (153, 160), (154, 192), (179, 192), (180, 224), (900, 224)],
)
def test_photos_are_enlarged_by_a_quarter_at_most(side: float, size: int) -> None:
    found = choose_for_photos(1000, side, MACHINE, 1000)
    assert (found.image_size, found.student_size) == (size, STUDENT_SIZES[size])
    assert found.student_size < size


def test_with_less_time_there_are_fewer_epochs_then_heads_alone_then_smaller_images() -> None:
    found = [choose_for_photos(5000, 300, MACHINE, minutes) for minutes in range(1, 120)]
    trained = [one for one in found if not one.heads_only]
    epochs = [one.epochs for one in trained]
    assert epochs == sorted(epochs)
    assert (epochs[0], epochs[-1]) == (5, 20)
    assert {one.image_size for one in trained} == {224}
    assert {one.wanted for one in trained} == {20}
    heads = found[: -len(trained)]
    assert all(one.heads_only for one in heads)
    sizes = [one.image_size for one in heads]
    assert sizes == sorted(sizes)
    assert {128, 224} <= set(sizes)


def test_few_images_have_more_epochs_because_each_has_few_steps() -> None:
    found = [choose_for_photos(images, 300, MACHINE, 10_000) for images in (20, 500, 2000, 20_000)]
    assert [one.epochs for one in found] == [100, 60, 20, 20]
    assert [one.heads_epochs for one in found] == [300, 110, 30, 30]


@pytest.mark.parametrize("kind", PHOTO_SPEEDS)
def test_what_is_chosen_fits_into_the_minutes_where_anything_does(kind: str) -> None:
    for images, minutes, threads in product((20, 1500, 20_000), (1, 5, 30, 240), (1, 2, 16)):
        found = choose_for_photos(images, 300, Machine(kind, threads), minutes)
        if found.image_size > min(STUDENT_SIZES):
            assert found.seconds <= seconds_for_training(minutes)


def test_every_machine_has_speeds_and_more_threads_are_faster() -> None:
    assert set(PHOTO_SPEEDS) == set(SPEEDS)
    epochs = [choose_for_photos(9000, 300, Machine("avx2", n), 30).epochs for n in (2, 4, 8)]
    assert epochs == sorted(epochs)
    assert epochs[0] < epochs[-1]


def test_the_pixels_are_those_that_the_teachers_weights_expect() -> None:
    data = Data(dataset="imagefolder", root="photos", resize="crop", interpolation=INTERPOLATION)
    pixels = preprocessing_of(TEACHER)
    assert pixels.differences(data) is None
    assert pixels.image_size == max(STUDENT_SIZES)
