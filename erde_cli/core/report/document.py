"""What a report contains, before it becomes HTML or Markdown."""

from __future__ import annotations

from dataclasses import dataclass

from erde_cli.core.arrays import BoolArray, FloatArray


@dataclass(frozen=True)
class Fact:
    """A figure or a sentence with its name, as text to show."""

    name: str
    value: str


@dataclass(frozen=True)
class TradePoint:
    """One point: expected MACs, accuracy (0 to 1) and what it is, such as 'teacher, exit 2 of 3'.

    thresholds: as shown by the command line; empty for a static network. held_out: accuracy and
    MACs, in this order, on images that did not choose the thresholds, or None.
    """

    name: str
    macs: float
    accuracy: float
    thresholds: str = ""
    held_out: tuple[float, float] | None = None


@dataclass(frozen=True)
class TradeCurve:
    """A network under a growing threshold: [points] arrays; low and high bound a band, or None."""

    name: str
    macs: FloatArray
    accuracy: FloatArray
    thresholds: tuple[str, ...] = ()
    low: FloatArray | None = None
    high: FloatArray | None = None


@dataclass(frozen=True)
class TradeOffSection:
    """The curves of one split, and points in them: exits as static networks, teacher, chosen.

    note: a sentence about the images of the chosen point, or "".
    """

    split: str
    images: int
    curves: tuple[TradeCurve, ...]
    points: tuple[TradePoint, ...]
    note: str = ""


@dataclass(frozen=True)
class Explorer:
    """What the sliders for θ need: the calibration images that may choose thresholds.

    scores: float32 [images, exits], at the exit's temperature. correct: bool [images, exits].
    costs: MACs of leaving at each exit. milliseconds: likewise, or None. thresholds: the
    calibrated ones, one per exit but the last (inf: always), or None. certified: one sentence about
    the guarantee of the calibrated ones, or "". images_of: such as 'the tuning half'.
    all_images: their number before a fixed part was taken. limit: the score's largest value.
    command: words of the shell command, with '{thresholds}' where they go. note: a sentence about
    the figures that were stored with the calibrated thresholds, or "".
    """

    scores: FloatArray
    correct: BoolArray
    costs: tuple[float, ...]
    milliseconds: tuple[float, ...] | None
    thresholds: tuple[float, ...] | None
    certified: str
    images_of: str
    all_images: int
    score: str
    unit: str
    limit: float
    command: str
    note: str = ""


@dataclass(frozen=True)
class Thumbnail:
    """A calibration image as PNG or JPEG bytes, at most 64 pixels a side."""

    image: bytes
    media_type: str
    label: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class ExitImages:
    """Images of one exit (0-based): the surest right and wrong ones, and those passed on."""

    exit: int
    surest_right: tuple[Thumbnail, ...]
    surest_wrong: tuple[Thumbnail, ...]
    passed_on: tuple[Thumbnail, ...]


@dataclass(frozen=True)
class ClassesSection:
    """Test images by class: confusion counts [exits, classes, classes] (row: true class).

    left: share of each class's images that leave at each exit, [classes, exits]; None without
    thresholds. adaptive: confusion under the thresholds [classes, classes], or None.
    """

    names: tuple[str, ...]
    confusion: FloatArray
    adaptive: FloatArray | None
    left: FloatArray | None


@dataclass(frozen=True)
class TrainingCurve:
    """One column of metrics.jsonl or timings.jsonl over epochs: values [points], NaN for none."""

    name: str
    group: str
    epochs: FloatArray
    values: FloatArray


@dataclass(frozen=True)
class TrainingSection:
    """The curves of one training: loss terms, accuracies, rate, skipped steps, speed."""

    role: str
    curves: tuple[TrainingCurve, ...]


@dataclass(frozen=True)
class Table:
    """A table to show as it is; cells are text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class ReportDocument:
    """A whole report; None or empty for a section that there is nothing for.

    kind: run, comparison or bundle. headline: the figures one looks for first. guarantee: its
    sentences. missing: sentences that name what could not be shown, and why. reproduce: how to
    make it again. recipe: its YAML text. about: what the network is. preprocessing: how an image
    becomes its input. usage: shell commands. where: in which folder to type them, or "" where they
    work as they are. license: of the weights; "" if the recipe names none.
    """

    kind: str
    title: str
    headline: tuple[Fact, ...]
    guarantee: tuple[str, ...] = ()
    trade_off: TradeOffSection | None = None
    explorer: Explorer | None = None
    images: tuple[ExitImages, ...] = ()
    classes: ClassesSection | None = None
    training: tuple[TrainingSection, ...] = ()
    tables: tuple[Table, ...] = ()
    reproduce: tuple[Fact, ...] = ()
    recipe: str = ""
    missing: tuple[str, ...] = ()
    about: tuple[Fact, ...] = ()
    preprocessing: tuple[Fact, ...] = ()
    usage: tuple[str, ...] = ()
    where: str = ""
    license: str = ""
