"""Compare training on photos with torchvision's ImageFolder and DataLoader; Linux only.

python -m benchmarks.photos [--images 320] [--repeats 3] [--threads 2] [--json]

All sides train on the same 500x375 JPEG files, written to a temporary folder, with random crops
(RandomResizedCrop) of 224x224 pixels and mirror images. erde reads them from its store, which it
fills once. images/s are whole epochs, of batches alone and with a training step on each batch.
Every side runs in its own process; memory is anonymous memory with that of worker processes. The
gain is over the fastest of ImageFolder.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.measure import (
    apart,
    arguments,
    interleave,
    print_results,
    ratios,
    show,
    spread,
)
from benchmarks.peak_memory import Peak, of_process_and_workers
from erde_cli.core.data.augmentation import AugmentationPlan
from erde_cli.core.data.batches import Batches
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.data.normalisation import Normalisation
from erde_cli.core.data.opening import open_dataset
from erde_cli.core.data.photo_views import PhotoAugmentation, PhotoViews
from erde_cli.core.data.streamed_views import StreamedViews
from erde_cli.core.data.views import TrainingViews
from erde_cli.core.device import make_context
from erde_cli.core.platform.allocator import keep_freed_memory
from erde_cli.core.platform.torchvision_import import torchvision_datasets, torchvision_transforms
from erde_cli.core.recipe.sections.data import Data
from erde_cli.core.storage.cache import VARIABLE

WIDTH, HEIGHT, QUALITY, CLASSES = 500, 375, 90, 4
SIDE, KEPT, SMALLEST, BATCH = 224, 256, 0.35, 32
STEPS = 4  # training steps of an epoch with a network
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
AUGMENTATION = PhotoAugmentation(SIDE, SMALLEST, "bilinear", AugmentationPlan(0, True, 0))
STORE, STREAM, WORKERS = "erde, from the store", "erde, streaming", (0, 1, 2)
EVERY = 0.02  # seconds between two readings of the memory
MB = 1e6

Epochs = Callable[[], Iterator[tuple[Tensor, Tensor]]]  # batches of the next epoch


def photo(generator: np.random.Generator) -> Image.Image:
    """A picture of smooth colours with noise at three scales, and shapes with edges."""
    layers = []
    for width, share in ((4, 0.6), (30, 0.25), (150, 0.15)):
        coarse = generator.integers(0, 256, (width * 3 // 4, width, 3), dtype=np.uint8)
        large = Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        layers.append(share * np.asarray(large))
    image = Image.fromarray(np.sum(layers, axis=0).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for shape in (draw.ellipse, draw.rectangle) * 4:
        left, top = generator.integers(0, (WIDTH, HEIGHT))
        width, height = generator.integers(10, 150, 2)
        colour = tuple(generator.integers(0, 256, 3).tolist())
        shape((left, top, left + width, top + height), fill=colour)
    grain = generator.normal(0, 4, (HEIGHT, WIDTH, 3))
    return Image.fromarray((np.asarray(image) + grain).clip(0, 255).astype(np.uint8))


def write_photos(root: Path, count: int) -> None:
    """Write `count` JPEG files to `root/train`, and one of each class to `root/test`."""
    generator = np.random.Generator(np.random.Philox(1))
    for number in range(count + CLASSES):
        split = "train" if number < count else "test"
        folder = root / split / f"class{number % CLASSES}"
        folder.mkdir(parents=True, exist_ok=True)
        photo(generator).save(folder / f"{number:05}.jpg", quality=QUALITY)


def opened(root: Path, disk_limit: int = 20_000) -> Dataset:
    """The photos as erde opens them for a training; above `disk_limit` MB they are not kept."""
    augmentation: Any = {"crop": 0, "resized_crop": SMALLEST}
    return open_dataset(
        Data(dataset="imagefolder", root=str(root), image_size=SIDE, photo_size=KEPT,
             disk_limit=disk_limit, augmentation=augmentation)
    )  # fmt: skip


def with_store(root: Path) -> Epochs:
    """Epochs from erde's store."""
    photos = opened(root).photos()
    assert photos is not None
    return _epochs(PhotoViews(photos, AUGMENTATION))


def with_stream(root: Path) -> Epochs:
    """Epochs of photos that erde decodes in each of them."""
    files = opened(root, 0).photo_files()
    assert files is not None
    return _epochs(StreamedViews(files, AUGMENTATION))


def _epochs(views: TrainingViews) -> Epochs:
    keep_freed_memory()
    context = make_context("cpu", "float32", torch.get_num_threads())
    batches = Batches(views, Normalisation(MEAN, STD), BATCH, 1, context)
    numbers = iter(range(10**6))
    return lambda: ((batch.images, batch.labels) for batch in batches.epoch(next(numbers)))


def usual_transform() -> Any:
    """Torchvision's transforms: random crop, mirror image, tensor, normalisation."""
    v2 = torchvision_transforms()
    return v2.Compose(
        [
            v2.RandomResizedCrop(SIDE, scale=(SMALLEST, 1.0)),
            v2.RandomHorizontalFlip(),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )


def with_loader(workers: int, root: Path) -> Epochs:
    """Epochs of a DataLoader with some worker processes."""
    images = torchvision_datasets().ImageFolder(root / "train", usual_transform())
    loader = DataLoader(
        images, BATCH, shuffle=True, num_workers=workers, drop_last=True,
        persistent_workers=workers > 0,
    )  # fmt: skip
    return lambda: (
        (images.contiguous(memory_format=torch.channels_last), labels) for images, labels in loader
    )


SIDES: dict[str, Callable[[Path], Epochs]] = {
    STORE: with_store,
    STREAM: with_stream,
    **{f"ImageFolder, {count} workers": partial(with_loader, count) for count in WORKERS},
}


def training_step() -> Callable[[Tensor, Tensor], None]:
    """A training step of a small network, float32, channels last."""
    torchvision_datasets()  # torchvision imports with any build of torch after this
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = import_module("torchvision.models").shufflenet_v2_x0_5(num_classes=CLASSES)
    model.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step(images: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return step


def _loading(make: Callable[[Path], Epochs], root: Path) -> Callable[[], float]:
    """Images/s of an epoch without a network."""
    epochs = make(root)

    def epoch() -> float:
        start = perf_counter()
        count = sum(len(labels) for _, labels in epochs())
        return count / (perf_counter() - start)

    return epoch


def _training(make: Callable[[Path], Epochs], root: Path) -> Callable[[], float]:
    """Images/s of a short epoch with a training step on every batch."""
    epochs, step = make(root), training_step()

    def epoch() -> float:
        start = perf_counter()
        batches = epochs()
        for _ in range(STEPS):
            step(*next(batches))
        seconds = perf_counter() - start
        for _ in batches:  # persistent workers finish their epoch
            pass
        return STEPS * BATCH / seconds

    return epoch


def _memory(make: Callable[[Path], Epochs], root: Path) -> Callable[[], float]:
    """Peak anonymous memory of an epoch, in bytes."""
    epochs = make(root)

    def epoch() -> float:
        with Peak(of_process_and_workers, EVERY) as peak:
            for _ in epochs():
                pass
        return float(peak.value)

    return epoch


def measure(root: Path, repeats: int) -> dict[str, dict[str, list[float]]]:
    """Values of each kind, side and round."""
    found: dict[str, dict[str, list[float]]] = {}
    kinds = {"batches": (_loading, repeats), "training": (_training, repeats),
             "memory": (_memory, 1)}  # fmt: skip
    for kind, (measured, rounds) in kinds.items():
        makers = {side: partial(measured, make, root) for side, make in SIDES.items()}
        with apart(makers) as sides:
            found[kind] = interleave(sides, rounds)
    return found


def best_other(found: dict[str, list[float]]) -> str:
    """The side of torchvision with the largest median."""
    others = [side for side in found if side.startswith("ImageFolder")]
    return max(others, key=lambda side: spread(found[side])["median"])


def main() -> None:
    """Write the photos, and measure every side."""
    given = arguments(
        __doc__ or "",
        images={"type": int, "default": 320, "help": "photos to make (default: %(default)s)"},
    )
    with TemporaryDirectory() as folder:
        root = Path(folder) / "photos"
        os.environ[VARIABLE] = str(Path(folder) / "cache")
        write_photos(root, given.images)
        start = perf_counter()
        opened(root).photos()
        first = perf_counter() - start
        found = measure(root, given.repeats)
    rows, document = [], {}
    for side in SIDES:
        values: dict[str, Any] = {}
        for kind in ("batches", "training"):
            other = found[kind][best_other(found[kind])]
            values[kind] = spread(found[kind][side])
            values[f"{kind}_gain"] = ratios(found[kind][side], other)
        memory = values["memory_bytes"] = max(found["memory"][side])
        rows.append([side, show(values["batches"], 0), show(values["batches_gain"]),
                     show(values["training"], 0), show(values["training_gain"]),
                     f"{memory / MB:,.0f}"])  # fmt: skip
        document[side] = values
    title = f"{given.images:,} photos of {WIDTH}x{HEIGHT} pixels; first start of erde {first:.1f} s"
    columns = ["side", "batches, images/s", "gain", "with training, images/s", "gain", "memory, MB"]
    whole = {"first_start_seconds": first, "sides": document}
    print_results(title, columns, rows, given.json, {"photos": whole})


if __name__ == "__main__":
    main()
