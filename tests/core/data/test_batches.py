"""Batches: which images, in which order, with which labels."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from erde_cli.core.data.augmentation import AugmentationPlan
from erde_cli.core.data.batches import Batch, Batches, evaluation_batches
from erde_cli.core.data.normalisation import Normalisation
from erde_cli.core.data.shrinking import shrunk
from erde_cli.core.data.store import ImageStore
from erde_cli.core.data.views import StoreViews
from erde_cli.core.device import Context, make_context

COUNT = 23
PLAIN = AugmentationPlan(crop=0, flip=False, cutout=0)
PIXELS = Normalisation((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))  # leaves 0 to 255 as they are


@pytest.fixture
def store() -> ImageStore:
    """Images whose every pixel is their place in the store; label 100 + place."""
    places = torch.arange(COUNT)
    images = places.to(torch.uint8)[:, None, None, None].expand(COUNT, 4, 5, 3).contiguous()
    return ImageStore(images, 100 + places, np.arange(1000, 1000 + COUNT))


def places_of(batch: Batch) -> list[int]:
    """Places in the store of a batch's images, read from their pixels."""
    pixels = batch.images.float().round()
    assert torch.equal(pixels, pixels[:, :1, :1, :1].expand(pixels.shape))
    return [int(value) for value in pixels[:, 0, 0, 0]]


def batches_of(
    store: ImageStore, context: Context, size: int = 5, seed: int = 0, **plan: int
) -> Batches:
    augmentation = AugmentationPlan(**{"crop": 0, "flip": False, "cutout": 0, **plan})  # type: ignore[arg-type]
    return Batches(StoreViews(store, augmentation), PIXELS, size, seed, context)


@pytest.mark.parametrize(
    ("size", "steps"), [(1, 23), (2, 11), (5, 4), (22, 1), (23, 1), (24, 1), (500, 1)]
)
def test_an_epoch_has_whole_batches_only_and_each_image_at_most_once(
    store: ImageStore, context: Context, size: int, steps: int
) -> None:
    batches = batches_of(store, context, size)
    seen = [places_of(batch) for batch in batches.epoch(3)]
    assert len(batches) == len(seen) == steps
    assert {len(places) for places in seen} == {batches.batch_size} == {min(size, COUNT)}
    together = [place for places in seen for place in places]
    assert len(set(together)) == len(together) == steps * batches.batch_size
    assert COUNT - len(together) < size


def test_images_keep_their_labels(store: ImageStore, context: Context) -> None:
    for epoch in range(3):
        for batch in batches_of(store, context).epoch(epoch):
            assert batch.labels.dtype == torch.int64
            assert batch.labels.tolist() == [100 + place for place in places_of(batch)]


def order_of(batches: Batches, epoch: int) -> list[int]:
    return [place for batch in batches.epoch(epoch) for place in places_of(batch)]


def test_the_order_depends_on_the_seed_and_the_epoch_alone(
    store: ImageStore, context: Context
) -> None:
    batches = batches_of(store, context, 5)
    orders = [order_of(batches, epoch) for epoch in range(3)]
    assert len({tuple(order) for order in orders}) == 3
    assert order_of(batches, 1) == orders[1]  # again, after others
    assert order_of(batches_of(store, context, 5), 2) == orders[2]  # without those before
    assert order_of(batches_of(store, context, 4), 2)[:20] == orders[2][:20]
    assert order_of(batches_of(store, context, 5, seed=1), 2) != orders[2]
    assert sorted(orders[0]) != orders[0]


def test_another_epoch_leaves_other_images_out(store: ImageStore, context: Context) -> None:
    batches = batches_of(store, context, 5)
    left_out = {frozenset(range(COUNT)) - frozenset(order_of(batches, epoch)) for epoch in range(9)}
    assert {len(places) for places in left_out} == {3}
    assert len(left_out) > 1
    assert set().union(*(order_of(batches, epoch) for epoch in range(9))) == set(range(COUNT))


def test_training_images_are_augmented_by_their_number_and_the_epoch(context: Context) -> None:
    images = torch.from_numpy(
        np.random.default_rng(0).integers(1, 256, (COUNT, 8, 8, 3), dtype=np.uint8)
    )
    store = ImageStore(images, torch.arange(COUNT), np.arange(1000, 1000 + COUNT))
    plan = AugmentationPlan(crop=2, flip=True, cutout=3)
    batches = Batches(StoreViews(store, plan), PIXELS, 5, 7, context)
    for batch in batches.epoch(4):
        expected = plan(images, batch.labels, store.numbers[batch.labels], 7, 4)
        found = batch.images.permute(0, 2, 3, 1).round()
        torch.testing.assert_close(found, expected.float(), atol=0, rtol=0)
        assert not torch.equal(found, images[batch.labels].float())


@pytest.mark.parametrize("views", [None, 2])
def test_smaller_images_are_copies_of_the_same_views(context: Context, views: int | None) -> None:
    """Crop, mirror image and cutout fall on the same places of what teacher and student see."""
    generator = np.random.default_rng(0)
    images = torch.from_numpy(generator.integers(0, 256, (COUNT, 16, 16, 3), dtype=np.uint8))
    store = ImageStore(images, torch.arange(COUNT), np.arange(1000, 1000 + COUNT))
    views_of = StoreViews(store, AugmentationPlan(crop=3, flip=True, cutout=5, fill=(9, 99, 199)))
    whole = Batches(views_of, PIXELS, 5, 7, context, views)
    small = Batches(views_of, PIXELS, 5, 7, context, views, image_size=12)
    pairs = [*zip(whole.epoch(3), small.epoch(3), strict=True)]
    pairs += zip(whole.in_order(1, 6), small.in_order(1, 6), strict=True)
    for view, copy in pairs:
        assert view.whole is None
        assert copy.whole is not None
        assert torch.equal(copy.whole(), view.images)
        assert torch.equal(copy.labels, view.labels)
        assert np.array_equal(copy.rows, view.rows)
        assert copy.view == view.view
        pixels = view.images.permute(0, 2, 3, 1).round().to(torch.uint8)
        expected = shrunk(pixels, 12).permute(0, 3, 1, 2).float()
        torch.testing.assert_close(copy.images, expected, atol=1e-4, rtol=0)


def test_images_of_the_side_of_the_views_are_the_views(store: ImageStore, context: Context) -> None:
    views = StoreViews(store, PLAIN)
    for batch in Batches(views, PIXELS, 5, 0, context, image_size=views.side).epoch(0):
        assert batch.whole is None
        assert batch.images.shape[1:] == (3, 4, 5)


@pytest.mark.parametrize("size", [1, 5, 23, 256])
def test_all_images_are_evaluated_once_in_order(
    store: ImageStore, context: Context, size: int
) -> None:
    batches = list(evaluation_batches(store, PIXELS, context, size))
    assert [place for batch in batches for place in places_of(batch)] == list(range(COUNT))
    assert torch.equal(torch.cat([batch.labels for batch in batches]), store.labels)
    assert max(len(batch.labels) for batch in batches) <= size


def test_batches_come_in_the_number_format_and_layout_of_the_context(store: ImageStore) -> None:
    context = make_context("cpu", "bfloat16")
    training = next(iter(batches_of(store, context).epoch(0)))
    evaluation = next(iter(evaluation_batches(store, PIXELS, context)))
    for batch in (training, evaluation):
        assert batch.images.dtype == torch.bfloat16
        assert batch.images.shape[1:] == (3, 4, 5)
        assert batch.images.is_contiguous(memory_format=torch.channels_last)


def test_batches_are_normalised(store: ImageStore, context: Context) -> None:
    normalisation = Normalisation((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    mean, std = (
        torch.tensor(values)[:, None, None] for values in ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    )
    expected = (store.images.permute(0, 3, 1, 2).double() / 255 - mean) / std
    [evaluation] = evaluation_batches(store, normalisation, context)
    torch.testing.assert_close(evaluation.images.double(), expected, atol=1e-5, rtol=0)
    for batch in Batches(StoreViews(store, PLAIN), normalisation, 5, 0, context).epoch(0):
        torch.testing.assert_close(
            batch.images.double(), expected[batch.labels - 100], atol=1e-5, rtol=0
        )


def test_batches_prepared_ahead_are_the_same(
    store: ImageStore, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On an accelerator, preparing the next batch starts before this one is used."""
    plan = AugmentationPlan(crop=2, flip=True, cutout=3)
    batches = Batches(StoreViews(store, plan), PIXELS, 5, 7, context)
    expected = list(batches.epoch(3))
    monkeypatch.setattr(batches, "_ahead", True)
    begun: list[int] = []
    prepare = batches._batches

    def count(parts: list[np.ndarray], view: int) -> Iterator[Batch]:
        for batch in prepare(parts, view):
            begun.append(len(begun))
            yield batch

    monkeypatch.setattr(batches, "_batches", count)
    found = []
    for done, batch in enumerate(batches.epoch(3)):
        found.append(batch)
        assert len(begun) >= min(done + 1, len(expected))
    assert len(begun) == len(found) == len(expected) > 2
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)
