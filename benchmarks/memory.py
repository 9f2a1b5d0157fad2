"""Measure the peak anonymous memory of `train-teacher` for two numbers of images; Linux only.

python -m benchmarks.memory [--sizes 20000 80000] [--steps 10] [--repeats 5] [--json]

Each run is a new process: it loads random 32x32 images into memory or maps their file, measures
their mean and standard deviation, and trains ResNet-8 for some steps as `benchmarks.training` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.measure import arguments, print_results, progress, show, spread
from benchmarks.networks import CLASSES, SIZE, random_images
from benchmarks.peak_memory import Peak, of_process
from benchmarks.peers import BATCH
from benchmarks.training import our_loop
from erde_cli.core.data.normalisation import Normalisation
from erde_cli.core.data.store import ImageStore
from erde_cli.core.events import Observer, StepEvent

Place = Literal["memory", "mapped file"]
PLACES: tuple[Place, ...] = get_args(Place)
NETWORK, EVERY, WRITTEN_AT_ONCE = "ResNet-8", 0.001, 4096  # name, seconds, images
BYTES = SIZE * SIZE * 3  # of an image
PARTS = ("normalisation", "training", "training_without_store")
MB = 1e6


class EnoughError(Exception):
    """The requested number of steps is done."""


class FewSteps(Observer):
    """Ends the training after some steps, rounded up to the next step event."""

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def step(self, event: StepEvent) -> None:
        """Stop after enough steps."""
        if event.step >= self._steps:
            raise EnoughError


def write_images(path: Path, count: int) -> None:
    """Write `count` random images to a file, uint8 [count, height, width, 3]."""
    with path.open("wb") as file:
        for start in range(0, count, WRITTEN_AT_ONCE):
            part = random_images(min(WRITTEN_AT_ONCE, count - start))
            part.images.numpy().tofile(file)


def open_store(path: Path, place: Place) -> ImageStore:
    """Images of a file, read into memory or mapped copy-on-write; the labels are random."""
    images: NDArray[np.uint8]
    if place == "memory":
        images = np.fromfile(path, dtype=np.uint8)
    else:
        images = np.memmap(path, dtype=np.uint8, mode="c")
    images = images.reshape(-1, SIZE, SIZE, 3)
    labels = torch.randint(CLASSES, (len(images),))
    return ImageStore(torch.from_numpy(images), labels, np.arange(len(images)))


def peaks(path: Path, place: Place, steps: int, threads: int) -> dict[str, float]:
    """Peak of each part of a training, in bytes; runs in a new process."""
    torch.set_num_threads(threads)
    with Peak(of_process, EVERY) as normalisation:
        store = open_store(path, place)
        Normalisation.of(store)
    with Peak(of_process, EVERY) as training, suppress(EnoughError):
        our_loop(NETWORK, store, FewSteps(steps))()
    return {"normalisation": normalisation.value, "training": training.value}


def in_new_process(*given: Any) -> dict[str, float]:
    """Run `peaks` in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(peaks, *given).result()


def measure(sizes: Sequence[int], steps: int, repeats: int) -> list[dict[str, Any]]:
    """Bytes of each size and place: median, smallest and largest."""
    runs: dict[tuple[Place, int], list[dict[str, float]]]
    runs = {(place, size): [] for place in PLACES for size in sizes}
    with TemporaryDirectory() as folder:
        for size in sizes:
            write_images(Path(folder) / str(size), size)
        for round_ in range(repeats):
            for (place, size), found in runs.items():
                progress(f"{size:,} images, {place}: round {round_ + 1} of {repeats}")
                path = Path(folder) / str(size)
                found.append(in_new_process(path, place, steps, torch.get_num_threads()))
    progress("")
    return [describe(size, place, found) for (place, size), found in runs.items()]


def describe(count: int, place: Place, runs: Sequence[dict[str, float]]) -> dict[str, Any]:
    """The runs of one size and place, in bytes."""
    store = count * BYTES
    held = store if place == "memory" else 0  # of the store, in anonymous memory
    return {
        "images": count,
        "images_in": place,
        "store": store,
        "normalisation": spread([run["normalisation"] for run in runs]),
        "training": spread([run["training"] for run in runs]),
        "training_without_store": spread([run["training"] - held for run in runs]),
    }


def growth(small: dict[str, Any], large: dict[str, Any]) -> dict[str, Any]:
    """Difference of the medians of two sizes, in bytes."""
    more = {part: large[part]["median"] - small[part]["median"] for part in PARTS}
    return {"images_in": small["images_in"], "store": large["store"] - small["store"], **more}


def row(found: dict[str, Any]) -> list[str]:
    """One size and place, in MB."""
    values = [{key: value / MB for key, value in found[part].items()} for part in PARTS]
    store = f"{found['store'] / MB:,.1f}"
    return [f"{found['images']:,}", found["images_in"], store, *(show(each, 1) for each in values)]


def row_of_growth(found: dict[str, Any]) -> list[str]:
    """Growth of one place, in MB."""
    values = [f"{found[part] / MB:+z,.1f}" for part in ("store", *PARTS)]
    return ["growth", found["images_in"], *values]


def main() -> None:
    """Measure both sizes in memory and mapped."""
    given = arguments(
        __doc__ or "",
        sizes={"type": int, "nargs": 2, "default": [20_000, 80_000], "help": "numbers of images"},
        steps={"type": int, "default": 10, "help": "steps, a multiple of 10"},
    )
    of_process()  # fails at once on other systems
    found = measure(sorted(given.sizes), given.steps, given.repeats)
    grown = [growth(*found[start : start + 2]) for start in range(0, len(found), 2)]
    print_results(
        f"Peak anonymous memory in MB, {NETWORK}, {SIZE}x{SIZE}, batch {BATCH}",
        ["images", "images in", "store", "measuring the normalisation", "training",
         "training, without the store"],
        [*map(row, found), *map(row_of_growth, grown)],
        given.json,
        {"memory": found, "growth": grown},
    )  # fmt: skip


if __name__ == "__main__":
    main()
