"""Compare training on photos with torchvision's ImageFolder and DataLoader; Linux only.

python -m benchmarks.photos [--images 320] [--repeats 3] [--threads 2] [--json]

All sides train on the same 500x375 JPEG files, written to a temporary folder, with random crops
(RandomResizedCrop) of 224x224 pixels and mirror images. erde reads them from its store, which it
fills once. images/s are whole epochs, of batches alone and with a training step on each batch.
Every side runs in its own process; memory is anonymous memory with that of worker processes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import perf_counter, process_time
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
    print_table,
    ratios,
    show,
    spread,
)
from erde_cli.core.data.augmentation import AugmentationPlan
from erde_cli.core.data.batches import Batches
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.data.normalisation import Normalisation
from erde_cli.core.data.opening import open_dataset
from erde_cli.core.data.photo_views import PhotoAugmentation, PhotoViews
from erde_cli.core.data.seeded_transforms import trivially_augmented
from erde_cli.core.data.streamed_views import StreamedViews
from erde_cli.core.data.views import TrainingViews
from erde_cli.core.device import make_context
from erde_cli.core.images.decoding import decode_files
from erde_cli.core.platform.allocator import keep_freed_memory
from erde_cli.core.platform.torchvision_import import torchvision_datasets, torchvision_transforms
from erde_cli.core.recipe.sections.data import Data
from erde_cli.core.storage.cache import VARIABLE

WIDTH, HEIGHT, QUALITY, CLASSES = 500, 375, 90, 4
SIDE, KEPT, SMALLEST, BATCH = 224, 256, 0.35, 32
STEPS = 4  # training steps of an epoch with a network
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FILL = (124, 116, 104)  # the mean
AUGMENTATION = PhotoAugmentation(SIDE, SMALLEST, "bilinear", AugmentationPlan(0, True, 0))
STORE, STREAM, WORKERS = "erde, from the store", "erde, streaming", (0, 1, 2)
TIMED = 48  # photos of the table of stages
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
        with Peak() as peak:
            for _ in epochs():
                pass
        return float(peak.value)

    return epoch


class Peak:
    """Largest anonymous memory of this process and its children while the block runs, in bytes."""

    def __enter__(self) -> Peak:
        self.value = 0
        self._over = Event()
        self._thread = Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.value = max(self.value, sum(map(anonymous_bytes, [os.getpid(), *children()])))
            if self._over.wait(0.02):
                return


def anonymous_bytes(process: int) -> int:
    """Anonymous memory of a process, shared pages in equal parts; 0 if the process has ended."""
    with suppress(OSError):
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
        found = re.search(r"Pss_Anon:\s+(\d+) kB", text)
        return int(found[1]) * 1024 if found else 0
    return 0


def children() -> list[int]:
    """Numbers of the worker processes."""
    with suppress(OSError):
        lists = Path("/proc/self/task").glob("*/children")
        return [int(number) for path in lists for number in path.read_text().split()]
    return []


def stages(root: Path) -> dict[str, float]:
    """Milliseconds of processor time per photo of each stage, on one thread."""
    paths = [str(path) for path in sorted(root.glob("train/*/*.jpg"))[:TIMED]]
    kept = decode_files(paths, KEPT)
    squares = np.frombuffer(bytearray(kept.pixels), np.uint8).reshape(-1, KEPT, KEPT, 3)
    crop = PhotoAugmentation(SIDE, SMALLEST, "bilinear", AugmentationPlan(0, True, 0))
    views = [crop.view_of(square, 4 / 3, 0, 0, 0) for square in squares]
    encoded = [Path(path).read_bytes() for path in paths]
    decoded = [Image.open(BytesIO(content)).convert("RGB") for content in encoded]
    transform, step = usual_transform(), training_step()
    batch = torch.rand(len(paths), 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(len(paths), dtype=torch.int64)

    def each(work: Callable[[Any], object], over: Sequence[Any]) -> Callable[[], object]:
        return lambda: [work(one) for one in over]

    timed: dict[str, Callable[[], object]] = {
        "erde: decode, hash and resize to 256x256, once": lambda: decode_files(paths, KEPT),
        "erde: random crop, mirror image": each(
            lambda square: crop.view_of(square, 4 / 3, 0, 0, 0), squares
        ),
        "erde: TrivialAugment": lambda: [
            trivially_augmented(view, FILL, seed) for seed, view in enumerate(views)
        ],
        "ImageFolder: decode": each(
            lambda content: Image.open(BytesIO(content)).convert("RGB"), encoded
        ),
        "ImageFolder: random crop, mirror image, tensor": each(transform, decoded),
        "network: training step": lambda: step(batch, labels),
    }
    return {name: milliseconds(work, len(paths)) for name, work in timed.items()}


def milliseconds(work: Callable[[], object], count: int) -> float:
    """Least processor time of three calls, in milliseconds per photo."""
    seconds = []
    for _ in range(3):
        start = process_time()
        work()
        seconds.append(process_time() - start)
    return 1000 * min(seconds) / count


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
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        by_stage = stages(root)
        torch.set_num_threads(threads)
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
    whole = {"first_start_seconds": first, "sides": document, "stage_milliseconds": by_stage}
    print_results(title, columns, rows, given.json, {"photos": whole})
    if not given.json:
        print(
            "\nGain: over the fastest of ImageFolder. Processor time of each stage, one thread:\n"
        )
        print_table(["stage", "ms per photo"], [[k, f"{v:.2f}"] for k, v in by_stage.items()])


if __name__ == "__main__":
    main()
