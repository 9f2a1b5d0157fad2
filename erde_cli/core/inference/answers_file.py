"""Answers of a network to the images of splits, kept in a file, so that none answers twice."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from erde_cli.core.arrays import BoolArray, FloatArray, IntArray
from erde_cli.core.inference.answers import Answers
from erde_cli.core.storage.files import write_file

FILE = "answers.safetensors"
ANSWERS_VERSION = "4"  # raise it when the same network would give another file
PARTS = ("scores", "predictions", "labels")  # of each split
Arrays = dict[str, NDArray[Any]]


class DamagedAnswersError(ValueError):
    """A file is not as it was written."""


@dataclass(frozen=True)
class SplitAnswers:
    """Answers of every exit to the images of a split.

    scores: at the exit's temperature, float64 [images, exits]. predictions: labels, int64
    [images, exits]. labels: true ones, int64 [images].
    """

    scores: FloatArray
    predictions: IntArray
    labels: IntArray

    @property
    def correct(self) -> BoolArray:
        """Whether each exit is right, bool [images, exits]."""
        right: BoolArray = self.predictions == self.labels[:, None]
        return right

    def __len__(self) -> int:
        return len(self.labels)

    def only(self, images: IntArray) -> SplitAnswers:
        """Answers to the images at some positions, int64 [k]."""
        return SplitAnswers(self.scores[images], self.predictions[images], self.labels[images])

    @classmethod
    def of(cls, answers: Answers, labels: IntArray) -> SplitAnswers:
        """Answers and labels in the form that is kept."""
        return cls(answers.scores, answers.predictions, labels)

    def arrays(self, split: str) -> Arrays:
        """The arrays of a file."""
        return {f"{split}.{name}": getattr(self, name) for name in PARTS}


def split_answers(arrays: Arrays, split: str, exits: int, classes: int) -> SplitAnswers:
    """The answers of a split in a file.

    Raises:
        DamagedAnswersError: they do not fit a network of so many exits and classes.
    """
    found = SplitAnswers(*(arrays[f"{split}.{name}"] for name in PARTS))
    shape = (len(found.labels) if found.labels.ndim == 1 else -1, exits)
    whole = found.predictions.dtype == found.labels.dtype == np.int64
    if (
        found.scores.shape != shape
        or found.predictions.shape != shape
        or not whole
        or found.scores.dtype != np.float64
        or not shape[0]
    ):
        raise DamagedAnswersError(f"answers to {split} images")
    within = (one.min() >= 0 and one.max() < classes for one in (found.predictions, found.labels))
    if not all(within) or not bool(np.isfinite(found.scores).all()):
        raise DamagedAnswersError(f"answers to {split} images")
    return found


def write_arrays(path: Path, arrays: Arrays, inputs: str) -> str:
    """Write a file, and return the digest of its content.

    Args:
        path: the file.
        arrays: its arrays by name.
        inputs: digest of everything that decides them.
    """
    content = digest_of_arrays(arrays)
    # One metadata entry: safetensors writes several in no fixed order.
    written = save(arrays, {"digest": f"{inputs} {content}"})
    write_file(path, lambda temporary: temporary.write_bytes(written))
    return content


def read_arrays(path: Path, names: Collection[str], inputs: Collection[str]) -> Arrays | None:
    """Arrays of a file; None if it is missing or was made from other inputs.

    Args:
        path: the file.
        names: of the arrays.
        inputs: digests of inputs, of which the file must have one.

    Raises:
        DamagedAnswersError: the file cannot be read, or its content has changed.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, "np") as file:
            made_from, _, content = (file.metadata() or {}).get("digest", "").partition(" ")
            if made_from not in inputs:
                return None
            arrays = {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError, TypeError) as error:  # numpy has not every number format
        raise DamagedAnswersError(str(error)) from error
    if content != digest_of_arrays(arrays):
        raise DamagedAnswersError("its digest differs")
    return arrays


def digest_in(path: Path) -> str | None:
    """Digest of the content of a file; None if it is missing or cannot be read."""
    try:
        with safe_open(path, "np") as file:
            return digest_of_arrays({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (OSError, SafetensorError, TypeError):
        return None


def digest_of_arrays(arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of arrays with their names, types and shapes."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()
