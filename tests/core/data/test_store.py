"""Decoded images and their normalisation."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from erde_cli.core.data.augmentation import AugmentationPlan
from erde_cli.core.data.batches import Batches, evaluation_batches
from erde_cli.core.data.normalisation import Normalisation, Normaliser
from erde_cli.core.data.store import ImageStore
from erde_cli.core.data.views import StoreViews
from erde_cli.core.device import Context, make_context


def noise(count: int, height: int = 5, width: int = 4) -> torch.Tensor:
    generator = np.random.default_rng(0)
    return torch.from_numpy(generator.integers(0, 256, (count, height, width, 3), dtype=np.uint8))


def normalisation_of(images: torch.Tensor) -> Normalisation:
    return Normalisation.of(ImageStore(images, torch.empty(len(images)), np.arange(len(images))))


@pytest.mark.parametrize("count", [1, 50, 4096, 4097, 9000])
def test_a_normalisation_has_the_mean_and_deviation_of_all_pixels(count: int) -> None:
    images = noise(count)
    images[..., 1] //= 4
    pixels = images.numpy().astype(np.float64).reshape(-1, 3) / 255
    found = normalisation_of(images)
    np.testing.assert_allclose(found.mean, pixels.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(found.std, pixels.std(axis=0), atol=1e-6)


@pytest.mark.parametrize("value", [0, 77, 255])
def test_a_channel_that_never_changes_is_not_divided_by_0(context: Context, value: int) -> None:
    images = noise(10)
    images[..., 2] = value
    found = normalisation_of(images)
    assert found.std[2] == pytest.approx(1 / 255, abs=1e-6)
    normalised = Normaliser(found, 4, context)(images)
    assert torch.isfinite(normalised).all()
    torch.testing.assert_close(normalised[:, 2], torch.zeros(10, 5, 4), atol=1e-3, rtol=0)


def test_normalised_images_have_mean_0_and_deviation_1(context: Context) -> None:
    images = noise(200)
    normalised = Normaliser(normalisation_of(images), 4, context)(images)
    channels = normalised.transpose(0, 1).flatten(1)
    torch.testing.assert_close(channels.mean(dim=1), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(channels.std(dim=1), torch.ones(3), atol=1e-3, rtol=0)


def test_normalised_values_are_those_worked_out_by_hand(context: Context) -> None:
    images = noise(20, 6, 9)
    mean, std = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)
    expected = ((images.numpy() / 255 - np.array(mean)) / np.array(std)).transpose(0, 3, 1, 2)
    normalised = Normaliser(Normalisation(mean, std), 9, context)(images)
    assert normalised.shape == (20, 3, 6, 9)
    assert normalised.dtype == torch.float32
    np.testing.assert_allclose(normalised.numpy(), expected, atol=1e-5)


def test_slices_of_a_store_are_normalised_like_the_whole(context: Context) -> None:
    images = noise(6)
    normalise = Normaliser(normalisation_of(images), 4, context)
    torch.testing.assert_close(normalise(images[::2]), normalise(images)[::2], atol=0, rtol=0)
    torch.testing.assert_close(normalise(images.flip(2)), normalise(images).flip(3), atol=0, rtol=0)


def test_images_are_not_changed_by_being_normalised(context: Context) -> None:
    images = noise(3)
    before = images.clone()
    Normaliser(normalisation_of(images), 4, context)(images)
    assert torch.equal(images, before)


@pytest.mark.parametrize(
    ("precision", "dtype", "layout"),
    [
        ("float32", torch.float32, torch.channels_last),
        ("bfloat16", torch.bfloat16, torch.channels_last),
    ],
)
def test_the_context_decides_number_format_and_memory_layout(
    precision: str, dtype: torch.dtype, layout: torch.memory_format
) -> None:
    context = make_context("cpu", precision)
    images = noise(4)
    normalised = Normaliser(Normalisation((0.5,) * 3, (0.25,) * 3), 4, context)(images)
    expected = (images.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25
    assert normalised.dtype == dtype
    assert normalised.is_contiguous(memory_format=layout)
    torch.testing.assert_close(normalised.float(), expected, atol=1e-2, rtol=1e-2)


def test_a_normalisation_comes_back_from_json() -> None:
    found = normalisation_of(noise(7))
    assert Normalisation.from_json(json.loads(json.dumps(found.to_json()))) == found


@pytest.fixture
def rows() -> ImageStore:
    """A split of every third image of what it shares, the last one first."""
    images = noise(60)
    rows = np.arange(60)[::-3].copy()
    return ImageStore(images, torch.arange(20), 1000 + rows, rows)


def copied(store: ImageStore) -> ImageStore:
    """The same split with its own copies of the images."""
    assert store.rows is not None
    return ImageStore(store.images[torch.from_numpy(store.rows)], store.labels, store.numbers)


def test_rows_name_the_images_of_a_split(rows: ImageStore, context: Context) -> None:
    own = copied(rows)
    assert len(rows) == len(own) == 20
    assert torch.equal(rows.part(0, 20), own.images)
    assert torch.equal(rows.part(15, 4096), own.images[15:])
    assert torch.equal(own.part(15, 4096), own.images[15:])
    assert Normalisation.of(rows) == Normalisation.of(own)
    assert Normalisation.of(rows) != normalisation_of(rows.images)


def test_rows_and_copies_give_the_same_batches(rows: ImageStore, context: Context) -> None:
    plan = AugmentationPlan(crop=1, flip=True, cutout=2)
    normalisation = Normalisation((0.5,) * 3, (0.25,) * 3)
    found, wanted = (
        [
            *Batches(StoreViews(store, plan), normalisation, 6, 1, context).epoch(2),
            *Batches(StoreViews(store, plan), normalisation, 6, 1, context).in_order(0, 7),
            *evaluation_batches(store, normalisation, context, 7),
        ]
        for store in (rows, copied(rows))
    )
    assert len(found) == len(wanted) == 3 + 3 + 3
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)
        np.testing.assert_array_equal(one.rows, other.rows)


def test_an_accelerator_gets_the_images_of_the_split_alone(rows: ImageStore) -> None:
    elsewhere = Context(torch.device("meta"), "float32", 1)
    there = rows.on(elsewhere)
    assert there.images.shape[0] == 20
    assert there.images.device.type == there.labels.device.type == "meta"
    assert there.rows is None
    here = rows.on(Context(torch.device("cpu"), "float32", 1))
    assert here.images.data_ptr() == rows.images.data_ptr()  # nothing is copied


def test_pages_of_a_mapped_file_are_given_back(
    rows: ImageStore, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    released: list[object] = []
    monkeypatch.setattr("erde_cli.core.data.store.release", released.append)
    mapped = replace(rows, mapping=object())  # type: ignore[arg-type]
    plan = AugmentationPlan(crop=0, flip=False, cutout=0)
    normalisation = Normalisation.of(mapped)
    assert released == [mapped.mapping]
    list(Batches(StoreViews(mapped, plan), normalisation, 5, 1, context).epoch(0))
    assert released == [mapped.mapping] * 5
    list(evaluation_batches(mapped, normalisation, context, 10))
    assert released == [mapped.mapping] * 7
