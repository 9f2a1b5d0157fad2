"""The text of a first recipe: each choice with its reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from erde_cli.core.recipe.starting_point import MOST_EPOCHS, SIZES, Choice, Machine

_UNEVEN = 2  # times the images of another class, from which weights are worth a thought
_COLUMN = 28  # where comments begin, if the line leaves room

_PIXELS = {
    "unreadable": "some files are no readable image: they are left out, and named",
    "bit_depth": "of grey images with more than 8 bits: no value needs more than these",
    "frames": "some files hold several images: the first of each is used",
    "transparent": "or black: what transparent pixels are laid on",
}
_SCHEDULE = "schedule: one_cycle"


@dataclass(frozen=True)
class Looks:
    """What a folder's images are, and how they are split.

    train: images, once the other splits are carved out. side: usual shorter side in pixels.
    shapes: width and height, the most frequent first. grey: share of the images. smallest, largest:
    images of that class, and its name. The fractions are None where a split has its own folder.
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
    looks: Looks,
    choice: Choice,
    machine: Machine,
    minutes: float,
    pixels: Mapping[str, str | int],
) -> str:
    """Write a recipe as YAML.

    Args:
        root: the folder of the images, as the recipe names it.
        name: of the run.
        looks: what the images are.
        choice: sizes and epochs.
        machine: that they were chosen for.
        minutes: that they were chosen for.
        pixels: keys of the data section that say how files become pixels.
    """
    images = f"{looks.images:,} images of {looks.classes} classes"
    lines = [
        f"# {images}: {_shapes(looks)}, {_colours(looks)}",
        f"# Chosen by erde init for {_minutes(minutes)} on {machine}, from a fixed table.",
        "# Change what you like; every key: erde recipes schema, or docs/recipes.md.",
        "",
        f"name: {_quoted(name)}",
        _line("seed: 1", "the same seed gives the same networks on the same machine"),
        "",
        *_data(root, looks, choice, pixels),
        "",
        *_networks(choice),
        "",
        *_training(looks, choice),
        "",
        "calibration:",
        _line("  max_drop: 1", "accuracy points below the student's own last exit"),
    ]
    return "\n".join(lines) + "\n"


def _data(root: str, looks: Looks, choice: Choice, pixels: Mapping[str, str | int]) -> list[str]:
    return [
        "data:",
        "  dataset: imagefolder",
        _line(f"  root: {_quoted(root)}", "relative to this file" * (root[0] != "/")),
        _line(f"  image_size: {choice.image_size}", _size(looks, choice)),
        *_fractions(looks),
        *(_line(f"  {key}: {value}", _PIXELS[key]) for key, value in pixels.items()),
        "  augmentation:",
        _line(f"    crop: {choice.image_size // 8}", "pixels of padding: an eighth of the side"),
        _line("    flip: true", "false where left and right matter, as in text"),
    ]


def _networks(choice: Choice) -> list[str]:
    return [
        _line("teacher:", f"{choice.pair.name}: the largest of the table that trains in the time"),
        *_network(choice.pair.teacher),
        _line("  exits: 3", "with the last, evenly spaced in multiply-adds"),
        "",
        _line("student:", "what runs on the device"),
        *_network(choice.pair.student),
        "  exits: 3",
        _line("  exit_weights: [1, 2, 3]", "the deeper, the more (docs/evidence.md)"),
    ]


def _training(looks: Looks, choice: Choice) -> list[str]:
    rate = 0.1 * choice.batch_size / 64
    return [
        "distillation:",
        _line("  method: erde", "or kd, or cross_entropy (no teacher)"),
        "  temperature: 4",
        _line("  weights: {cross_entropy: 1, distillation: 3, entropy: 1}", "docs/evidence.md"),
        "",
        _line("training:", _epochs(choice)),
        f"  teacher: {_settings(choice, rate)}",
        f"  student: {_settings(choice, 2 * rate)}",
        *_weights(looks),
    ]


def _quoted(text: str) -> str:
    """A text as YAML takes it, whatever is in it."""
    return json.dumps(text, ensure_ascii=False)


def _line(text: str, reason: str) -> str:
    return f"{text:<{_COLUMN}} # {reason}" if reason else text


def _shapes(looks: Looks) -> str:
    (width, height), _ = looks.shapes[0]
    if len(looks.shapes) == 1:
        return f"{width} x {height} pixels"
    return f"of several sizes, the shorter side usually {looks.side:g} pixels"


def _colours(looks: Looks) -> str:
    if looks.grey in (0, 1):
        return "grey" if looks.grey else "in colour"
    return f"{100 * looks.grey:.0f} % grey"


def _size(looks: Looks, choice: Choice) -> str:
    if choice.image_size > looks.side:
        return f"the images have {looks.side:g}: small ones train better a little larger"
    if choice.image_size == looks.side:
        return "as the images are"
    why = "the largest of the table" if choice.image_size == SIZES[-1] else "what the time allows"
    return f"every image is resized to this side: {why}"


def _fractions(looks: Looks) -> list[str]:
    lines = []
    if looks.calibration_fraction is not None:
        text = f"  calibration_fraction: {looks.calibration_fraction:g}"
        lines.append(_line(text, "of train; there is no folder valid/"))
    if looks.test_fraction is not None:
        text = f"  test_fraction: {looks.test_fraction:g}"
        lines.append(_line(text, "of all; there is no folder test/"))
    return lines


def _network(keys: str) -> list[str]:
    return [f"  {pair}" for pair in keys.split(", ")]


def _epochs(choice: Choice) -> str:
    if choice.epochs < choice.wanted:
        return f"there is time for {choice.epochs} epochs; {choice.wanted} would be enough"
    if choice.epochs == MOST_EPOCHS:
        return f"{MOST_EPOCHS} epochs: more would bring little"
    return f"as many epochs as there is time for; {choice.wanted} would be enough"


def _minutes(minutes: float) -> str:
    return f"{minutes:g} minute{'' if minutes == 1 else 's'}"


def _settings(choice: Choice, rate: float) -> str:
    return (
        f"{{epochs: {choice.epochs}, batch_size: {choice.batch_size}, "
        f"learning_rate: {rate:g}, {_SCHEDULE}}}"
    )


def _weights(looks: Looks) -> list[str]:
    (few, rare), (many, frequent) = looks.smallest, looks.largest
    if many <= _UNEVEN * few:
        return []
    names = f"{_quoted(frequent)} has {many:,} images, "
    names += f"{_quoted(rare)} {few:,}"
    return [f"  # {names}: class_weights: balanced would weigh the rare ones more"]
