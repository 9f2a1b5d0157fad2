"""Compare `train-teacher` with a usual training loop: images/s over whole epochs.

If torchdistill is installed, also with its loop, on the same network and images.

python -m benchmarks.training [--repeats 5] [--json]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from benchmarks.measure import apart, arguments, interleave, print_results, ratios, show, spread
from benchmarks.networks import CLASSES, NETWORKS, SIZE, network, random_images
from benchmarks.peers import (
    BATCH,
    INSTALL,
    RATE,
    SGD,
    WORKERS,
    has_torchdistill,
    loss_of_exits,
    pil_images,
    torchdistill_loop,
)
from erde_cli.core.arrays import FloatArray
from erde_cli.core.data.augmentation import AugmentationPlan
from erde_cli.core.data.batches import Batches
from erde_cli.core.data.normalisation import Normalisation
from erde_cli.core.data.store import ImageStore
from erde_cli.core.data.views import StoreViews
from erde_cli.core.device import Context, make_context
from erde_cli.core.events import Observer
from erde_cli.core.inference.answers import Answers
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.platform.allocator import keep_freed_memory
from erde_cli.core.recipe.sections.training import Training
from erde_cli.core.training.loop import Epochs, Objective, train_epoch
from erde_cli.core.training.losses import label_terms
from erde_cli.core.training.objectives import SumOfTerms
from erde_cli.core.training.state import TrainState


def usual_loop(name: str, store: ImageStore) -> Callable[[], float]:
    """An epoch with DataLoader, PIL transforms, float32 and SGD; images per second."""
    loader = DataLoader(pil_images(store), BATCH, shuffle=True, num_workers=WORKERS, drop_last=True)
    model = network(name)
    optimizer = torch.optim.SGD(model.parameters(), **SGD)

    def epoch() -> float:
        model.train()
        start, done = perf_counter(), 0
        for images, labels in loader:
            optimizer.zero_grad()
            loss = loss_of_exits(model(images), labels)
            loss.backward()
            optimizer.step()
            done += len(labels)
        return done / (perf_counter() - start)

    return epoch


def our_loop(name: str, store: ImageStore, observer: Observer | None = None) -> Callable[[], float]:
    """An epoch of `train-teacher`; images per second."""
    keep_freed_memory()
    context = make_context("cpu", "auto", torch.get_num_threads())
    settings = Training(epochs=1000, batch_size=BATCH, learning_rate=RATE)
    epoch = epoch_of(name, store, settings, context, labels_only, observer=observer)
    return lambda: float(epoch()["images_per_second"])


def epoch_of(
    name: str, store: ImageStore, settings: Training, context: Context,
    make_objective: Callable[[EarlyExitNet, Batches], Objective], *,
    views: int | None = None, observer: Observer | None = None,
) -> Callable[[], dict[str, Any]]:  # fmt: skip
    """An epoch of erde's loop; its timings, without the evaluation on the calibration split."""
    model = network(name)
    context.place(model)
    state = TrainState(model, settings)
    normalisation = Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    batches = Batches(
        StoreViews(store, AugmentationPlan(4, True, 0)), normalisation, BATCH, 1, context, views
    )
    objective = make_objective(model, batches)
    no_images: FloatArray = np.zeros((1, model.exit_count))
    nothing = Answers(no_images > 0, no_images, no_images.astype(np.int64))
    epochs = Epochs(settings, batches, objective, 1, context, lambda _: nothing)
    return lambda: train_epoch(state, epochs, observer or Observer()).timings


def labels_only(model: EarlyExitNet, batches: Batches) -> Objective:
    """Cross-entropy at every exit."""
    del batches
    return SumOfTerms(label_terms(), torch.ones(model.exit_count))


def _make(loop: Callable[..., Callable[[], float]], name: str, images: int) -> Callable[[], float]:
    """An epoch after a short one that is not timed: an idle process is slow at first."""
    wake, epoch = (loop(name, random_images(count)) for count in (4 * BATCH, images))

    def awake() -> float:
        wake()
        return epoch()

    return awake


def main() -> None:
    """Measure every network."""
    given = arguments(
        __doc__ or "", images={"type": int, "default": 3840, "help": "images of an epoch"}
    )
    loops = {"usual": usual_loop, "torchdistill": torchdistill_loop, "erde": our_loop}
    if not has_torchdistill():
        print(f"torchdistill is skipped: it is not installed ({INSTALL})", file=sys.stderr)
        del loops["torchdistill"]
    others = [side for side in loops if side != "erde"]
    rows: list[list[str]] = []
    document: dict[str, dict[str, Any]] = {}
    for name in NETWORKS:
        makers = {side: partial(_make, loop, name, given.images) for side, loop in loops.items()}
        with apart(makers) as sides:
            found = interleave(sides, given.repeats)
        speeds = {side: spread(values) for side, values in found.items()}
        factors = {side: ratios(found["erde"], found[side]) for side in others}
        rows.append(
            [name, *(show(value, 0) for value in speeds.values()), *map(show, factors.values())]
        )
        document[name] = speeds | {"ratio": factors["usual"]}
        document[name]["over_torchdistill"] = factors.get("torchdistill")
    print_results(
        f"Training, images/s, {CLASSES} classes, {SIZE}x{SIZE}, batch {BATCH}",
        ["network", *loops, *(f"erde / {side}" for side in others)],
        rows,
        given.json,
        {"training": document},
    )


if __name__ == "__main__":
    main()
