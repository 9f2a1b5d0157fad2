"""What a first recipe is chosen by: a fixed table, and nothing that is measured."""

from itertools import product

import pytest

from erde_cli.core.recipe import starting_point
from erde_cli.core.recipe.starting_point import MOST_EPOCHS, PAIRS, SPEEDS, Machine, choose

SIDES = (8, 16, 28, 32, 40, 64, 100, 227, 4000)
IMAGES = (6, 50, 400, 1500, 20_000, 200_000)
MINUTES = (1, 5, 30, 240)


@pytest.mark.parametrize("kind", SPEEDS)
@pytest.mark.parametrize("images", IMAGES)
def test_what_is_chosen_fits_into_the_minutes_where_anything_does(kind: str, images: int) -> None:
    for side, minutes, threads in product(SIDES, MINUTES, (1, 2, 3, 64)):
        found = choose(images, side, Machine(kind, threads), minutes)
        machine = Machine(kind, threads)
        epoch = images * sum(machine.seconds_per_image(found.pair, found.image_size))
        assert found.seconds == pytest.approx(starting_point._STARTING + found.epochs * epoch)
        assert 2 <= found.epochs <= MOST_EPOCHS
        if found.epochs > 2:
            assert found.seconds <= max(60 * minutes, starting_point._STARTING + 1)


def test_more_minutes_never_give_dearer_networks_less_training() -> None:
    """A longer time is a rung that costs more, or more epochs on the same one."""
    for kind, images, side in product(SPEEDS, IMAGES, SIDES):
        costs = []
        for minutes in range(1, 300, 7):
            found = choose(images, side, Machine(kind, 2), minutes)
            size = found.image_size
            cost = found.pair.cost * size**2
            costs.append((found.epochs >= found.wanted, cost, size, found.epochs))
        assert costs == sorted(costs)


def test_more_threads_and_better_processors_are_faster_in_the_table() -> None:
    order = ("other", "avx2", "avx512", "avx512-bf16", "mps", "cuda")
    assert set(order) == set(SPEEDS)
    for pair in PAIRS:
        speeds = [Machine(kind, 2).seconds_per_image(pair, 32) for kind in order]
        assert speeds == sorted(speeds, reverse=True)
        speeds = [Machine("avx2", count).seconds_per_image(pair, 32) for count in (1, 2, 4, 8, 16)]
        assert speeds == sorted(speeds, reverse=True)
    assert Machine("cuda", 1).seconds_per_image(PAIRS[0], 32) == Machine(
        "cuda", 16
    ).seconds_per_image(PAIRS[0], 32)


@pytest.mark.parametrize(
    ("side", "sizes"),
    [
        (8, [16]), (16, [16]), (20, [24]), (28, [32]), (32, [32]), (40, [32, 48]),
        (64, [32, 48, 64]), (227, [32, 48, 64, 96, 128]),
    ],
)  # fmt: skip
def test_images_are_hardly_enlarged_and_not_shrunk_below_32(side: int, sizes: list[int]) -> None:
    assert starting_point._sizes(side) == sizes


def test_few_images_have_small_batches_and_no_wide_network() -> None:
    machine = Machine("cuda", 2)
    pairs = [choose(images, 32, machine, 30).pair.name for images in (4_999, 5_000)]
    assert pairs == ["middle", "wide"]
    sizes = [choose(images, 32, machine, 30).batch_size for images in (500, 1000, 9999, 10_000)]
    assert sizes == [32, 64, 64, 128]
