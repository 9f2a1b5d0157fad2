"""Accuracy over expected MACs: curves of growing thresholds, exits alone, the calibrated point."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from erde_cli.core.calibration.document import FiguresDocument
from erde_cli.core.figures import theta
from erde_cli.core.inference.answers_file import SplitAnswers
from erde_cli.core.report.collect.network import Network, exit_name
from erde_cli.core.report.document import TradeCurve, TradeOffSection, TradePoint

_STEPS = 100  # of one θ for all exits, from 0 to the largest score


def trade_off(network: Network, teacher: Network | None) -> TradeOffSection | None:
    """The trade-off on test images; without their answers, the calibration's own figures.

    Args:
        network: the network of the report.
        teacher: of the same run, shown by its exits alone.

    Returns:
        None if nothing is known.
    """
    if network.test is not None:
        of_teacher = [] if teacher is None else _exits_alone(teacher)
        points = (*of_teacher, *_exits_alone(network), *_calibrated(network, network.test))
        images, note = len(network.test), network.other_half
        return TradeOffSection("test", images, _curves(network, network.test), points, note)
    document = network.thresholds
    if document is None:
        return None
    frontier = document.frontier
    known = [one for one in frontier if one.accuracy is not None]
    name = "thresholds on the frontier, on calibration images"
    curves = [_curve(name, known, [one.thresholds for one in known])] if known else []
    return TradeOffSection(
        "calibration", document.images, tuple(curves), _calibrated(network, None),
        network.other_half,
    )  # fmt: skip


def written(thresholds: Iterable[float | str]) -> str:
    """Thresholds as the command line shows them."""
    return " ".join(theta(one) for one in thresholds)


def _exits_alone(network: Network) -> list[TradePoint]:
    """Each exit as a static network, without earlier heads."""
    if network.test is None:
        return []
    role, macs = network.bundle.document.role, network.bundle.profile.static_macs_of_exits
    accuracy = network.test.correct.mean(axis=0).tolist()
    return [
        TradePoint(f"{role}, {exit_name(i, network.exits)} alone", macs[i], accuracy[i])
        for i in range(network.exits)
    ]


def _calibrated(network: Network, test: SplitAnswers | None) -> tuple[TradePoint, ...]:
    """The calibrated point on the images that chose it, held out, and on test images."""
    document = network.thresholds
    if document is None:
        return ()
    text, points = written(document.thresholds), []
    if test is not None:
        found = network.observed(test).under(document.values)
        name = "calibrated thresholds, on test images"
        points.append(TradePoint(name, found.expected_macs, found.accuracy, text))
    own, held_out = document.accuracy, document.held_out
    if own is not None:
        on_others = None
        if document.certificate is None and held_out.accuracy is not None:
            on_others = (held_out.accuracy, held_out.expected_macs)
        on = "the images that chose them" if document.certificate is None else "the test half"
        name = f"calibrated thresholds, on {on}"
        points.append(TradePoint(name, document.expected_macs, own, text, on_others))
    return tuple(points)


def _curves(network: Network, test: SplitAnswers) -> tuple[TradeCurve, ...]:
    """One θ for all exits; and the thresholds that the calibration chose for other targets."""
    if network.exits == 1:
        return ()
    observed, early = network.observed(test), network.exits - 1
    document, role = network.thresholds, network.bundle.document.role
    top = network.bundle.score.largest(network.bundle.model.classes)
    sweep = [*(step / _STEPS * top for step in range(_STEPS + 1)), math.inf]
    same = [observed.under([one] * early) for one in sweep]
    macs, accuracy = (
        np.array([getattr(one, name) for one in same]) for name in ("expected_macs", "accuracy")
    )
    names = tuple(map(theta, sweep))
    curves = [TradeCurve(f"{role}, one θ for all exits", macs, accuracy, names)]
    if document is not None and len(document.frontier) > 1:
        vectors = [one.thresholds for one in document.frontier]
        found = [observed.under(_values(one)) for one in vectors]
        order = np.argsort([one.expected_macs for one in found], kind="stable")
        curves.append(
            TradeCurve(
                f"{role}, a θ for each exit, chosen on calibration images",
                np.array([found[i].expected_macs for i in order]),
                np.array([found[i].accuracy for i in order]),
                tuple(written(vectors[i]) for i in order),
            )
        )
    return tuple(curves)


def _values(thresholds: Sequence[float | str]) -> list[float]:
    words = {"always": math.inf, "never": 0.0}
    return [words[one] if isinstance(one, str) else one for one in thresholds]


def _curve(
    name: str, points: Sequence[FiguresDocument], thresholds: Sequence[Sequence[float | str]]
) -> TradeCurve:
    macs = np.array([one.expected_macs for one in points])
    order = np.argsort(macs, kind="stable")
    accuracy = np.array([one.accuracy for one in points])
    return TradeCurve(
        name, macs[order], accuracy[order], tuple(written(thresholds[i]) for i in order)
    )
