"""Metadata of an export, as far as the runner needs them, checked by hand.

`ExportRecord` of the package export reads all of them; it needs pydantic and torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from erde_cli.core.arrays import Array, Float32Array, ImageArray
from erde_cli.core.errors import InputError
from erde_cli.core.images.pixels import PixelRules
from erde_cli.core.images.valid_names import is_class_name
from erde_cli.core.storage.json_files import LARGEST, JsonError, parse_json
from erde_cli.core.thresholds.scores import SCORES
from erde_cli.core.thresholds.written import for_each_exit, read_thresholds

PREFIX = "erde."  # of the keys in an ONNX file's metadata
_OF_FILES = ("stage", "quantisation")  # entries about the file, not the network
_FORMATS = (1, 2)
_MOST_BITS = 16

Document = dict[str, Any]


@dataclass(frozen=True)
class Metadata:
    """What the runner knows of a network.

    image_size: side in pixels. rules: how files become pixels. preprocessing: whether the network
    normalises pixels itself; otherwise `mean` and `std` do, of each channel, for values from 0 to
    1. resizes: whether the network takes images of any size, and resizes them itself.
    cumulative_macs: MACs of an image that leaves at each exit, [exits]. thresholds: θ of the early
    exits, [exits - 1]. score: name of the score that is compared with them.
    """

    class_names: tuple[str, ...]
    image_size: int
    rules: PixelRules
    preprocessing: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resizes: bool
    cumulative_macs: tuple[int, ...]
    thresholds: tuple[float, ...]
    score: str

    @property
    def exit_count(self) -> int:
        """Number of exits, the last included."""
        return len(self.cumulative_macs)

    def inputs(self, pixels: ImageArray) -> Array:
        """Inputs of the network, from uint8 images [images, height, width, 3] of its size.

        Returns:
            With preprocessing, the same images; otherwise float32 [images, 3, height, width].
        """
        return pixels if self.preprocessing else normalised(pixels, self.mean, self.std)

    def framed(self, pixels: Array) -> Array:
        """Inputs for a network that itself resizes and crops, such that nothing is lost.

        Returns:
            The same images, on a black margin if the network crops them. One image can take 315 MB.
        """
        short = self.rules.short_side(self.image_size)
        if not self.resizes or short is None:
            return pixels
        first = round((short - self.image_size) / 2)
        inside = slice(first, first + self.image_size)
        framed = np.zeros((len(pixels), short, short, 3), np.uint8)
        framed[:, inside, inside] = pixels
        return framed


def normalised(pixels: ImageArray, mean: tuple[float, ...], std: tuple[float, ...]) -> Float32Array:
    """Normalise uint8 [images, height, width, 3] to float32 [images, 3, height, width].

    Each value is equal to that of `Normaliser`, to the bit.

    Args:
        pixels: levels from 0 to 255.
        mean: of each channel, for values from 0 to 1.
        std: of each channel.
    """
    means, deviations = np.array(mean, np.float32), np.array(std, np.float32)
    width = pixels.shape[2]
    scale = np.float32(1) / (np.float32(255) * deviations)
    rows = pixels.reshape(*pixels.shape[:2], -1).astype(np.float32)
    rows *= np.tile(scale, width)  # a scale for each value of a row is faster than for 3 channels
    rows -= np.tile(means / deviations, width)
    return np.ascontiguousarray(rows.reshape(pixels.shape).transpose(0, 3, 1, 2))


def parse_entries(entries: Mapping[str, str]) -> Document:
    """Content of the `erde.` entries about the network in an ONNX file; others are ignored.

    Raises:
        JsonError: an entry is not JSON, or they are too large.
    """
    own = {
        name.removeprefix(PREFIX): text
        for name, text in entries.items()
        if name.startswith(PREFIX) and name.removeprefix(PREFIX) not in _OF_FILES
    }
    if sum(map(len, own.values())) > LARGEST:
        raise JsonError(f"they are larger than {LARGEST:,} bytes")
    return {name: parse_json(text) for name, text in own.items()}


def read_metadata(document: object) -> Metadata:
    """Read the metadata of a network. Unknown keys are ignored.

    Raises:
        ValueError: they are not what erde writes; the message is the first reason.
    """
    fields = _object(document, "network")
    if fields.get("format") not in _FORMATS:
        raise ValueError(f"format: {' or '.join(map(str, _FORMATS))} expected")
    names = _take(fields, "class_names", _are_names, "two printable names or more")
    macs = _take(fields, "cumulative_macs", _list_of(_is_positive_int), "a number for each exit")
    if not macs:
        raise ValueError("cumulative_macs: one exit or more expected")
    calibration = _object(fields.get("calibration"), "calibration")
    norms = _object(fields.get("normalisation"), "normalisation")
    return Metadata(
        class_names=tuple(names),
        image_size=_take(fields, "image_size", _is_size, "a number from 8 to 1024"),
        rules=_rules(_object(fields.get("pixels"), "pixels")),
        preprocessing=_take(fields, "preprocessing", _is_bool, "true or false"),
        mean=tuple(_take(norms, "mean", _are_three, "three numbers")),
        std=tuple(_take(norms, "std", _are_three_positive, "three numbers above 0")),
        resizes=_resizes(fields),
        cumulative_macs=tuple(macs),
        thresholds=_thresholds(calibration, len(macs) - 1),
        score=_take(calibration, "criterion", SCORES.__contains__, "a score of erde"),
    )


def _rules(pixels: Document) -> PixelRules:
    rules = PixelRules(
        _take(pixels, "transparent", ("white", "black", "ignore").__contains__, "a colour"),
        _take(pixels, "bit_depth", _is_depth, "a number from 8 to 16, or null"),
        _take(pixels, "frames", ("first", "refuse", None).__contains__, "first, refuse or null"),
        _take(pixels, "crop_share", _is_share, "a number from 0.1 to 1, or null"),
        _take(pixels, "interpolation", ("bilinear", "bicubic").__contains__, "bilinear or bicubic"),
    )
    _take(pixels, "resize", (rules.resize,).__contains__, rules.resize)
    return rules


def _resizes(fields: Document) -> bool:
    """Whether the graph resizes images; format 1 has no such graphs."""
    described = fields.get("input")
    if described is None:
        return False
    by = ("client", "graph").__contains__
    found: str = _take(_object(described, "input"), "resized_by", by, "client or graph")
    return found == "graph"


def _thresholds(calibration: Document, early: int) -> tuple[float, ...]:
    written = _take(calibration, "thresholds", _is_list, "a list")
    try:
        return for_each_exit(read_thresholds(written), early)
    except InputError as error:
        raise ValueError(f"calibration.thresholds: {early} expected, {error.message}") from error


def _take(document: Document, name: str, is_valid: Callable[[Any], bool], expected: str) -> Any:
    if name not in document:
        raise ValueError(f"{name}: Field required")
    try:
        valid = is_valid(document[name])
    except TypeError:  # a list or an object in the place of a word
        valid = False
    if not valid:
        raise ValueError(f"{name}: {expected} expected")
    return document[name]


def _object(value: object, name: str) -> Document:
    if not isinstance(value, dict):
        raise ValueError(f"{name}: an object expected")
    return value


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_positive_int(value: Any) -> bool:
    return _is_int(value) and 0 < value < 2**63


def _is_size(value: Any) -> bool:
    return _is_int(value) and 8 <= value <= 1024


def _is_depth(value: Any) -> bool:
    return value is None or (_is_int(value) and 8 <= value <= _MOST_BITS)


def _is_share(value: Any) -> bool:
    return value is None or (_is_number(value) and 0.1 <= value <= 1)


def _list_of(is_valid: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(is_valid, value))


def _are_three(value: Any) -> bool:
    return _list_of(_is_number)(value) and len(value) == 3


def _are_three_positive(value: Any) -> bool:
    return _are_three(value) and min(value) > 0


def _are_names(value: Any) -> bool:
    is_name = _list_of(lambda one: isinstance(one, str) and is_class_name(one))
    return is_name(value) and len(value) >= 2
