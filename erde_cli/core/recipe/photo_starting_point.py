"""Choose the settings of a new recipe for photos, which starts from pretrained networks.

As in `starting_point.py`, everything comes from a fixed table and nothing is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from erde_cli.core.recipe.starting_point import Machine, seconds_for_training

TEACHER, STUDENT = "torchvision/efficientnet_b0", "torchvision/mobilenet_v3_small"
INTERPOLATION = "bicubic"  # of the teacher's weights, whose features do not change
EXITS = 4
VIEWS = 4  # random views per photo, for each of which the teacher runs once
STUDENT_SIZES = {224: 160, 192: 128, 160: 128, 128: 96}  # by the teacher's image size, in pixels
HEADS_BATCH, STUDENT_BATCH = 128, 32

# Images per second on 2 CPU threads: the teacher without gradients at 224 x 224 pixels, a training
# step of the student without its teacher, and the student without gradients, both at 160 x 160.
# Medians of 3 on an idle Intel Xeon with AMX; "avx2" is emulated there. `python -m
# benchmarks.starting_point --photos` measures them. "other", "mps" and "cuda" are estimates.
PHOTO_SPEEDS: dict[str, tuple[float, float, float]] = {
    "avx512-bf16": (105, 110, 430),
    "avx512": (90, 105, 490),
    "avx2": (65, 105, 500),
    "other": (15, 30, 120),
    "mps": (150, 200, 800),
    "cuda": (1000, 500, 2000),
}
_SIDE, _STUDENT_SIDE = 224, 160  # pixels of the table

_LEAST_SIDE = 128  # of photos, in pixels
_MOST_IMAGES = 20_000  # train images; more of them train networks of their own
_EVALUATED = 1.0  # passes over the train images that take as long as all evaluations, in float32
_FEWEST, _ENOUGH, _STEPS = 5, 20, 900  # epochs of the student; steps that suffice
_MOST = 100
_HEADS_EPOCHS, _HEADS_STEPS, _HEADS_MOST = 30, 330, 300  # the same for heads; steps take no time


@dataclass(frozen=True)
class PhotoChoice:
    """The chosen settings.

    image_size: of the teacher, in pixels. heads_epochs: of networks of which only the heads are
    trained. epochs: of the student. wanted: of its epochs, those that suffice. heads_only: whether
    only the student's heads are trained, because the time is too short for more. seconds: estimate
    for the networks.
    """

    image_size: int
    heads_epochs: int
    epochs: int
    wanted: int
    heads_only: bool
    seconds: float

    @property
    def student_size(self) -> int:
        """Side of the student's images in pixels."""
        return STUDENT_SIZES[self.image_size]


def suits_photos(images: int, side: float) -> bool:
    """Whether images are large and few enough to start from pretrained networks.

    Args:
        images: number of train images.
        side: typical shorter side of the images, in pixels.
    """
    return side >= _LEAST_SIDE and images <= _MOST_IMAGES


def choose_for_photos(images: int, side: float, machine: Machine, minutes: float) -> PhotoChoice:
    """Choose the image size, and what is trained of the student, by the given time.

    Args:
        images: number of train images.
        side: typical shorter side of the images, in pixels.
        machine: the machine that trains.
        minutes: time limit of the whole run.
    """
    seconds = seconds_for_training(minutes)
    smallest = min(STUDENT_SIZES)
    sizes = [size for size in STUDENT_SIZES if size <= max(1.25 * side, smallest)]
    heads = _epochs(images, HEADS_BATCH, _HEADS_STEPS, _HEADS_EPOCHS, _HEADS_MOST)
    wanted = _epochs(images, STUDENT_BATCH, _STEPS, _ENOUGH, _MOST)
    fixed, epoch = _seconds_to_train(images, sizes[0], machine)
    epochs = min(wanted, int((seconds - fixed) / epoch))
    if epochs >= _FEWEST:
        return PhotoChoice(sizes[0], heads, epochs, wanted, False, fixed + epochs * epoch)
    times = {size: _seconds_of_heads(images, size, machine) for size in sizes}
    size = next((size for size in sizes if times[size] <= seconds), sizes[-1])
    return PhotoChoice(size, heads, heads, heads, True, times[size])


def _epochs(images: int, batch: int, steps: int, least: int, most: int) -> int:
    """Epochs that suffice: those of enough steps, within bounds."""
    return min(most, max(least, ceil(steps / max(1, images // batch))))


def _seconds_per_image(size: int, machine: Machine) -> tuple[float, float, float]:
    """Seconds per image of teacher, student's step and student, at a size of the teacher."""
    teacher, step, student = PHOTO_SPEEDS[machine.kind]
    factor = (size / _SIDE) ** 2 / machine.relative_speed
    of_student = (STUDENT_SIZES[size] / _STUDENT_SIDE) ** 2 / machine.relative_speed
    return factor / teacher, of_student / step, of_student / student


def _seconds_to_train(images: int, size: int, machine: Machine) -> tuple[float, float]:
    """Seconds of everything but the student's epochs, and of one of those."""
    teacher, step, student = _seconds_per_image(size, machine)
    passes = 1 + VIEWS + _EVALUATED
    return images * (passes * teacher + _EVALUATED * student), images * step


def _seconds_of_heads(images: int, size: int, machine: Machine) -> float:
    """Seconds of a run in which only heads are trained: features, the teacher's logits."""
    teacher, _, student = _seconds_per_image(size, machine)
    return images * ((2 + _EVALUATED) * teacher + (1 + _EVALUATED) * student)
