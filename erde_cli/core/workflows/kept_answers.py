"""A bundle's answers to a split, kept next to its evaluation, so that a report reads no images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.calibration.document import StoredPrecision, ThresholdsDocument
from erde_cli.core.data.splits import Split
from erde_cli.core.data.store import ImageStore
from erde_cli.core.device import Context, Precision
from erde_cli.core.inference.answers import answer_all, ready
from erde_cli.core.inference.answers_file import (
    ANSWERS_VERSION,
    FILE,
    PARTS,
    DamagedAnswersError,
    SplitAnswers,
    read_arrays,
    split_answers,
    write_arrays,
)
from erde_cli.core.storage.json_files import digest_of
from erde_cli.core.thresholds.scores import ENTROPY


@dataclass(frozen=True)
class Scoring:
    """What decides a network's scores besides its weights and the images."""

    precision: Precision = "float32"
    temperatures: tuple[float, ...] | None = None
    score: str = ENTROPY.name

    @classmethod
    def of(
        cls, document: ThresholdsDocument | None, precision: Precision | StoredPrecision = "float32"
    ) -> Scoring:
        """The scoring of thresholds, or of a network without them in a precision."""
        if document is None:
            return cls(precision)
        temperatures = None if document.temperatures is None else tuple(document.temperatures)
        return cls(document.precision, temperatures, document.criterion)


def evaluation_folder(bundle: Path, split: Split) -> Path:
    """Folder of a bundle's evaluation on a split."""
    return bundle / "evaluation" / split


def write_split(
    bundle: Bundle, folder: Path, split: str, answers: SplitAnswers, scoring: Scoring
) -> str:
    """Write the answers into the folder of an evaluation; return the digest of the content."""
    costs = np.array(bundle.profile.cumulative_macs, dtype=np.float64)
    arrays = {**answers.arrays(split), "costs": costs}
    return write_arrays(folder / FILE, arrays, _inputs(bundle, scoring))


def answer_calibration(bundle: Bundle, store: ImageStore, context: Context) -> SplitAnswers:
    """Answers to the bundle's calibration images, scored as its thresholds score them."""
    document = bundle.thresholds()
    temperatures, score = (document.temperatures, document.score) if document else (None, ENTROPY)
    answers = answer_all(
        ready(bundle.model, context), store, bundle.normalisation, context, temperatures,
        score=score,
    )  # fmt: skip
    return SplitAnswers.of(answers.require_finite(), store.labels.numpy())


def keep_calibration(bundle: Bundle, store: ImageStore, context: Context) -> str:
    """Answer the calibration images and keep the answers; return the digest of the content."""
    answers = answer_calibration(bundle, store, context)
    folder = evaluation_folder(bundle.path, "calibration")
    scoring = Scoring.of(bundle.thresholds(), context.precision)
    return write_split(bundle, folder, "calibration", answers, scoring)


def read_split(bundle: Bundle, split: Split, scorings: Sequence[Scoring]) -> SplitAnswers | None:
    """The kept answers of a bundle to a split, made with one of several scorings.

    Returns:
        None if there are none, or if they belong to other weights or images.

    Raises:
        DamagedAnswersError: the file is damaged.
    """
    inputs = [_inputs(bundle, one) for one in scorings]
    names = [*(f"{split}.{name}" for name in PARTS), "costs"]
    exits, path = bundle.model.exit_count, evaluation_folder(bundle.path, split) / FILE
    arrays = read_arrays(path, names, inputs)
    if arrays is None:
        return None
    found = split_answers(arrays, split, exits, bundle.model.classes)
    if arrays["costs"].tolist() != bundle.profile.cumulative_macs:
        raise DamagedAnswersError("costs of another network")
    return found


def _inputs(bundle: Bundle, scoring: Scoring) -> str:
    """Digest of everything that decides the answers, except the device."""
    return digest_of(
        {
            "version": ANSWERS_VERSION,
            "weights": bundle.document.weights_digest,
            "images": bundle.document.split_fingerprint,
            **asdict(scoring),
        }
    )
