"""Stages in ONNX Runtime one after the other, every exit asked, none left at."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from erde_cli.core.inference.answers import Answers

Array = NDArray[Any]

_ERRORS_ONLY = 3  # severity of what ONNX Runtime says on stderr


class Stages:
    """The first stages of a network, as many as were added so far."""

    def __init__(self, threads: int | None) -> None:
        self._threads = threads
        self._sessions: list[onnxruntime.InferenceSession] = []

    def add(self, path: Path) -> None:
        """Add the next stage; its file is read at once and may change afterwards."""
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.inter_op_num_threads = 1
        options.intra_op_num_threads = self._threads or 0
        self._sessions.append(
            onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        )

    def features(self, inputs: Array) -> Array:
        """What the next stage takes, of what the first one takes."""
        for session in self._sessions:
            *_, inputs = session.run(["next_features"], {session.get_inputs()[0].name: inputs})
        return inputs

    def answers(
        self,
        batches: Iterable[Array],
        labels: NDArray[np.int64] | None,
        temperatures: list[float | None],
    ) -> Answers:
        """What every exit says of images, in batches as the first stage takes them.

        `correct` without labels: whether an exit says what the last one says. `logits` are those
        that the probabilities came from, up to a constant for each image.
        """
        parts = [self._batch(inputs) for inputs in batches]
        probabilities, predictions, scores = (
            np.concatenate(column) for column in zip(*parts, strict=True)
        )
        scale = np.array([1.0 if one is None else one for one in temperatures], dtype=np.float32)
        smallest = np.finfo(np.float32).tiny  # a probability of 0 has no logarithm
        reference = predictions[:, -1] if labels is None else labels
        return Answers(
            predictions == reference[:, None],
            scores.astype(np.float64),
            predictions,
            np.log(np.maximum(probabilities, smallest)) * scale[:, None],
        )

    def _batch(self, inputs: Array) -> tuple[Array, Array, Array]:
        """Probabilities [batch, exits, classes], labels and scores [batch, exits]."""
        found = []
        for session in self._sessions:
            probabilities, labels, scores, *passed_on = session.run(
                None, {session.get_inputs()[0].name: inputs}
            )
            found.append((probabilities, labels, scores))
            inputs = passed_on[0] if passed_on else inputs
        by_exit = zip(*found, strict=True)
        probabilities, labels, scores = (np.stack(column, axis=1) for column in by_exit)
        return probabilities, labels, scores
