"""Temperature scaling of each exit, and how well its probabilities are calibrated: pure arrays.

A temperature T turns softmax(z) into softmax(z / T). It never changes an exit's label, which comes
from the logits themselves. With 2 classes it keeps the order of the entropies. With 3 or more it
does not, so thresholds must be searched again.

Source: Guo et al., "On calibration of modern neural networks", 2017, section 4.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from erde_cli.core.arrays import BoolArray, FloatArray, IntArray
from erde_cli.core.calibration.halves import FOLDS, fold_numbers

Logits = NDArray[np.floating]

LEAST, MOST = 0.05, 20.0  # range of the search; if all labels are right, the optimum is 0
_BINS = 15
_PRECISION = 1e-9  # of 1/T, relative
_MOST_STEPS = 100  # halving the bracket alone would need 33


@dataclass(frozen=True)
class TemperatureReport:
    """The temperature of one exit, and its calibration before and after scaling.

    temperature: fitted on all images. nll: mean -ln p(label) in nats. ece: expected calibration
    error, 0 to 1. before: at temperature 1. after: cross-fitted, each image at a temperature that
    was fitted on other images.
    """

    temperature: float
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float


def fit_temperature(logits: Logits, labels: IntArray, start: float = 1.0) -> float:
    """Temperature that minimises the negative log-likelihood of the labels, 0.05 to 20.

    The negative log-likelihood is convex in b = 1/T. Newton's method finds the root of its slope,
    and halves the bracket if a step would leave it. If every label is right, the result is 0.05; if
    the logits of each image are equal, 1.

    Args:
        logits: [images, classes], finite.
        labels: int64 [images].
        start: initial temperature; a good guess saves steps and changes nothing else.

    Raises:
        ValueError: there are no images, or a logit is not finite.
    """
    if not len(labels) or not np.isfinite(logits).all():
        raise ValueError("a temperature is fitted on one image or more, with finite logits")
    # The likelihood depends only on the differences from the logit of the label.
    margins = logits.astype(np.float64)
    margins -= margins[np.arange(len(labels)), labels][:, None]
    low, high = 1 / MOST, 1 / LEAST
    if not margins.any():
        return 1.0
    if _slope(margins, high)[0] <= 0:
        return LEAST
    if _slope(margins, low)[0] >= 0:
        return MOST
    inverse = min(max(1 / start, low), high)
    for _ in range(_MOST_STEPS):
        slope, curvature = _slope(margins, inverse)
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        following = inverse - slope / curvature if curvature > 0 else math.nan
        if not low <= following <= high:
            following = math.sqrt(low * high)
        moved, inverse = abs(following - inverse), following
        if moved <= _PRECISION * inverse:
            break
    return 1 / inverse


def _slope(margins: FloatArray, inverse: float) -> tuple[float, float]:
    """First and second derivative of the mean negative log-likelihood by b = 1/T."""
    weights = margins * inverse
    weights -= weights.max(axis=1, keepdims=True)
    np.exp(weights, out=weights)
    weights /= weights.sum(axis=1, keepdims=True)
    mean = np.einsum("nc,nc->n", weights, margins)
    squares = np.einsum("nc,nc,nc->n", weights, margins, margins)
    return float(mean.mean()), float((squares - mean**2).mean())


def negative_log_likelihood(
    logits: Logits, labels: IntArray, temperature: float | FloatArray = 1.0
) -> float:
    """Mean of -ln p(label) in nats.

    Args:
        logits: [images, classes].
        labels: int64 [images].
        temperature: one for all images, or one for each, [images].
    """
    scaled = _scaled(logits, temperature)
    of_label = scaled[np.arange(len(labels)), labels]
    return float((logsumexp(scaled, axis=1) - of_label).mean())


def expected_calibration_error(
    logits: Logits, labels: IntArray, temperature: float | FloatArray = 1.0
) -> float:
    """Mean gap between the largest probability and the share of right answers, 0 to 1.

    There are 15 bins of equal mass, or one for each image if there are fewer than 15.

    Args:
        logits: [images, classes].
        labels: int64 [images].
        temperature: one for all images, or one for each, [images].

    Source:
        Nguyen and O'Connor, "Posterior calibration and exploratory analysis for natural language
        processing models", 2015, for bins of equal mass.
    """
    scaled = _scaled(logits, temperature)
    largest = np.exp(scaled.max(axis=1) - logsumexp(scaled, axis=1))
    return calibration_gap(largest, logits.argmax(axis=1) == labels)


def calibration_gap(confidence: FloatArray, correct: BoolArray) -> float:
    """Expected calibration error, 0 to 1.

    Equal confidences share a bin, so that the order of the images does not matter. The bins are
    then not of equal mass.

    Args:
        confidence: largest probability of each image, float64 [images].
        correct: bool [images].
    """
    count = len(confidence)
    bins = min(_BINS, count)
    begins = np.arange(1, bins) * count // bins
    edges = np.sort(confidence)[begins]
    bin_of = np.searchsorted(edges, confidence, side="right")
    gaps = np.bincount(bin_of, correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / count)


def temperature_reports(logits: Logits, labels: IntArray) -> tuple[TemperatureReport, ...]:
    """Temperature of each exit and its effect, cross-fitted over five folds, [exits].

    Args:
        logits: [images, exits, classes].
        labels: int64 [images].
    """
    return tuple(_report(logits[:, i], labels) for i in range(logits.shape[1]))


def _report(logits: Logits, labels: IntArray) -> TemperatureReport:
    temperature = fit_temperature(logits, labels)
    cross_fitted = _cross_fitted(logits, labels, temperature)
    return TemperatureReport(
        temperature,
        negative_log_likelihood(logits, labels),
        negative_log_likelihood(logits, labels, cross_fitted),
        expected_calibration_error(logits, labels),
        expected_calibration_error(logits, labels, cross_fitted),
    )


def _cross_fitted(logits: Logits, labels: IntArray, start: float) -> FloatArray:
    """For each image, the temperature fitted on the four folds that it is not in, [images]."""
    fold = fold_numbers(len(labels))
    temperatures = np.ones(len(labels))  # a single image stays at 1: there are no others
    for number in range(min(FOLDS, len(labels))):
        others = fold != number
        if others.any():
            temperatures[~others] = fit_temperature(logits[others], labels[others], start)
    return temperatures


def _scaled(logits: Logits, temperature: float | FloatArray) -> FloatArray:
    """Logits [images, classes] divided by one temperature, or by one for each image."""
    scaled: FloatArray = logits / np.reshape(np.asarray(temperature, np.float64), (-1, 1))
    return scaled
