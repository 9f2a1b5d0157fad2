"""Training images/s over whole epochs: `train-teacher` against the loop most people write.

python -m benchmarks.training [--repeats 5] [--json]
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from benchmarks.measure import arguments, interleave, ratios, show, spread, tell
from benchmarks.networks import CLASSES, NETWORKS, network, random_images
from erde_cli.core.context import make_context
from erde_cli.core.data import AugmentationPlan, Batches, ImageStore, Normalisation
from erde_cli.core.data.torchvision_import import torchvision_datasets
from erde_cli.core.inference import Answers
from erde_cli.core.objectives import LabelObjective
from erde_cli.core.observer import Observer
from erde_cli.core.recipe import Training
from erde_cli.core.training import TrainState, train_epoch

BATCH, RATE = 128, 0.05


class PilImages(TorchDataset[tuple[torch.Tensor, int]]):
    """Images as torchvision's CIFAR-10 gives them: from an array, through PIL, transformed."""

    def __init__(self, store: ImageStore, transform: Callable[[Image.Image], torch.Tensor]) -> None:
        self._images, self._labels = store.images.numpy(), store.labels.tolist()
        self._transform = transform

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self._transform(Image.fromarray(self._images[index])), self._labels[index]


def usual_loop(name: str, store: ImageStore) -> Callable[[], float]:
    """An epoch with DataLoader, PIL transforms, float32 and SGD; images per second."""
    torchvision_datasets()
    transforms = import_module("torchvision.transforms")
    transform = transforms.Compose(
        [
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
        ]
    )
    loader = DataLoader(
        PilImages(store, transform), BATCH, shuffle=True, num_workers=2, drop_last=True
    )
    model = network(name)
    optimizer = torch.optim.SGD(
        model.parameters(), RATE, momentum=0.9, nesterov=True, weight_decay=5e-4
    )

    def epoch() -> float:
        model.train()
        start, done = perf_counter(), 0
        for images, labels in loader:
            optimizer.zero_grad()
            logits = model(images)
            loss = F.cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(logits.shape[1]))
            loss.backward()
            optimizer.step()
            done += len(labels)
        return done / (perf_counter() - start)

    return epoch


def our_loop(name: str, store: ImageStore) -> Callable[[], float]:
    """An epoch of `train-teacher`; images per second, the look at calibration left out."""
    context = make_context("cpu", "auto", torch.get_num_threads())
    settings = Training(epochs=1000, batch_size=BATCH, learning_rate=RATE)
    model = network(name)
    context.place(model)
    state = TrainState(model, settings)
    normalisation = Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    batches = Batches(store, normalisation, AugmentationPlan(4, True, 0), BATCH, 1, context)
    objective = LabelObjective(torch.ones(model.exit_count), 0.0)
    no_images: NDArray[np.float64] = np.zeros((1, model.exit_count))
    nothing = Answers(no_images > 0, no_images, no_images.astype(np.int64))

    def epoch() -> float:
        record = train_epoch(
            state, batches, objective, settings, 1, context, lambda _: nothing, Observer()
        )
        return float(record.timings["images_per_second"])

    return epoch


def main() -> None:
    """Measure every network."""
    given = arguments(
        __doc__ or "", images={"type": int, "default": 3840, "help": "images of an epoch"}
    )
    store = random_images(given.images)
    rows, document = [], {}
    for name in NETWORKS:
        found = interleave(
            {"usual": usual_loop(name, store), "erde": our_loop(name, store)}, given.repeats
        )
        factor = ratios(found["erde"], found["usual"])
        usual, ours = spread(found["usual"]), spread(found["erde"])
        rows.append([name, show(usual, 0), show(ours, 0), show(factor)])
        document[name] = {"usual": usual, "erde": ours, "ratio": factor}
    tell(
        f"Training, images/s, {CLASSES} classes, 32x32, batch {BATCH}",
        ["network", "usual loop", "erde", "ratio"],
        rows,
        given.json,
        {"training": document},
    )


if __name__ == "__main__":
    main()
