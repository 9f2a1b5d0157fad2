"""Choose image size, networks and epochs of a new recipe from a fixed table.

Nothing is measured, so that the same images give the same recipe on a busy machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from erde_cli.core.figures import counted

# Training speed of teacher and student in images per second, at 32 x 32 pixels on 2 CPU threads.
# The student's includes the teacher's forward pass. Measured by
# `python -m benchmarks.starting_point` ("avx2" is emulated on a processor with AVX512). "other",
# "mps" and "cuda" are estimates.
SPEEDS: dict[str, dict[str, tuple[float, float]]] = {
    "avx512-bf16": {"wide": (50, 125), "middle": (460, 915), "narrow": (1130, 1590)},
    "avx512": {"wide": (27, 67), "middle": (260, 570), "narrow": (880, 1300)},
    "avx2": {"wide": (22, 60), "middle": (240, 540), "narrow": (780, 1250)},
    "other": {"wide": (10, 30), "middle": (120, 280), "narrow": (400, 650)},
    "mps": {"wide": (300, 700), "middle": (3000, 6000), "narrow": (6000, 9000)},
    "cuda": {"wide": (2500, 4500), "middle": (12000, 16000), "narrow": (16000, 20000)},
}
_ACCELERATORS = ("mps", "cuda")
_SPEEDUPS = ((1, 0.55), (2, 1.0), (4, 1.8), (8, 3.0), (16, 4.5))  # threads, speed relative to 2

SIZES = (16, 24, 32, 48, 64, 96, 128)  # side of an image in pixels
_MARGIN = 0.85  # share of the minutes to use, since the speeds are estimates
_STARTING = 15.0  # seconds for the start, decoding, thresholds and figures
_STEPS = 3000  # training steps that suffice
_FEWEST, _ENOUGH = 12, 60  # bounds of the epochs that suffice
MOST_EPOCHS = 100
_FEW, _MANY = 1_000, 10_000  # train images: a smaller batch below, a larger batch from


@dataclass(frozen=True)
class Pair:
    """A teacher and a student as YAML text of their sections.

    cost: of the teacher in M MACs at 32 x 32 pixels. least: smallest number of train images.
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
    """A machine as the table describes it: kind of processor or accelerator, and threads."""

    kind: str
    threads: int

    def __str__(self) -> str:
        if self.kind in _ACCELERATORS:
            return self.kind
        return f"{self.kind}, {counted(self.threads, 'thread')}"

    @property
    def relative_speed(self) -> float:
        """Speed relative to 2 threads; 1 for an accelerator."""
        if self.kind in _ACCELERATORS:
            return 1.0
        return max(times for threads, times in _SPEEDUPS if threads <= self.threads)

    def seconds_per_image(self, pair: Pair, size: int) -> tuple[float, float]:
        """Seconds per training image of `size` pixels, of teacher and of student."""
        factor = (size / 32) ** 2 / self.relative_speed
        teacher, student = SPEEDS[self.kind][pair.name]
        return factor / teacher, factor / student


@dataclass(frozen=True)
class Choice:
    """The chosen settings. `seconds` is the estimate for the whole run.

    wanted: epochs that suffice; `epochs` is smaller if the time is too short.
    """

    image_size: int
    pair: Pair
    batch_size: int
    epochs: int
    wanted: int
    seconds: float


def seconds_for_training(minutes: float) -> float:
    """Seconds that a run limited to `minutes` has for its networks."""
    return max(1.0, 60 * minutes * _MARGIN - _STARTING)


def choose(images: int, side: float, machine: Machine, minutes: float) -> Choice:
    """Choose the most expensive networks that can be trained for enough epochs in the given time.

    Args:
        images: number of train images.
        side: typical shorter side of the images, in pixels.
        machine: the machine that trains.
        minutes: time limit of the whole run.
    """
    batch = 128 if images >= _MANY else 64 if images >= _FEW else 32
    steps = max(1, images // min(batch, images))
    wanted = min(_ENOUGH, max(_FEWEST, ceil(_STEPS / steps)))
    seconds = seconds_for_training(minutes)
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
    """Image sizes to consider: from 32 pixels, or less for small images, to about their side."""
    largest = max((size for size in SIZES if size <= 1.25 * side), default=SIZES[0])
    return [size for size in SIZES if min(largest, 32) <= size <= largest]
