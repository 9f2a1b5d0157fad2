"""What int8 costs or saves: the float stages and the quantised ones on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from erde_cli.core.calibration.thresholds_file import FiguresDocument, ThresholdsDocument
from erde_cli.core.comparison.paired import paired_drop_interval
from erde_cli.core.export.check import Check
from erde_cli.core.inference.answers import Answers
from erde_cli.core.inference.observations import Observations
from erde_cli.core.measurement.side_by_side import BatchPairs, Pair
from erde_cli.core.storage.json_files import Json
from erde_cli.core.thresholds.written import write_threshold
from erde_cli.core.workflows.export_int8_images import Int8Images


@dataclass(frozen=True)
class UnderThresholds:
    """A network under thresholds on all images; accuracies are None without labels.

    balanced_accuracy: None unless the thresholds were chosen by it.
    exit_agreement: share of images of which each exit says what the last one says.
    """

    thresholds: tuple[float, ...]
    exit_accuracy: tuple[float, ...] | None
    exit_agreement: tuple[float, ...]
    accuracy: float | None
    balanced_accuracy: float | None
    agreement: float
    exit_rates: tuple[float, ...]
    expected_macs: float

    @classmethod
    def of(cls, observations: Observations, thresholds: Sequence[float]) -> UnderThresholds:
        """From what every exit said of the images."""
        found = observations.figures(observations.exits(thresholds))
        agrees = observations.correct if observations.agrees is None else observations.agrees
        return cls(
            tuple(thresholds),
            observations.exit_accuracy,
            tuple(float(share) for share in agrees.mean(axis=0)),
            found.accuracy,
            found.balanced_accuracy,
            found.agreement or 0.0,
            found.exit_rates,
            found.expected_macs,
        )

    def to_json(self) -> Json:
        """Form in JSON."""
        return {
            "thresholds": [write_threshold(value) for value in self.thresholds],
            "exit_accuracy": None if self.exit_accuracy is None else list(self.exit_accuracy),
            "exit_agreement": list(self.exit_agreement),
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "agreement": self.agreement,
            "exit_rates": list(self.exit_rates),
            "expected_macs": self.expected_macs,
        }


@dataclass(frozen=True)
class Differing:
    """Share of images with another label than in float: of each exit, and of the exit taken."""

    exits: tuple[float, ...]
    taken: float

    @classmethod
    def of(cls, labels: NDArray[np.bool_], taken: NDArray[np.bool_]) -> Differing:
        """From whether labels differ, bool [images, exits] and [images]."""
        return cls(tuple(float(share) for share in labels.mean(axis=0)), float(taken.mean()))

    def to_json(self) -> Json:
        """Form in JSON."""
        return {"exits": list(self.exits), "under_thresholds": self.taken}


@dataclass(frozen=True)
class Int8Cost:
    """Float stages at the bundle's thresholds, int8 ones at those, and at thresholds of their own.

    drop: accuracy points lost, with a 95 % interval; None without labels. differing: on all images,
    and on half B, which measured no range. sizes: bytes of the files. checks: of the int8 stages
    against their own scores.
    """

    images: Int8Images
    before: ThresholdsDocument
    after: ThresholdsDocument
    float32: UnderThresholds
    kept: UnderThresholds
    int8: UnderThresholds
    drop: tuple[float, float, float] | None
    differing: Differing
    differing_half_b: Differing
    sizes: tuple[int, int]
    latency: tuple[BatchPairs, ...]
    checks: tuple[Check, ...]

    @property
    def held_out(self) -> tuple[FiguresDocument | None, FiguresDocument]:
        """Figures on images that did not choose; those before only of the same images."""
        same = self.before.split_fingerprint == self.after.split_fingerprint
        return self.before.held_out if same else None, self.after.held_out

    def to_json(self) -> Json:
        """The object `quantised` of `erde export --json`."""
        after = self.after
        held = [None if one is None else one.model_dump() for one in self.held_out]
        return {
            "source": self.images.kind,
            "images": len(self.images.store),
            "range_images": len(self.images.ranges),
            "target": after.target.model_dump(),
            "met": after.met,
            "met_where_chosen": after.met_where_chosen,
            "certified": after.certified,
            "float32": {**self.float32.to_json(), "held_out": held[0], "bytes": self.sizes[0]},
            "int8": {**self.int8.to_json(), "held_out": held[1], "bytes": self.sizes[1]},
            "int8_at_float_thresholds": self.kept.to_json(),
            "accuracy_drop": None if self.drop is None else self.drop[0],
            "accuracy_drop_interval": None if self.drop is None else list(self.drop[1:]),
            "differing_labels": {
                **self.differing.to_json(), "half_b": self.differing_half_b.to_json()
            },
            "latency": {
                "threads": 1,
                "batches": [_batch_to_json(one) for one in self.latency],
            },
            "checks": [check.to_json() for check in self.checks],
        }  # fmt: skip


def drop_of(
    answers: tuple[Answers, Answers], exits: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> tuple[float, float, float]:
    """Accuracy points from the first to the second, each at the exits taken; 95 % interval."""
    rows = np.arange(len(exits[0]))
    before, after = (one.correct[rows, at] for one, at in zip(answers, exits, strict=True))
    points = 100 * float(before.mean() - after.mean())
    return points, *paired_drop_interval(before, after)


def differing_of(
    answers: tuple[Answers, Answers],
    exits: tuple[NDArray[np.int64], NDArray[np.int64]],
    places: NDArray[np.int64],
) -> Differing:
    """Where labels differ, on some of the images (numbers)."""
    rows = np.arange(len(exits[0]))
    first, second = (one.predictions for one in answers)
    taken = first[rows, exits[0]] != second[rows, exits[1]]
    return Differing.of((first != second)[places], taken[places])


def _batch_to_json(one: BatchPairs) -> Json:
    return {
        "batch": one.batch,
        "images": one.images,
        "repeats": one.rounds,
        "exits": [_pair_to_json(pair) for pair in one.pairs[:-1]],
        "under_thresholds": _pair_to_json(one.pairs[-1]),
    }


def _pair_to_json(pair: Pair) -> Json:
    found: Json = {
        "float32": pair.first.to_json(), "int8": pair.second.to_json(), "ratio": pair.ratio
    }  # fmt: skip
    return found if pair.exit is None else {"exit": pair.exit, **found}
