"""On an accelerator the host does not wait for the device inside a step of training.

No accelerator is needed to see it. The steps run on torch's "meta" device, whose tensors have a
shape but no data: the code takes its accelerator's paths, and whatever wants to know a value has
to ask for it through an operator that is watched here. A copy to the device that is not
`non_blocking` counts as well: on CUDA it ends only when all work given so far has ended.

What is left: the loss is read for progress, after every 10th step and an epoch's last one, and once
more after the epoch. Not seen here: what autocast, the kernels of torch's fused optimiser and a
compiled network do inside.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from erde_cli.core.data.augmentation import AugmentationPlan
from erde_cli.core.data.batches import Batches
from erde_cli.core.data.normalisation import Normalisation
from erde_cli.core.data.store import ImageStore
from erde_cli.core.data.views import StoreViews
from erde_cli.core.device import Context
from erde_cli.core.events import Observer
from erde_cli.core.inference.answers import Answers
from erde_cli.core.models.architecture import Architecture, build_model
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.recipe.sections.distillation import Distillation, EntropyOn
from erde_cli.core.recipe.sections.training import Training
from erde_cli.core.training import loop as training
from erde_cli.core.training.loop import Epochs, Objective, train_epoch
from erde_cli.core.training.losses import distillation_terms, label_terms
from erde_cli.core.training.objectives import SumOfTerms
from erde_cli.core.training.state import TrainState
from erde_cli.core.training.teacher_logits import CachedLogits, ComputedLogits
from erde_cli.core.training.view_cache import ViewCache
from tests.host_waits import DEVICE, watching

IMAGES, BATCH, EXITS, CLASSES = 88, 8, 3, 4
STEPS = 11
PIXELS = Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
ARCHITECTURE = Architecture("resnet", 8, 4, (1, 2), "erde", CLASSES, 8)


class OnDevice(Context):
    """A context of the meta device, of which autocast has never heard."""

    def autocast(self) -> AbstractContextManager[object]:
        return nullcontext()


@pytest.fixture(autouse=True)
def _fused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have torch take its fused step on the meta device too, as it does on an accelerator."""
    module = import_module("torch.optim.optimizer")  # torch.optim hides it
    monkeypatch.setattr(module, "_get_fused_kernels_supported_devices", lambda: [DEVICE.type])


def make_batches(context: Context, plan: AugmentationPlan, side: int | None = None) -> Batches:
    """Batches that are prepared in this thread: what another one does could not be watched."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (IMAGES, 8, 8, 3), generator=generator).to(torch.uint8)
    store = ImageStore(images, torch.arange(IMAGES) % CLASSES, np.arange(IMAGES))
    batches = Batches(StoreViews(store, plan), PIXELS, BATCH, 0, context, 1, side)
    assert batches._ahead
    batches._ahead = False
    return batches


def make_model() -> EarlyExitNet:
    return build_model(ARCHITECTURE, 1)


def labels(batches: Batches, context: Context, folder: Path) -> Objective:
    return SumOfTerms(label_terms(0.1), context.to_device(torch.ones(EXITS)))


def weighted(batches: Batches, context: Context, folder: Path) -> Objective:
    of_classes = context.to_device(torch.arange(1.0, CLASSES + 1))
    exit_weights = context.to_device(torch.ones(EXITS))
    return SumOfTerms(label_terms(0.1), exit_weights, class_weights=of_classes)


def distil(
    teacher: Callable[[Batches, Context, Path], Any], entropy_on: EntropyOn
) -> Callable[[Batches, Context, Path], Objective]:
    def make(batches: Batches, context: Context, folder: Path) -> Objective:
        weights = context.to_device(torch.ones(EXITS))
        logits = teacher(batches, context, folder)
        terms = distillation_terms(Distillation(entropy_on=entropy_on), 0.1)
        return SumOfTerms(terms, weights, logits, range(EXITS))

    return make


def computed(batches: Batches, context: Context, folder: Path) -> ComputedLogits:
    return ComputedLogits(make_model(), context)


def cached(batches: Batches, context: Context, folder: Path) -> CachedLogits:
    """Logits kept from an earlier run."""
    cache = ViewCache.at(folder, {"teacher": "a"}, (IMAGES, EXITS, CLASSES))
    cache.open(0)
    cache.write(0, [np.zeros(cache.shape, np.float16)])
    return CachedLogits(ComputedLogits(make_model(), context), batches, cache, context, Observer())


OBJECTIVES = {
    "labels": labels,
    "weighted": weighted,
    "computed": distil(computed, "teacher_wrong"),
    "cached": distil(cached, "teacher_wrong_or_unsure"),
    "shuffled": distil(cached, "shuffled"),
    "everywhere": distil(cached, "all"),
}


def waits_of_an_epoch(
    objective: str, precision: Any, optimizer: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[str, str]]:
    """What waited in an epoch of 11 steps, and where: in which step, or after how many."""
    context = OnDevice(DEVICE, precision, 1)
    batches = make_batches(context, AugmentationPlan(crop=1, flip=True, cutout=2))
    model = make_model()
    context.place(model)
    settings = Training(
        epochs=2, batch_size=BATCH, learning_rate=0.1, precision=precision, optimizer=optimizer
    )
    state = TrainState(model, settings)
    goal = OBJECTIVES[objective](batches, context, folder)
    answers = Answers(np.ones((1, EXITS), bool), np.zeros((1, EXITS)), np.zeros((1, EXITS), int))
    real = training.train_step

    def step(state: TrainState, *rest: Any) -> Any:
        watch.where = f"step {state.step + 1}"
        result = real(state, *rest)
        watch.where = f"after {state.step + 1}"
        return result

    monkeypatch.setattr(training, "train_step", step)
    with watching() as watch:
        wanted = Epochs(settings, batches, goal, 0, context, lambda _: answers)
        train_epoch(state, wanted, Observer())
    assert state.step == STEPS
    return watch.waits


@pytest.mark.parametrize(
    ("objective", "precision", "optimizer"),
    [
        *((name, "float32", "sgd") for name in OBJECTIVES),
        ("labels", "bfloat16", "sgd"),
        ("labels", "float16", "sgd"),
        ("cached", "float16", "sgd"),
        ("labels", "float16", "adamw"),
    ],
)
def test_no_step_of_training_waits_for_the_device(
    objective: str,
    precision: str,
    optimizer: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The loss is read after step 10 and the last, where progress is told."""
    waits = waits_of_an_epoch(objective, precision, optimizer, tmp_path, monkeypatch)
    assert {where for _, where in waits} == {"after 10", "after 11"}
    # Once for all means, once for the steps that were skipped
    assert len([where for _, where in waits if where == "after 10"]) == 2


@pytest.mark.parametrize(
    "plan",
    [
        AugmentationPlan(0, flip=False, cutout=0),
        AugmentationPlan(1, flip=False, cutout=0),
        AugmentationPlan(0, flip=True, cutout=0),
        AugmentationPlan(0, flip=False, cutout=3, fill=(1, 2, 3)),
        AugmentationPlan(2, flip=True, cutout=3),
    ],
    ids=["nothing", "crop", "flip", "cutout", "all"],
)
def test_no_batch_waits_for_the_device(plan: AugmentationPlan) -> None:
    batches = make_batches(OnDevice(DEVICE, "float32", 1), plan)
    with watching() as watch:
        count = sum(batch.images.device == DEVICE for batch in batches.epoch(0))
    assert count == STEPS
    assert watch.waits == []


def test_no_smaller_image_waits_for_the_device() -> None:
    context = OnDevice(DEVICE, "float32", 1)
    batches = make_batches(context, AugmentationPlan(2, flip=True, cutout=3), side=6)
    with watching() as watch:
        shapes = {(batch.images.shape[2], batch.whole().shape[2]) for batch in batches.epoch(0)}  # type: ignore[misc]
    assert shapes == {(6, 8)}
    assert watch.waits == []


VALUES = torch.zeros(6, device=DEVICE)
WAITING: dict[str, Callable[[], Any]] = {
    "item": lambda: VALUES[0].item(),
    "float": lambda: float(VALUES.sum()),
    "if": lambda: bool(VALUES.sum() > 0),
    "tolist": VALUES.tolist,
    "cpu": VALUES.cpu,
    "to cpu, not blocking": lambda: VALUES.to("cpu", non_blocking=True),
    "copied to the host": lambda: torch.zeros(6).copy_(VALUES),
    "nonzero": VALUES.nonzero,
    "where": lambda: torch.where(VALUES > 0),
    "mask": lambda: VALUES[VALUES > 0],
    "mask assigned": lambda: VALUES.clone().__setitem__(VALUES > 0, VALUES[:2]),
    "masked_select": lambda: VALUES.masked_select(VALUES > 0),
    "unique": VALUES.unique,
    "equal": lambda: torch.equal(VALUES, VALUES),
    "repeat_interleave": lambda: torch.repeat_interleave(VALUES.long()),
    "index from the host": lambda: VALUES[torch.tensor([1, 2])],
    "blocking upload": lambda: torch.zeros(3).to(DEVICE),
    "blocking copy_": lambda: VALUES.clone().copy_(torch.zeros(6)),
    "tensor": lambda: torch.tensor([1, 2], device=DEVICE),
    "as_tensor": lambda: torch.as_tensor(np.zeros(2), device=DEVICE),
    "new_tensor": lambda: VALUES.new_tensor([1.0]),
}
FREE: dict[str, Callable[[], Any]] = {
    "index": lambda: VALUES[VALUES.long()],
    "slice": lambda: VALUES[1:3],
    "where": lambda: torch.where(VALUES > 0, VALUES, 1.0),
    "masked_fill": lambda: VALUES.masked_fill(VALUES > 0, 1.0),
    "cast": VALUES.double,
    "upload": lambda: torch.zeros(3).to(DEVICE, non_blocking=True),
    "copy_": lambda: VALUES.clone().copy_(torch.zeros(6), non_blocking=True),
    "on the host": lambda: float(torch.tensor([1.0, 2.0])[1]),
    "zeros": lambda: torch.zeros(3, device=DEVICE),
}


@pytest.mark.parametrize("name", WAITING)
def test_whatever_waits_is_seen(name: str) -> None:
    with watching() as watch, suppress(RuntimeError, NotImplementedError):
        WAITING[name]()  # without data most of them cannot end well
    assert watch.waits


@pytest.mark.parametrize("name", FREE)
def test_what_does_not_wait_is_let_through(name: str) -> None:
    with watching() as watch:
        FREE[name]()
    assert watch.waits == []
