"""Which process sees which image: each has its part of the batches of one process alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from erde_cli.core.data.augmentation import AugmentationPlan
from erde_cli.core.data.batches import Batch, Batches
from erde_cli.core.data.normalisation import Normalisation
from erde_cli.core.data.photo_views import PhotoAugmentation, Photos, PhotoViews
from erde_cli.core.data.store import ImageStore
from erde_cli.core.data.views import StoreViews, TrainingViews
from erde_cli.core.device import Context
from erde_cli.core.errors import InputError
from erde_cli.core.processes.engine import Engine
from erde_cli.core.processes.environment import Place, place_of_process
from erde_cli.core.processes.torchrun import Torchrun

COUNT, SIDE, BATCH = 27, 6, 12
PIXELS = Normalisation((0.5, 0.4, 0.3), (0.25, 0.2, 0.3))
PLAN = AugmentationPlan(crop=2, flip=True, cutout=3, trivial=True)


def one_of(world_size: int, rank: int) -> Engine:
    """A process that knows its place, and no other process."""
    engine = Engine()
    engine.rank, engine.world_size = rank, world_size
    return engine


@pytest.fixture
def store() -> ImageStore:
    """Images of noise."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (COUNT, SIDE, SIDE, 3), generator=generator).to(torch.uint8)
    return ImageStore(images, torch.arange(COUNT) % 5, np.arange(100, 100 + COUNT))


def batches_of(views: TrainingViews, context: Context, engine: Engine, side: int = SIDE) -> Batches:
    return Batches(views, PIXELS, BATCH, 7, replace(context, engine=engine), 2, side)


def assert_same(parts: list[Batch], whole: Batch) -> None:
    np.testing.assert_array_equal(np.concatenate([part.rows for part in parts]), whole.rows)
    assert torch.equal(torch.cat([part.labels for part in parts]), whole.labels)
    assert torch.equal(torch.cat([part.images for part in parts]), whole.images)
    assert {part.view for part in parts} == {whole.view}
    assert len({len(part.rows) for part in parts}) == 1


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("side", [SIDE, SIDE // 2])
def test_the_parts_of_all_processes_are_the_batch_of_one(
    store: ImageStore, context: Context, world_size: int, first: int, side: int
) -> None:
    views = StoreViews(store, PLAN)
    alone = batches_of(views, context, Engine(), side)
    shared = [
        batches_of(views, context, one_of(world_size, rank), side) for rank in range(world_size)
    ]
    for epoch in range(3):
        whole = list(alone.epoch(epoch, first))
        parts = [list(batches.epoch(epoch, first)) for batches in shared]
        assert len(whole) == len(alone) - first == 2 - first
        assert {len(batches) for batches in shared} == {2}
        for step, batch in enumerate(whole):
            assert_same([part[step] for part in parts], batch)
            if side != SIDE:  # the teacher sees the views that are not shrunk
                wholes = [part[step].whole for part in parts]
                together = torch.cat([make() for make in wholes if make is not None])
                assert batch.whole is not None
                assert torch.equal(together, batch.whole())


def test_random_crops_of_photos_are_shared_as_well(store: ImageStore, context: Context) -> None:
    plan = replace(PLAN, crop=0)
    photos = Photos(store, np.linspace(0.5, 2, COUNT).astype(np.float32))
    views = PhotoViews(photos, PhotoAugmentation(4, 0.4, "bilinear", plan))
    whole = list(batches_of(views, context, Engine(), 4).epoch(1))
    parts = [list(batches_of(views, context, one_of(2, rank), 4).epoch(1)) for rank in range(2)]
    for step, batch in enumerate(whole):
        assert_same([part[step] for part in parts], batch)


def test_inputs_that_stand_in_place_of_images_are_shared_as_well(
    store: ImageStore, context: Context
) -> None:
    rows = torch.arange(COUNT * 2).view(COUNT, 2)

    def of(engine: Engine) -> list[Batch]:
        batches = batches_of(StoreViews(store, PLAN), context, engine)
        return list(batches.with_inputs(lambda places, view: rows[places] + view).epoch(1))

    parts = [of(one_of(3, rank)) for rank in range(3)]
    for step, batch in enumerate(of(Engine())):
        assert_same([part[step] for part in parts], batch)


def test_every_process_walks_through_all_images_in_order(
    store: ImageStore, context: Context
) -> None:
    """For views that are kept, of which a process computes some whole."""
    of_rank = batches_of(StoreViews(store, PLAN), context, one_of(2, 1))
    assert [row for batch in of_rank.in_order(0, 10) for row in batch.rows] == list(range(COUNT))


class _Unconnected(Torchrun):
    """Knows its place, and has no other process."""

    def __init__(self, world_size: int) -> None:
        self.rank, self.world_size = 0, world_size


@pytest.mark.parametrize(("batch", "count"), [(7, 2), (8, 3), (1, 2), (2, 3)])
def test_a_batch_that_cannot_be_shared_equally_is_refused(batch: int, count: int) -> None:
    with pytest.raises(InputError, match=f"{count} processes cannot share batches of {batch} "):
        _Unconnected(count).require_shares(batch)


def test_a_place_is_what_torchrun_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK",
                 "LOCAL_WORLD_SIZE"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    assert place_of_process() is None
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert place_of_process() is None  # a scheduler sets some of them for its own purposes
    monkeypatch.setenv("MASTER_ADDR", "there")
    monkeypatch.setenv("MASTER_PORT", "1234")
    assert place_of_process() == Place(1, 3, 0, "there", 1234)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert place_of_process() == Place(1, 3, 0, "there", 1234, local_size=2)
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "0")
    assert place_of_process() is None  # one process of torchrun is a process alone
    for name, wrong in (("RANK", "3"), ("RANK", "-1"), ("WORLD_SIZE", "x"), ("MASTER_PORT", "0")):
        with monkeypatch.context() as patch:
            patch.setenv("WORLD_SIZE", "3")
            patch.setenv(name, wrong)
            with pytest.raises(InputError, match="does not describe one of several processes"):
                place_of_process()
