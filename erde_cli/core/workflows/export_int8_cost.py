"""Cost of int8: float32 and quantised stages compared on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from erde_cli.core.arrays import IntArray
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
    exit_agreement: share of images that each exit answers as the last exit does.
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
        """Figures from the answers of every exit."""
        figures = observations.figures(observations.exits(thresholds))
        agrees = observations.correct if observations.agrees is None else observations.agrees
        return cls(
            tuple(thresholds),
            observations.exit_accuracy,
            tuple(float(share) for share in agrees.mean(axis=0)),
            figures.accuracy,
            figures.balanced_accuracy,
            figures.agreement or 0.0,
            figures.exit_rates,
            figures.expected_macs,
        )

    def to_json(self) -> Json:
        """Form in JSON."""
        return {**asdict(self), "thresholds": [write_threshold(one) for one in self.thresholds]}


@dataclass(frozen=True)
class Differing:
    """Share of images that int8 labels otherwise than float32: at each exit, at the one taken."""

    exits: tuple[float, ...]
    taken: float

    def to_json(self) -> Json:
        """Form in JSON."""
        return {"exits": list(self.exits), "under_thresholds": self.taken}


@dataclass(frozen=True)
class Int8Cost:
    """Float32 stages at the bundle's thresholds; int8 stages at these (`kept`) and at new ones.

    drop: accuracy points lost, with a 95 % interval; None without labels. differing_half_b: on the
    test half, which measured no ranges. sizes: bytes of the files. checks: of the int8 stages
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
        """Held-out figures of float32 and int8; None for float32 if it was calibrated on others."""
        same = self.before.split_fingerprint == self.after.split_fingerprint
        return self.before.held_out if same else None, self.after.held_out

    def to_json(self) -> Json:
        """The object `quantised` of `erde export --json`."""
        after = self.after
        held_out = [None if one is None else one.model_dump() for one in self.held_out]
        return {
            "source": self.images.kind,
            "images": len(self.images.store),
            "range_images": len(self.images.ranges),
            "target": after.target.model_dump(),
            "met": after.met,
            "met_where_chosen": after.met_where_chosen,
            "certified": after.certified,
            "float32": {**self.float32.to_json(), "held_out": held_out[0], "bytes": self.sizes[0]},
            "int8": {**self.int8.to_json(), "held_out": held_out[1], "bytes": self.sizes[1]},
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
    answers: tuple[Answers, Answers], exits: tuple[IntArray, IntArray]
) -> tuple[float, float, float]:
    """Accuracy points lost from the first network to the second, and their 95 % interval.

    `exits` holds the exit of each image, int64 [images], for both networks.
    """
    rows = np.arange(len(exits[0]))
    before, after = (one.correct[rows, at] for one, at in zip(answers, exits, strict=True))
    points = 100 * float(before.mean() - after.mean())
    return points, *paired_drop_interval(before, after)


def differing_of(
    answers: tuple[Answers, Answers],
    exits: tuple[IntArray, IntArray],
    places: IntArray,
) -> Differing:
    """Share of differing labels among the images numbered `places`, int64; others as `drop_of`."""
    rows = np.arange(len(exits[0]))
    first, second = (one.predictions for one in answers)
    of_exits = (first != second)[places].mean(axis=0)
    taken = (first[rows, exits[0]] != second[rows, exits[1]])[places].mean()
    return Differing(tuple(float(share) for share in of_exits), float(taken))


def _batch_to_json(one: BatchPairs) -> Json:
    return {
        "batch": one.batch,
        "images": one.images,
        "repeats": one.rounds,
        "exits": [_pair_to_json(pair) for pair in one.pairs[:-1]],
        "under_thresholds": _pair_to_json(one.pairs[-1]),
    }


def _pair_to_json(pair: Pair) -> Json:
    times: Json = {
        "float32": pair.first.to_json(), "int8": pair.second.to_json(), "ratio": pair.ratio
    }  # fmt: skip
    return times if pair.exit is None else {"exit": pair.exit, **times}
