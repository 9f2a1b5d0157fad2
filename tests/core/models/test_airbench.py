"""The network of airbench: its sizes by arithmetic, and the layer that whitens patches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from erde_cli.core.data.normalisation import Normalisation
from erde_cli.core.data.opening import open_dataset
from erde_cli.core.data.shrinking import shrunk
from erde_cli.core.data.store import ImageStore
from erde_cli.core.device import make_context
from erde_cli.core.models.airbench import Whitening
from erde_cli.core.models.architecture import build_model, resolve_architecture
from erde_cli.core.models.backbone import fitted_layers
from erde_cli.core.models.macs import count_macs
from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.recipe.sections.network import Network
from erde_cli.core.training.state import TrainState
from erde_cli.core.workflows.prepared import prepare


def photos(images: int = 40, side: int = 16) -> Tensor:
    """Images whose neighbouring pixels and channels are alike, as those of photos are."""
    generator = torch.Generator().manual_seed(0)
    rough = torch.randn(images, 3, side // 4, side // 4, generator=generator)
    smooth = nn.functional.interpolate(rough, scale_factor=4, mode="bilinear")
    grey = smooth.mean(dim=1, keepdim=True)
    return 0.3 * smooth + grey + 0.2 * torch.randn(images, 3, side, side, generator=generator)


@pytest.mark.parametrize(("depth", "each"), [(8, 2), (14, 4)])
def test_it_is_the_network_of_the_arithmetic(depth: int, each: int) -> None:
    inputs, side, parameters, macs = 24, 31, 24 * 13, 24 * 12 * 31**2
    for outputs in (4, 8, 16):
        for index in range(each):
            parameters += 9 * inputs * outputs + 2 * outputs
            macs += 9 * inputs * outputs * side**2  # the convolution comes before its pooling
            side, inputs = side // 2 if index == 0 else side, outputs
    network = Network(backbone="airbench", depth=depth, width=4, exits=1)
    model = build_model(resolve_architecture(network, 5, 32))
    assert sum(p.numel() for p in model.parameters()) == parameters + (inputs + 1) * 5
    assert count_macs(model, torch.zeros(1, 3, 32, 32)) == macs + inputs * 5
    assert network.blocks == 3 * each


def test_whitened_patches_have_no_covariance_and_one_variance() -> None:
    layer, images = Whitening(), photos()
    layer.fit(images)
    with torch.no_grad():
        layer.bias.zero_()  # type: ignore[union-attr]
        found = layer(images).permute(0, 2, 3, 1).reshape(-1, 24).double()
    assert torch.equal(layer.weight[:12], -layer.weight[12:])
    second = found[:, :12].T @ found[:, :12] / len(found)
    expected = torch.eye(12, dtype=torch.float64)
    torch.testing.assert_close(second, expected, atol=0.02, rtol=0)


def test_the_strongest_direction_comes_first_and_an_empty_one_is_not_blown_up() -> None:
    layer = Whitening()
    layer.fit(photos().mean(dim=1, keepdim=True).expand(-1, 3, -1, -1))  # grey: 8 of 12 are empty
    strength = layer.weight[:12].flatten(1).norm(dim=1)
    assert (strength.diff() >= -1e-4).all()
    assert strength.max() < 1 / np.sqrt(5e-4) + 1


def test_only_the_bias_of_the_whitening_layer_is_trained() -> None:
    recipe = load_recipe("digits", ["teacher.backbone=airbench", "teacher.depth=8",
                                    "teacher.width=2", "teacher.exits=[2,4]"])  # fmt: skip
    context = make_context("cpu", "float32", 1)
    dataset = open_dataset(recipe.data)
    train = dataset.load("train")
    made = prepare(recipe, "teacher", dataset, train, context)
    [layer] = fitted_layers(made.state.model)
    assert isinstance(layer, Whitening)
    before = layer.weight.clone(), layer.bias.clone()  # type: ignore[union-attr]
    expected = Whitening()
    expected.fit(normalised(train, made.normalisation))
    torch.testing.assert_close(layer.weight, expected.weight)
    batch = next(made.batches.epoch(0))
    loss, _ = made.objective(made.state.forward(batch.images), batch, 0)
    loss.backward()
    made.state.optimizer.step()
    assert torch.equal(layer.weight, before[0])
    assert not torch.equal(layer.bias, before[1])  # type: ignore[arg-type]
    assert count_of(made.state) == sum(p.requires_grad for p in made.state.model.parameters())


def test_the_whitening_of_smaller_images_is_that_of_the_smaller_images() -> None:
    network = ["backbone=airbench", "depth=8", "width=2", "exits=[2,4]", "image_size=16"]
    recipe = load_recipe(
        "digits", ["data.image_size=20", *(f"student.{one}" for one in network),
                   "distillation.method=cross_entropy"],
    )  # fmt: skip
    dataset = open_dataset(recipe.data)
    train = dataset.load("train")
    made = prepare(recipe, "student", dataset, train, make_context("cpu", "float32", 1))
    expected = Whitening()
    small = replace(train, images=shrunk(train.images, 16))
    expected.fit(normalised(small, made.normalisation))
    [layer] = fitted_layers(made.state.model)
    torch.testing.assert_close(layer.weight, expected.weight)
    assert made.normalisation == Normalisation.of(train)  # of the teacher's images


def normalised(train: ImageStore, normalisation: Normalisation) -> Tensor:
    """All images of a split, as the network sees them."""
    scale, shift = normalisation.scale_and_shift()
    return (train.part(0, len(train)).float() * scale - shift).permute(0, 3, 1, 2)


def count_of(state: TrainState) -> int:
    """Tensors that the optimiser moves."""
    return sum(len(group["params"]) for group in state.optimizer.param_groups)
