"""Seconds until a folder of images is in memory: erde's first and second start, and torchvision's.

python -m benchmarks.decoding [--images 20000] [--repeats 5] [--json] [--folder FOLDER]

All sides read the images of FOLDER/train: erde lists, hashes, splits and decodes them, with an
empty cache and again with the filled one; torchvision's ImageFolder lists and decodes them once,
in one process. The files lie in the system's cache, the same for all sides.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.measure import arguments, interleave, ratios, show, spread, tell
from benchmarks.networks import CLASSES, SIZE
from erde_cli.core.data.dataset import open_dataset
from erde_cli.core.data.splits import SPLITS
from erde_cli.core.platform.torchvision_import import torchvision_datasets
from erde_cli.core.recipe.sections.data import Data
from erde_cli.core.storage.cache import VARIABLE

FIRST, SECOND, OTHER = "erde, first start", "erde, second start", "ImageFolder, one process"
COARSE = 8  # side of the noise that a picture is enlarged from, in pixels

Images = Sequence[NDArray[np.uint8]]  # parts of the data set: [n, height, width, 3], or one image


def write_images(root: Path, count: int) -> None:
    """Write `count` compressible random PNGs to `root/train`, and one of each class to `root/test`.

    Since there is a test folder, erde's train and calibration are all of `root/train`.
    """
    generator = np.random.Generator(np.random.Philox(1))
    for label in range(CLASSES):
        for split in ("train", "test"):
            (root / split / f"class{label}").mkdir(parents=True)
    noise = generator.integers(0, 256, (count + CLASSES, COARSE, COARSE, 3), dtype=np.uint8)
    for number, pixels in enumerate(noise):
        split = "train" if number < count else "test"
        image = Image.fromarray(pixels).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        image.save(root / split / f"class{number % CLASSES}" / f"{number:06}.png")


def side_of(root: Path) -> int:
    """Side of the first image in `root/train`, in pixels."""
    try:
        image, _ = torchvision_datasets().ImageFolder(root / "train")[0]
    except FileNotFoundError as error:
        raise SystemExit(f"--folder needs train/<class>/*: {error}") from error
    return int(image.width)


def with_erde(root: Path, size: int) -> Images:
    """All images of `root/train`, in memory or mapped, as `erde train-teacher` opens them."""
    dataset = open_dataset(Data(dataset="imagefolder", root=str(root), image_size=size))
    # Without a test folder the test split is a part of train as well.
    splits = SPLITS[:2] if (root / "test").is_dir() else SPLITS
    parts = [dataset.load(split).images.numpy() for split in splits]
    for part in parts:
        part.max()  # a mapped file is read when it is looked at, and not before
    return parts


def with_image_folder(root: Path) -> Images:
    """All images of `root/train`, in memory, by torchvision."""
    folder = torchvision_datasets().ImageFolder(root / "train")
    return [np.asarray(image) for image, _ in folder]


def start_anew(caches: ExitStack) -> None:
    """Name another, empty folder as erde's cache, and remove the one before it."""
    caches.close()
    os.environ[VARIABLE] = caches.enter_context(TemporaryDirectory())


def timed(read: Callable[[], Images], before: Callable[[], None] | None = None) -> float:
    """Seconds that reading takes; what comes before, and letting go of the images, is left out."""
    if before is not None:
        before()
    gc.collect()  # else a full collection falls on one side or another by chance
    start = perf_counter()
    images = read()
    seconds = perf_counter() - start
    del images
    return seconds


def see_that_all_agree(reads: Sequence[Callable[[], Images]]) -> int:
    """Number of bytes that every side reads; it also warms up.

    Raises:
        SystemExit: the sides read other bytes: they would not do the same work.
    """
    found = []
    for read in reads:
        parts = read()
        found.append((sum(part.size for part in parts), sum(int(part.sum()) for part in parts)))
    if len(set(found)) > 1:
        raise SystemExit(
            f"The sides read other images (bytes and their sum: {found}). "
            "In --folder, all images must be square and of one size."
        )
    return found[0][0]


def measure(root: Path, repeats: int) -> tuple[int, dict[str, list[float]]]:
    """Number of images, and the seconds of every side and round."""
    size = side_of(root)

    def ours() -> Images:
        return with_erde(root, size)

    def theirs() -> Images:
        return with_image_folder(root)

    with ExitStack() as caches:
        start_anew(caches)
        count = see_that_all_agree([ours, ours, theirs]) // (3 * size * size)
        sides = {
            FIRST: lambda: timed(ours, lambda: start_anew(caches)),
            SECOND: lambda: timed(ours),
            OTHER: lambda: timed(theirs),
        }
        return count, interleave(sides, repeats)


def main() -> None:
    """Measure a folder that is given, or one that is made for it."""
    given = arguments(
        __doc__ or "",
        images={"type": int, "default": 20_000, "help": "images to make (default: %(default)s)"},
        folder={"type": Path, "help": "folder with train/<class>/*, instead of one made anew"},
    )
    with ExitStack() as stack:
        root = given.folder
        if root is None:
            root = Path(stack.enter_context(TemporaryDirectory()))
            write_images(root, given.images)
        count, found = measure(root, given.repeats)
    rows, document = [], {}
    for name, seconds in found.items():
        speed = spread([count / each for each in seconds])
        gain = ratios(found[OTHER], seconds)
        rows.append([name, show(spread(seconds), 3), show(speed, 0), show(gain)])
        document[name] = {
            "seconds": spread(seconds), "images_per_second": speed, "over_image_folder": gain
        }  # fmt: skip
    tell(
        f"Opening {count:,} images",
        ["side", "seconds", "images/s", "gain over ImageFolder"],
        rows,
        given.json,
        {"decoding": {"images": count, "sides": document}},
    )


if __name__ == "__main__":
    main()
