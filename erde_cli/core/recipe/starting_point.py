"""A recipe to start from, chosen from a fixed table: images and minutes in, sizes and epochs out.

Nothing is measured here, so that the same images give the same recipe on a machine that is busy.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

# Trained images per second of each pair of networks at 32 x 32 pixels, teacher and student, on 2
# threads of a CPU; the student's with its teacher's answers. Printed by
# `python -m benchmarks.starting_point` ("avx2" as emulated on a processor with AVX512); "other" and
# what is on an accelerator are computed, not run.
SPEEDS: dict[str, dict[str, tuple[float, float]]] = {
    "avx512-bf16": {"wide": (50, 125), "middle": (460, 915), "narrow": (1130, 1590)},
    "avx512": {"wide": (27, 67), "middle": (260, 570), "narrow": (880, 1300)},
    "avx2": {"wide": (22, 60), "middle": (240, 540), "narrow": (780, 1250)},
    "other": {"wide": (10, 30), "middle": (120, 280), "narrow": (400, 650)},
    "mps": {"wide": (300, 700), "middle": (3000, 6000), "narrow": (6000, 9000)},
    "cuda": {"wide": (2500, 4500), "middle": (12000, 16000), "narrow": (16000, 20000)},
}
_ACCELERATORS = ("mps", "cuda")
_OF_THREADS = ((1, 0.55), (2, 1.0), (4, 1.8), (8, 3.0), (16, 4.5))  # times the speed of 2

SIZES = (16, 24, 32, 48, 64, 96, 128)  # pixels a side
_MARGIN = 0.85  # of the minutes: a plan is an estimate
_STARTING = 15.0  # seconds: start, decoding, thresholds, pictures
_STEPS = 3000  # of a training that is long enough
_FEWEST, _ENOUGH = 12, 60  # epochs that are wanted, at least and at most
MOST_EPOCHS = 100
_FEW, _MANY = 1_000, 10_000  # train images below which a batch is smaller, from which it is larger


@dataclass(frozen=True)
class Pair:
    """A teacher and a student, as a recipe's sections.

    cost: of the teacher, in M MACs at 32 x 32 pixels. least: train images that fill it.
    """

    name: str
    teacher: str
    student: str
    cost: float
    least: int = 0


PAIRS = (
    Pair(
        "wide",
        "backbone: wrn, depth: 40, widening: 4",
        "backbone: wrn, depth: 16, widening: 2",
        1310,
        least=5_000,
    ),
    Pair(
        "middle",
        "backbone: resnet, depth: 14, width: 32",
        "backbone: resnet, depth: 8, width: 16",
        106,
    ),
    Pair(
        "narrow",
        "backbone: resnet, depth: 14, width: 16",
        "backbone: resnet, depth: 8, width: 8",
        26.5,
    ),
)


@dataclass(frozen=True)
class Machine:
    """What the table knows of a machine: a kind of processor or accelerator, and threads."""

    kind: str
    threads: int

    def __str__(self) -> str:
        if self.kind in _ACCELERATORS:
            return self.kind
        return f"{self.kind}, {self.threads} thread{'' if self.threads == 1 else 's'}"

    def seconds_per_image(self, pair: Pair, size: int) -> tuple[float, float]:
        """Seconds in which an image of `size` pixels is trained by teacher and by student."""
        factor = (size / 32) ** 2
        if self.kind not in _ACCELERATORS:
            factor /= max(times for threads, times in _OF_THREADS if threads <= self.threads)
        teacher, student = SPEEDS[self.kind][pair.name]
        return factor / teacher, factor / student


@dataclass(frozen=True)
class Choice:
    """What the table gives; `seconds` of the whole run, as the table has it.

    wanted: the epochs of a training that is long enough; there are fewer where minutes are few.
    """

    image_size: int
    pair: Pair
    batch_size: int
    epochs: int
    wanted: int
    seconds: float


def choose(images: int, side: float, machine: Machine, minutes: float) -> Choice:
    """Choose sizes and epochs: the dearest networks that can be trained long enough in the time.

    Args:
        images: in the train split.
        side: the images' usual shorter side, in pixels.
        machine: where they are trained.
        minutes: that the whole run may take.
    """
    batch = 128 if images >= _MANY else 64 if images >= _FEW else 32
    steps = max(1, images // min(batch, images))
    wanted = min(_ENOUGH, max(_FEWEST, ceil(_STEPS / steps)))
    seconds = max(1.0, 60 * minutes * _MARGIN - _STARTING)
    ladder = sorted(
        ((pair, size) for pair in PAIRS if images >= pair.least for size in _sizes(side)),
        key=lambda rung: (rung[0].cost * rung[1] ** 2, rung[1]),
        reverse=True,
    )
    for pair, size in ladder:
        epoch = images * sum(machine.seconds_per_image(pair, size))
        epochs = min(MOST_EPOCHS, int(seconds / epoch))
        if epochs >= wanted:
            return Choice(size, pair, batch, epochs, wanted, _STARTING + epochs * epoch)
    epochs = max(2, epochs)
    return Choice(size, pair, batch, epochs, wanted, _STARTING + epochs * epoch)


def _sizes(side: float) -> list[int]:
    """Sizes that make sense for images: little is gained above their own, and lost down to 32."""
    largest = max((size for size in SIZES if size <= 1.25 * side), default=SIZES[0])
    return [size for size in SIZES if min(largest, 32) <= size <= largest]
