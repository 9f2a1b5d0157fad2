"""Measure the model's share of an epoch, and the cost of a student with and without the cache.

python -m benchmarks.share [--precision float32] [--repeats 5] [--json]

A bare step is forward, backward and optimiser on one fixed batch, and for `distill` the teacher's
forward pass on it, with the same precision and memory layout. It is also measured in the contiguous
layout, which shows the gain of channels last. A student with cached teacher's logits is compared
with one trained on the labels alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.measure import arguments, interleave, print_results, ratios, show
from benchmarks.networks import CLASSES, NETWORKS, SIZE, network, random_images
from benchmarks.peers import BATCH
from benchmarks.training import epoch_of, labels_only
from erde_cli.core.data.batches import Batch, Batches
from erde_cli.core.data.store import ImageStore
from erde_cli.core.device import Context, make_context
from erde_cli.core.events import Observer
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.platform.allocator import keep_freed_memory
from erde_cli.core.recipe.sections.distillation import Distillation
from erde_cli.core.recipe.sections.training import Training
from erde_cli.core.training.loop import Objective
from erde_cli.core.training.losses import distillation_terms
from erde_cli.core.training.objectives import SumOfTerms
from erde_cli.core.training.state import TrainState
from erde_cli.core.training.teacher_logits import CachedLogits, ComputedLogits
from erde_cli.core.training.view_cache import ViewCache

VIEWS = 2
TEACHER = "WRN-16-2"
SETTINGS = Training(epochs=10_000, batch_size=BATCH, learning_rate=0.01)
Epoch = Callable[[], float]


def bare(name: str, steps: int, context: Context, with_teacher: bool) -> Epoch:
    """Seconds of `steps` bare steps on one fixed batch."""
    model = network(name)
    context.place(model)
    state = TrainState(model, SETTINGS)
    images = torch.randn(BATCH, 3, SIZE, SIZE).to(context.dtype)
    images = images.contiguous(memory_format=context.memory_format)
    labels = torch.randint(0, CLASSES, (BATCH,))
    teacher = ComputedLogits(network(TEACHER), context) if with_teacher else None
    batch = Batch(images, labels, np.arange(BATCH))

    def epoch() -> float:
        model.train()
        start = perf_counter()
        for _ in range(steps):
            if teacher is not None:
                teacher(batch)
            state.optimizer.zero_grad(set_to_none=True)
            with context.autocast():
                logits = model(images)
            targets = labels.repeat_interleave(logits.shape[1])
            F.cross_entropy(logits.float().flatten(0, 1), targets).backward()
            state.optimizer.step()
        return perf_counter() - start

    return epoch


def trained(
    name: str, store: ImageStore, context: Context,
    make_objective: Callable[[EarlyExitNet, Batches], Objective],
) -> Epoch:  # fmt: skip
    """Seconds of a whole epoch, without the evaluation on the calibration split."""
    epoch = epoch_of(name, store, SETTINGS, context, make_objective, views=VIEWS)
    return lambda: float(epoch()["seconds"])


def distilled(context: Context, cache: ViewCache | None) -> Callable[..., Objective]:
    """The method `erde`, with teacher's logits computed for every batch or read from a cache."""

    def make(model: EarlyExitNet, batches: Batches) -> Objective:
        teacher: Callable[[Batch], Tensor] = ComputedLogits(network(TEACHER), context)
        if cache is not None:
            teacher = CachedLogits(
                ComputedLogits(network(TEACHER), context), batches, cache, context, Observer()
            )
        exits = range(model.exit_count)
        weights = torch.ones(model.exit_count)
        return SumOfTerms(distillation_terms(Distillation()), weights, teacher, exits)

    return make


def main() -> None:
    """Measure every network as teacher and as student."""
    given = arguments(
        __doc__ or "",
        images={"type": int, "default": 3840, "help": "images of an epoch"},
        precision={"default": "auto", "help": "of a recipe (default: %(default)s)"},
    )
    keep_freed_memory()
    threads = torch.get_num_threads()
    context = make_context("cpu", given.precision, threads)
    contiguous = make_context("cpu", given.precision, threads, "contiguous")
    store = random_images(given.images)
    steps = len(store) // BATCH
    document = []
    with tempfile.TemporaryDirectory() as folder:
        for name in NETWORKS:
            shape = (len(store), 3, CLASSES)
            cache = ViewCache.at(Path(folder), {"student": name}, shape)
            cache.open(0)
            sides = {
                "bare": bare(name, steps, context, False),
                "bare, contiguous": bare(name, steps, contiguous, False),
                "bare with teacher": bare(name, steps, context, True),
                "train-teacher": trained(name, store, context, labels_only),
                "distill": trained(name, store, context, distilled(context, None)),
                "distill, cached": trained(name, store, context, distilled(context, cache)),
            }
            for _ in range(VIEWS):
                sides["distill, cached"]()  # fills the cache
            found = interleave(sides, given.repeats)
            document.append(
                {
                    "network": name,
                    "share_train": ratios(found["bare"], found["train-teacher"]),
                    "contiguous_over_bare": ratios(found["bare, contiguous"], found["bare"]),
                    "share_distill": ratios(found["bare with teacher"], found["distill"]),
                    "cached_over_labels": ratios(found["distill, cached"], found["train-teacher"]),
                    "uncached_over_labels": ratios(found["distill"], found["train-teacher"]),
                }
            )
    figures = list(document[0])[1:]
    rows = [[row["network"], *(show(row[key]) for key in figures)] for row in document]
    columns = ["network", "model's share, train-teacher", "contiguous / channels last",
               f"model's share, distill ({TEACHER})",
               "cached distill / labels only", "distill / labels only"]  # fmt: skip
    print_results(
        f"Whole epochs, batch {BATCH}, {context.precision}",
        columns,
        rows,
        given.json,
        {"share": document},
    )


if __name__ == "__main__":
    main()
