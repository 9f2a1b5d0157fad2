"""The text of a first recipe: each choice with its reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from erde_cli.core.figures import percent
from erde_cli.core.recipe.photo_starting_point import PhotoChoice
from erde_cli.core.recipe.starting_point import MOST_EPOCHS, SIZES, Choice, Machine
from erde_cli.core.workflows.first_recipe_photos import (
    Rows,
    augmentation_rows,
    cache_rows,
    network_rows,
    pixel_rows,
    training_rows,
)

_UNEVEN = 2  # ratio of class sizes above which class weights are suggested
_COLUMN = 28  # of comments, unless the line is longer

_PIXELS = {
    "unreadable": "some files are not readable images: they are skipped and listed",
    "bit_depth": "of grey images with more than 8 bits: covers every value",
    "frames": "some files contain several images: the first is used",
    "transparent": "or black: background of transparent pixels",
}
_SCHEDULE = "schedule: one_cycle"


@dataclass(frozen=True)
class FolderSummary:
    """A folder's images and their splits.

    train: number of train images. side: median of the shorter side in pixels. shapes: (width,
    height) with counts, most frequent first. grey: share of grey images. smallest, largest: images
    and name of the smallest and largest class. The fractions are None if the split has a folder.
    """

    images: int
    classes: int
    train: int
    side: float
    shapes: list[tuple[tuple[int, int], int]]
    grey: float
    smallest: tuple[int, str]
    largest: tuple[int, str]
    calibration_fraction: float | None
    test_fraction: float | None


def recipe_text(
    root: str,
    name: str,
    summary: FolderSummary,
    choice: Choice | PhotoChoice,
    machine: Machine,
    minutes: float,
    pixels: Mapping[str, str | int],
) -> str:
    """Write a recipe as YAML.

    Args:
        root: folder of the images, as written in the recipe.
        name: of the run.
        summary: of the images.
        choice: networks, sizes and epochs.
        machine: for which they were chosen.
        minutes: for which they were chosen.
        pixels: keys of the data section for reading files.
    """
    images = f"{summary.images:,} images of {summary.classes} classes"
    lines = [
        f"# {images}: {_shapes(summary)}, {_colours(summary)}",
        f"# Chosen by erde init for {_minutes(minutes)} on {machine}, from a fixed table.",
        "# Edit it as you like. All keys: erde recipes schema, or docs/recipes.md.",
        "",
        f"name: {_quoted(name)}",
        _line("seed: 1", "the same seed gives the same networks on the same machine"),
        "",
        *_data(root, summary, choice, pixels),
        "",
        *_networks(choice),
        "",
        *_training(summary, choice),
        "",
        "calibration:",
        _line("  max_drop: 1", "accuracy points below the student's own last exit"),
    ]
    return "\n".join(lines) + "\n"


def _data(
    root: str,
    summary: FolderSummary,
    choice: Choice | PhotoChoice,
    pixels: Mapping[str, str | int],
) -> list[str]:
    return [
        "data:",
        "  dataset: imagefolder",
        _line(f"  root: {_quoted(root)}", "relative to this file" * (root[0] != "/")),
        _line(f"  image_size: {choice.image_size}", _size(summary, choice)),
        *_lines(pixel_rows() if isinstance(choice, PhotoChoice) else []),
        *_fractions(summary),
        *(_line(f"  {key}: {value}", _PIXELS[key]) for key, value in pixels.items()),
        "  augmentation:",
        *_augmentation(choice),
    ]


def _augmentation(choice: Choice | PhotoChoice) -> list[str]:
    if isinstance(choice, PhotoChoice):
        return _lines(augmentation_rows(choice))
    return [
        _line(f"    crop: {choice.image_size // 8}", "pixels of padding: an eighth of the side"),
        _line("    flip: true", "set to false if left and right differ, as in text"),
    ]


def _networks(choice: Choice | PhotoChoice) -> list[str]:
    if isinstance(choice, PhotoChoice):
        return _lines(network_rows(choice))
    return [
        _line("teacher:", f"{choice.pair.name}: the largest in the table that trains in the time"),
        *_network(choice.pair.teacher),
        _line("  exits: 3", "including the last, evenly spaced in multiply-adds"),
        "",
        _line("student:", "what runs on the device"),
        *_network(choice.pair.student),
        "  exits: 3",
        _line("  exit_weights: [1, 2, 3]", "deeper exits count more (docs/evidence.md)"),
    ]


def _training(summary: FolderSummary, choice: Choice | PhotoChoice) -> list[str]:
    return [
        "distillation:",
        _line("  method: erde", "or kd, or cross_entropy (no teacher)"),
        "  temperature: 4",
        _line("  weights: {cross_entropy: 1, distillation: 3, entropy: 1}", "docs/evidence.md"),
        *_lines(cache_rows(choice) if isinstance(choice, PhotoChoice) else []),
        "",
        *_hyperparameters(choice),
        *_weights(summary),
    ]


def _hyperparameters(choice: Choice | PhotoChoice) -> list[str]:
    if isinstance(choice, PhotoChoice):
        return _lines(training_rows(choice))
    rate = 0.1 * choice.batch_size / 64
    return [
        _line("training:", _epochs(choice)),
        f"  teacher: {_settings(choice, rate)}",
        f"  student: {_settings(choice, 2 * rate)}",
    ]


def _quoted(text: str) -> str:
    """Any text as a YAML string."""
    return json.dumps(text, ensure_ascii=False)


def _line(text: str, reason: str) -> str:
    return f"{text:<{_COLUMN}} # {reason}" if reason else text


def _lines(rows: Rows) -> list[str]:
    return [_line(*row) for row in rows]


def _shapes(summary: FolderSummary) -> str:
    (width, height), _ = summary.shapes[0]
    if len(summary.shapes) == 1:
        return f"{width} x {height} pixels"
    return f"of several sizes, the shorter side usually {summary.side:g} pixels"


def _colours(summary: FolderSummary) -> str:
    if summary.grey in (0, 1):
        return "grey" if summary.grey else "in colour"
    return f"{percent(summary.grey, 0)} % grey"


def _size(summary: FolderSummary, choice: Choice | PhotoChoice) -> str:
    if isinstance(choice, PhotoChoice):
        return f"of the teacher's square; the shorter side of the images: {summary.side:g}"
    if choice.image_size > summary.side:
        return f"the images have {summary.side:g}: small images train better when enlarged"
    if choice.image_size == summary.side:
        return "the size of the images"
    why = "the largest in the table" if choice.image_size == SIZES[-1] else "what the time allows"
    return f"side of the resized images: {why}"


def _fractions(summary: FolderSummary) -> list[str]:
    lines = []
    if summary.calibration_fraction is not None:
        text = f"  calibration_fraction: {summary.calibration_fraction:g}"
        lines.append(_line(text, "of train; there is no folder valid/"))
    if summary.test_fraction is not None:
        text = f"  test_fraction: {summary.test_fraction:g}"
        lines.append(_line(text, "of all; there is no folder test/"))
    return lines


def _network(keys: str) -> list[str]:
    return [f"  {pair}" for pair in keys.split(", ")]


def _epochs(choice: Choice) -> str:
    if choice.epochs < choice.wanted:
        return f"the time allows {choice.epochs} epochs; {choice.wanted} would be enough"
    if choice.epochs == MOST_EPOCHS:
        return f"{MOST_EPOCHS} epochs: more would improve little"
    return f"as many epochs as the time allows; {choice.wanted} would be enough"


def _minutes(minutes: float) -> str:
    return f"{minutes:g} minute{'' if minutes == 1 else 's'}"


def _settings(choice: Choice, rate: float) -> str:
    return (
        f"{{epochs: {choice.epochs}, batch_size: {choice.batch_size}, "
        f"learning_rate: {rate:g}, {_SCHEDULE}}}"
    )


def _weights(summary: FolderSummary) -> list[str]:
    (few, rare), (many, frequent) = summary.smallest, summary.largest
    if many <= _UNEVEN * few:
        return []
    sizes = f"{_quoted(frequent)} has {many:,} images, {_quoted(rare)} {few:,}"
    return [f"  # {sizes}: class_weights: balanced would give rare classes more weight"]
