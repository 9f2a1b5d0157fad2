"""Run the stages of an export in ONNX Runtime without leaving early: answers of every exit."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnxruntime

from erde_cli.core.arrays import Array, IntArray
from erde_cli.core.inference.answers import Answers
from erde_cli.core.runner.session import open_session


class Stages:
    """The first stages of a network: those added so far."""

    def __init__(self, threads: int | None) -> None:
        self._threads = threads
        self._sessions: list[onnxruntime.InferenceSession] = []

    def add(self, path: Path) -> None:
        """Add the next stage; its file can change afterwards."""
        self._sessions.append(open_session(path, self._threads, one_of_several=True))

    def features(self, inputs: Array) -> Array:
        """Input of the next stage [batch, channels, height, width], from images for the first."""
        for session in self._sessions:
            *_, inputs = session.run(["next_features"], {session.get_inputs()[0].name: inputs})
        return inputs

    def answers(
        self,
        batches: Iterable[Array],
        labels: IntArray | None,
        temperatures: list[float | None],
    ) -> Answers:
        """Answers of every exit.

        Args:
            batches: images for the first stage: uint8 [batch, height, width, 3], or float32
                [batch, 3, height, width] if the export has no preprocessing.
            labels: int64 [images]; None: `correct` is whether an exit agrees with the last one.
            temperatures: of every exit, [exits]; None: 1.

        Returns:
            Answers whose logits are exact up to a constant for each image.
        """
        parts = [self._batch(inputs) for inputs in batches]
        probabilities, predictions, scores = (
            np.concatenate(column) for column in zip(*parts, strict=True)
        )
        scale = np.array([1.0 if one is None else one for one in temperatures], dtype=np.float32)
        smallest = np.finfo(np.float32).tiny  # log(0) is -inf
        reference = predictions[:, -1] if labels is None else labels
        return Answers(
            predictions == reference[:, None],
            scores.astype(np.float64),
            predictions,
            np.log(np.maximum(probabilities, smallest)) * scale[:, None],
        )

    def _batch(self, inputs: Array) -> tuple[Array, Array, Array]:
        """Probabilities [batch, exits, classes], labels and scores [batch, exits]."""
        by_exit = []
        for session in self._sessions:
            probabilities, labels, scores, *passed_on = session.run(
                None, {session.get_inputs()[0].name: inputs}
            )
            by_exit.append((probabilities, labels, scores))
            inputs = passed_on[0] if passed_on else inputs
        columns = zip(*by_exit, strict=True)
        probabilities, labels, scores = (np.stack(column, axis=1) for column in columns)
        return probabilities, labels, scores
