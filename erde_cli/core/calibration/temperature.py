"""One temperature per exit, and how far its probabilities can be believed: pure arrays.

A temperature T turns softmax(z) into softmax(z / T). It never changes an exit's label: that is
always taken from the logits themselves. With 2 classes it keeps the order of the entropies; with
3 or more it does not, so thresholds are to be searched anew.

Source: Guo et al., "On calibration of modern neural networks", 2017, section 4.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from erde_cli.core.arrays import BoolArray, FloatArray, IntArray

Logits = NDArray[np.floating]

LEAST, MOST = 0.05, 20.0  # temperatures searched; answers that are all right ask for 0
_BINS = 15
_FOLDS = 5
_PRECISION = 1e-9  # of 1/T, relative
_MOST_STEPS = 100  # halving the bracket alone would need 33


@dataclass(frozen=True)
class TemperatureReport:
    """The temperature of one exit, and its probabilities at temperature 1 and at its own.

    temperature: fitted on all images. nll: mean -ln p(label) in nats. ece: expected calibration
    error, 0 to 1. `after` is cross-fitted: each image at a temperature fitted on other images.
    """

    temperature: float
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float


def fit_temperature(logits: Logits, labels: IntArray, start: float = 1.0) -> float:
    """Temperature from 0.05 to 20 at which the labels are most likely.

    The negative log-likelihood is convex in b = 1/T: Newton's steps on its slope, halving the
    bracket where a step would leave it. Where no label is ever missed, the answer is 0.05; where
    the logits carry no information, 1.

    Args:
        logits: [images, classes], finite.
        labels: int64 [images].
        start: where to begin; a good guess saves steps, and changes nothing else.

    Raises:
        ValueError: no images, or logits that are not finite.
    """
    if not len(labels) or not np.isfinite(logits).all():
        raise ValueError("a temperature is fitted on one image or more, with finite logits")
    # What each logit lacks to the label's: the likelihood depends on nothing else.
    lacks = logits.astype(np.float64)
    lacks -= lacks[np.arange(len(labels)), labels][:, None]
    low, high = 1 / MOST, 1 / LEAST
    if not lacks.any():
        return 1.0
    if _slope(lacks, high)[0] <= 0:
        return LEAST
    if _slope(lacks, low)[0] >= 0:
        return MOST
    inverse = min(max(1 / start, low), high)
    for _ in range(_MOST_STEPS):
        slope, curvature = _slope(lacks, inverse)
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        following = inverse - slope / curvature if curvature > 0 else math.nan
        if not low <= following <= high:
            following = math.sqrt(low * high)
        moved, inverse = abs(following - inverse), following
        if moved <= _PRECISION * inverse:
            break
    return 1 / inverse


def _slope(lacks: FloatArray, inverse: float) -> tuple[float, float]:
    """First and second derivative of the mean negative log-likelihood by b = 1/T."""
    weights = lacks * inverse
    weights -= weights.max(axis=1, keepdims=True)
    np.exp(weights, out=weights)
    weights /= weights.sum(axis=1, keepdims=True)
    mean = np.einsum("nc,nc->n", weights, lacks)
    squares = np.einsum("nc,nc,nc->n", weights, lacks, lacks)
    return float(mean.mean()), float((squares - mean**2).mean())


def fit_temperatures(logits: Logits, labels: IntArray) -> tuple[float, ...]:
    """Temperature of each exit, from logits [images, exits, classes] and labels [images]."""
    return tuple(fit_temperature(logits[:, i], labels) for i in range(logits.shape[1]))


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

    Over 15 bins with as many images each (one bin an image where there are fewer than 15).
    Arguments as of `negative_log_likelihood`.

    Source: Nguyen and O'Connor, "Posterior calibration and exploratory analysis for natural
    language processing models", 2015, for bins of equal mass.
    """
    scaled = _scaled(logits, temperature)
    largest = np.exp(scaled.max(axis=1) - logsumexp(scaled, axis=1))
    return calibration_gap(largest, logits.argmax(axis=1) == labels)


def calibration_gap(confidence: FloatArray, correct: BoolArray) -> float:
    """The expected calibration error of confidences from 0 to 1, both [images].

    Equal confidences share a bin, so that the order of the images plays no part; bins are then no
    longer of equal mass.
    """
    count = len(confidence)
    bins = min(_BINS, count)
    begins = np.arange(1, bins) * count // bins
    edges = np.sort(confidence)[begins]
    bin_of = np.searchsorted(edges, confidence, side="right")
    gaps = np.bincount(bin_of, correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / count)


def temperature_reports(logits: Logits, labels: IntArray) -> tuple[TemperatureReport, ...]:
    """Temperature of each exit and what it does, cross-fitted over five folds.

    Args:
        logits: [images, exits, classes].
        labels: int64 [images].
    """
    return tuple(_report(logits[:, i], labels) for i in range(logits.shape[1]))


def _report(logits: Logits, labels: IntArray) -> TemperatureReport:
    temperature = fit_temperature(logits, labels)
    elsewhere = _fitted_elsewhere(logits, labels, temperature)
    return TemperatureReport(
        temperature,
        negative_log_likelihood(logits, labels),
        negative_log_likelihood(logits, labels, elsewhere),
        expected_calibration_error(logits, labels),
        expected_calibration_error(logits, labels, elsewhere),
    )


def _fitted_elsewhere(logits: Logits, labels: IntArray, start: float) -> FloatArray:
    """For each image, the temperature fitted on the four folds that it is not in, [images]."""
    # Folds as in `calibration`: the same images, the same folds, whoever asks.
    fold = np.random.default_rng(0).permutation(len(labels)) % _FOLDS
    temperatures = np.ones(len(labels))  # stays 1 where a single image leaves nothing to fit on
    for number in range(min(_FOLDS, len(labels))):
        others = fold != number
        if others.any():
            temperatures[~others] = fit_temperature(logits[others], labels[others], start)
    return temperatures


def _scaled(logits: Logits, temperature: float | FloatArray) -> FloatArray:
    """Logits [images, classes] divided by a temperature for all images, or for each."""
    scaled: FloatArray = logits / np.reshape(np.asarray(temperature, np.float64), (-1, 1))
    return scaled
