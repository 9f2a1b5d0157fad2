"""Measure loading a folder of images: first and second start of erde, and torchvision.

python -m benchmarks.decoding [--images 20000] [--repeats 5] [--json] [--folder FOLDER]

All sides read the images of FOLDER/train. erde lists, hashes, splits and decodes them, with an
empty cache and again with a full one. torchvision's ImageFolder lists and decodes them in one
process. The files are in the system's cache for all sides.
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

from benchmarks.measure import arguments, interleave, print_results, ratios, show, spread
from benchmarks.networks import CLASSES, SIZE
from erde_cli.core.data.opening import open_dataset
from erde_cli.core.data.splits import SPLITS
from erde_cli.core.platform.torchvision_import import torchvision_datasets
from erde_cli.core.recipe.sections.data import Data
from erde_cli.core.storage.cache import VARIABLE

FIRST, SECOND, OTHER = "erde, first start", "erde, second start", "ImageFolder, one process"
COARSE = 8  # side of the noise that is enlarged to an image, in pixels

Images = Sequence[NDArray[np.uint8]]  # parts of the data set: [n, height, width, 3], or one image


def write_images(root: Path, count: int) -> None:
    """Write `count` compressible random PNGs to `root/train`, and one of each class to `root/test`.

    With a test folder, erde uses all of `root/train` for train and calibration.
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
    """Open all images of `root/train`, in memory or mapped, as `erde train-teacher` does."""
    dataset = open_dataset(Data(dataset="imagefolder", root=str(root), image_size=size))
    # Without a test folder, the test split is also a part of `root/train`.
    splits = SPLITS[:2] if (root / "test").is_dir() else SPLITS
    parts = [dataset.load(split).images.numpy() for split in splits]
    for part in parts:
        part.max()  # reads a mapped file
    return parts


def with_image_folder(root: Path) -> Images:
    """Load all images of `root/train` with torchvision."""
    folder = torchvision_datasets().ImageFolder(root / "train")
    return [np.asarray(image) for image, _ in folder]


def start_anew(caches: ExitStack) -> None:
    """Use a new, empty folder as erde's cache, and remove the last one."""
    caches.close()
    os.environ[VARIABLE] = caches.enter_context(TemporaryDirectory())


def timed(read: Callable[[], Images], before: Callable[[], None] | None = None) -> float:
    """Seconds of reading, without `before` and freeing the images."""
    if before is not None:
        before()
    gc.collect()  # otherwise a full collection hits one side by chance
    start = perf_counter()
    images = read()
    seconds = perf_counter() - start
    del images
    return seconds


def check_same_images(reads: Sequence[Callable[[], Images]]) -> int:
    """Number of bytes that each side reads; also a warm-up.

    Raises:
        SystemExit: the sides read different images.
    """
    sums = []
    for read in reads:
        parts = read()
        sums.append((sum(part.size for part in parts), sum(int(part.sum()) for part in parts)))
    if len(set(sums)) > 1:
        raise SystemExit(
            f"The sides read different images (bytes and their sum: {sums}). "
            "In --folder, all images must be square and of one size."
        )
    return sums[0][0]


def measure(root: Path, repeats: int) -> tuple[int, dict[str, list[float]]]:
    """Number of images, and seconds of each side and round."""
    size = side_of(root)

    def ours() -> Images:
        return with_erde(root, size)

    def theirs() -> Images:
        return with_image_folder(root)

    with ExitStack() as caches:
        start_anew(caches)
        count = check_same_images([ours, ours, theirs]) // (3 * size * size)
        sides = {
            FIRST: lambda: timed(ours, lambda: start_anew(caches)),
            SECOND: lambda: timed(ours),
            OTHER: lambda: timed(theirs),
        }
        return count, interleave(sides, repeats)


def main() -> None:
    """Measure a given folder, or a temporary one."""
    given = arguments(
        __doc__ or "",
        images={"type": int, "default": 20_000, "help": "images to make (default: %(default)s)"},
        folder={"type": Path, "help": "folder with train/<class>/*, instead of a temporary one"},
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
    print_results(
        f"Opening {count:,} images",
        ["side", "seconds", "images/s", "gain over ImageFolder"],
        rows,
        given.json,
        {"decoding": {"images": count, "sides": document}},
    )


if __name__ == "__main__":
    main()
