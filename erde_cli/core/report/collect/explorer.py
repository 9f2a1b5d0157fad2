"""What the sliders for θ need: scores of the calibration images that may choose thresholds."""

from __future__ import annotations

import numpy as np

from erde_cli.core.calibration.statement import guarantee_in_short
from erde_cli.core.report.collect.network import Network
from erde_cli.core.report.document import Explorer


def explorer(network: Network) -> Explorer | None:
    """The sliders of a network; None without answers to calibration images, or with one exit."""
    if network.calibration is None or network.exits == 1:
        return None
    answers, document = network.calibration.only(network.shown), network.thresholds
    score, certified = network.bundle.score, ""
    if document is not None and document.certified and document.certificate is not None:
        certified = guarantee_in_short(document.certificate)[0]
    return Explorer(
        scores=answers.scores.astype(np.float32),
        correct=answers.correct,
        costs=tuple(network.costs.tolist()),
        milliseconds=_milliseconds(network),
        thresholds=None if document is None else tuple(document.values),
        certified=certified,
        images_of="the tuning half" if network.tuning_half_alone else "all calibration images",
        all_images=len(network.choosing),
        score=score.name,
        unit=score.unit,
        limit=score.largest(network.bundle.model.classes),
        note=network.other_half,
        command=f"erde calibrate {network.typed.word} --threshold {{thresholds}}",
    )


def explorer_notes(network: Network) -> list[str]:
    """Sentences about what the sliders cannot show."""
    notes: list[str] = []
    document = network.thresholds
    if network.calibration is None or network.exits == 1:
        return notes
    if document is not None and document.latency is None:
        notes.append(
            "Milliseconds: they are measured for thresholds within a latency only "
            f"({network.typed.hint('calibrate {} --max-latency MS')})."
        )
    part, count = len(network.shown), len(network.choosing)
    if part < count:
        notes.append(f"Sliders: they use a fixed part of {part:,} of {count:,} images.")
    if document is not None and document.source != "calibration split":
        notes.append(
            f"Sliders: the thresholds were chosen on images of a {document.source}; the sliders "
            "show the calibration split, so their figures differ from thresholds.json."
        )
    elif document is not None and _differs(network):
        notes.append(
            "Sliders: their figures differ from thresholds.json, because the answers come from "
            "another device or another version of a library."
        )
    return notes


def _differs(network: Network) -> bool:
    """Whether answers give other figures than the calibration wrote for the same images."""
    document, answers = network.thresholds, network.calibration
    if document is None or answers is None or document.certificate is not None:
        return False
    found = network.observed(answers).under(document.values)
    figures = (found.accuracy, found.expected_macs, list(found.exit_rates))
    return figures != (document.accuracy, document.expected_macs, document.exit_rates)


def _milliseconds(network: Network) -> tuple[float, ...] | None:
    document = network.thresholds
    if document is None or document.latency is None:
        return None
    return tuple(document.latency.ms)
