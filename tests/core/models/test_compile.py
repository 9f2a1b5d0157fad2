"""torch.compile in training: the same names, masks of its own, and a look that stays uncompiled.

Compiling takes seconds even for so small a network: the real compiler runs once, for one training;
everything else is asked of the traced network, which needs none.
"""

import copy
import os
import shutil
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from erde_cli.core.data.augmentation import AugmentationPlan
from erde_cli.core.data.batches import Batches
from erde_cli.core.data.normalisation import Normalisation
from erde_cli.core.data.store import ImageStore
from erde_cli.core.data.views import StoreViews
from erde_cli.core.device import make_context
from erde_cli.core.events import Observer
from erde_cli.core.inference.answers import Answers, answer_all
from erde_cli.core.models.architecture import Architecture, build_model
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.heads import StageOutput, erde_head
from erde_cli.core.models.parts import pretrained_stages
from erde_cli.core.recipe.sections.training import Training
from erde_cli.core.training.loop import EpochRecord, Epochs, train_epoch
from erde_cli.core.training.losses import label_terms
from erde_cli.core.training.objectives import SumOfTerms
from erde_cli.core.training.state import TrainState

ARCHITECTURE = Architecture("resnet", 8, 2, (2,), "erde", 2, 8)
SETTINGS = Training(epochs=3, batch_size=16, learning_rate=0.05, compile=True)
PIXELS = Normalisation((0.5,) * 3, (0.25,) * 3)
CONTEXT = partial(make_context, "cpu", "float32", 1, "channels_last")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What torch warns of while it compiles is no error; its files go into the test's folder."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.compiler.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    torch.compiler.reset()


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Trace as torch.compile does, refuse what is not traced whole, compile nothing; the graphs."""
    graphs: list[Any] = []

    def run_as_it_is(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    tracing = partial(torch.compile, backend=run_as_it_is, fullgraph=True)
    monkeypatch.setattr(torch, "compile", tracing)
    return graphs


def store(images: int = 40) -> ImageStore:
    pixels = torch.arange(images * 192).remainder(251).view(images, 8, 8, 3)
    return ImageStore(pixels.to(torch.uint8), torch.arange(images) % 2, np.arange(images))


def fresh(architecture: Architecture = ARCHITECTURE, settings: Training = SETTINGS) -> TrainState:
    model = build_model(architecture, 1)
    CONTEXT().place(model)
    return TrainState(model, settings)


def epochs(state: TrainState, count: int, settings: Training = SETTINGS) -> list[EpochRecord]:
    context, images = CONTEXT(), store()
    plan = AugmentationPlan(1, flip=True, cutout=0)
    batches = Batches(StoreViews(images, plan), PIXELS, 16, 5, context)

    def look(model: EarlyExitNet) -> Answers:
        return answer_all(model, images, PIXELS, context)

    objective = SumOfTerms(label_terms(), torch.ones(state.model.exit_count))
    wanted = Epochs(settings, batches, objective, 5, context, look)
    return [train_epoch(state, wanted, Observer()) for _ in range(count)]


@pytest.mark.skipif(not shutil.which(os.environ.get("CXX", "g++")), reason="needs a compiler")
def test_the_compiler_compiles_training_steps_and_the_names_stay(tmp_path: Path) -> None:
    """About 15 s, most of it the compiler's, so the network is next to nothing."""
    stage = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1))
    state = TrainState(
        EarlyExitNet([stage], [erde_head(StageOutput(2, 8, False), 2, 0.5)], 2), SETTINGS
    )
    CONTEXT().place(state.model)
    before = copy.deepcopy(state.model.state_dict())
    [record] = epochs(state, 1)
    assert list(tmp_path.rglob("*.so"))  # it was the compiler's work that ran
    assert np.isfinite(record.metrics["loss"])
    after = state.state_dict()["model"]
    assert list(after) == list(before)
    assert not torch.equal(before["stages.0.0.weight"], after["stages.0.0.weight"])


def test_a_compiled_training_goes_on_as_if_nothing_had_happened(traced: list[Any]) -> None:
    straight, first, second = fresh(), fresh(), fresh()
    whole = epochs(straight, 2)
    assert len(traced) == 1  # not again for the look, whose batch and mode are others
    epochs(first, 1)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert [r.metrics for r in epochs(second, 1)] == [r.metrics for r in whole[1:]]
    assert all(
        torch.equal(value, second.model.state_dict()[name])
        for name, value in straight.model.state_dict().items()
    )


@pytest.mark.parametrize(
    "architecture",
    [
        ARCHITECTURE,
        Architecture("wrn", 10, 2, (1,), "erde", 2, 8, dropout=0.25),
        Architecture("vgg", 8, 2, (2,), "gap", 2, 32),
    ],
    ids=lambda one: one.backbone,
)
def test_every_backbone_is_traced_whole_dropout_and_pooling_included(
    traced: list[Any], architecture: Architecture
) -> None:
    state = fresh(architecture)
    images = torch.randn(4, 3, architecture.image_size, architecture.image_size)
    images = images.contiguous(memory_format=torch.channels_last)
    torch.manual_seed(1)
    first = state.forward(images)
    torch.manual_seed(1)
    again = state.forward(images)
    other = state.forward(images)
    first.sum().backward()
    assert len(traced) == 1
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (architecture.backbone == "vgg")  # which drops nothing
    assert all(p.grad is not None for p in state.model.parameters())


def test_a_traced_training_is_the_plain_one_where_nothing_is_dropped(traced: list[Any]) -> None:
    undropped = Architecture("resnet", 8, 2, (2,), "gap", 2, 8)
    plain = SETTINGS.model_copy(update={"compile": False})
    one = epochs(fresh(undropped), 2)
    two = epochs(fresh(undropped, plain), 2, plain)
    assert len(traced) == 1
    for left, right in zip(one, two, strict=True):
        assert left.metrics["loss"] == pytest.approx(right.metrics["loss"], rel=1e-4)


def test_a_traced_training_of_parts_is_the_plain_one(traced: list[Any]) -> None:
    """One graph for the epoch of the heads, and one for the others."""
    undropped = Architecture("resnet", 8, 2, (1, 2), "gap", 2, 8)
    changes = {"train": {"from": 1}, "heads_first": 1}
    records, frozen = [], []
    for compiled in (True, False):
        settings = SETTINGS.model_copy(update={**changes, "compile": compiled})
        model = build_model(undropped, 1)
        CONTEXT().place(model)
        state = TrainState(model, settings, pretrained_stages(model))
        before = copy.deepcopy(model.stages[0].state_dict())
        records.append(epochs(state, 2, settings))
        frozen.append(
            all(torch.equal(v, before[n]) for n, v in model.stages[0].state_dict().items())
        )
    assert frozen == [True, True]
    assert len(traced) == 2
    for left, right in zip(*records, strict=True):
        assert left.metrics["loss"] == pytest.approx(right.metrics["loss"], rel=1e-4)


def test_more_networks_than_torch_compiles_of_one_class_are_all_compiled(traced: list[Any]) -> None:
    many = [
        TrainState(EarlyExitNet([nn.Flatten()], [nn.Linear(192, 2)], 2), SETTINGS)
        for _ in range(10)
    ]
    for state in many:
        state.forward(torch.randn(2, 3, 8, 8))
    assert len(traced) == len(many)


def test_nothing_is_compiled_unless_the_recipe_says_so(traced: list[Any]) -> None:
    state = fresh(settings=SETTINGS.model_copy(update={"compile": False}))
    assert state.forward is state.model
    assert state.forward(torch.zeros(2, 3, 8, 8)).shape == (2, 2, 2)
    assert len(traced) == 0
    assert not Training(epochs=1).compile
