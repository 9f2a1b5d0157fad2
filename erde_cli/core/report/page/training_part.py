"""Curves of trainings: one small chart for each quantity, one line for each exit."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from erde_cli.core.report.document import TrainingCurve, TrainingSection
from erde_cli.core.report.page.axes import Axis, plain_tick, share_axis, value_axis
from erde_cli.core.report.page.charts import SMALL, Chart, Series, figure
from erde_cli.core.report.page.markup import Markup, join, tag

_ROLES = ("teacher", "student")
_OPEN = 2  # trainings that are all shown at once
_POINTS = 240  # of a curve
_NAMES = {
    "loss": "Loss, all terms",
    "cross_entropy": "Cross-entropy",
    "distillation": "Distillation",
    "accuracy_calibration": "Accuracy on calibration images, %",
    "teacher_wrong": "Train images on which the teacher is wrong, %",
    "entropy_teacher_wrong": "Entropy where the teacher is wrong, nats",
    "entropy_teacher_right": "Entropy where the teacher is right, nats",
    "learning_rate": "Learning rate",
    "skipped_steps": "Skipped steps",
    "images_per_second": "Training speed, images per second",
}
_SHARES = frozenset({"accuracy_calibration", "teacher_wrong"})
_ORDER = ("loss", "accuracy", "teacher", "entropy", "rate", "steps", "speed")


def training_part(sections: Sequence[TrainingSection]) -> Markup:
    """Charts of every training; a quantity that stays 0 is a sentence."""
    return join(
        tag(
            "details",
            tag("summary", tag("h3", _heading(section.role))),
            _charts(section, f"training-{place}"),
            open=len(sections) <= _OPEN or place == 0,
        )
        for place, section in enumerate(sections)
    )


def _heading(role: str) -> str:
    """Of a training: "the student" of a run, or a name in a comparison."""
    return f"Training of the {role}" if role in _ROLES else f"Training of {role}"


def _charts(section: TrainingSection, name: str) -> Markup:
    groups: dict[str, list[TrainingCurve]] = {}
    for curve in sorted(section.curves, key=_place):
        groups.setdefault(curve.name.partition(", exit ")[0], []).append(curve)
    drawn, sentences = [], []
    for place, (quantity, curves) in enumerate(groups.items()):
        values = np.concatenate([curve.values for curve in curves])
        if not np.isfinite(values).any():
            continue
        if not np.nan_to_num(values).any():
            sentences.append(f"{_title(quantity)}: 0 in every epoch.")
            continue
        drawn.append(figure(_chart(quantity, curves, f"{name}-{place}"), (SMALL,)))
    return join(
        tag("div", drawn, class_="charts"),
        tag("p", " ".join(sentences), class_="note") if sentences else "",
    )


def _place(curve: TrainingCurve) -> int:
    return _ORDER.index(curve.group) if curve.group in _ORDER else len(_ORDER)


def _title(quantity: str) -> str:
    return _NAMES.get(quantity) or quantity.replace("_", " ").capitalize()


def _chart(quantity: str, curves: Sequence[TrainingCurve], name: str) -> Chart:
    scale = 100.0 if quantity in _SHARES else 1.0
    epochs = sorted({float(epoch) for curve in curves for epoch in curve.epochs})
    epochs = epochs[:: max(1, -(-len(epochs) // _POINTS))]
    known = [
        {
            e: scale * float(v)
            for e, v in zip(one.epochs, one.values, strict=True)
            if math.isfinite(v)
        }
        for one in curves
    ]
    labels = [one.name.partition(", ")[2] or _title(quantity) for one in curves]
    series = [
        Series(label, [(e, values[e]) for e in epochs if e in values], place, column=place + 1)
        for place, (label, values) in enumerate(zip(labels, known, strict=True))
    ]
    rows = [
        (f"{epoch:g}", *(_shown(values.get(epoch), scale) for values in known)) for epoch in epochs
    ]
    axis = share_axis if scale == 100.0 else value_axis
    return Chart(
        name, _title(quantity), "epoch", "", [one for one in series if one.points], _epochs,
        axis, plain_tick, plain_tick, ("epoch", *labels), rows,
    )  # fmt: skip


def _shown(value: float | None, scale: float) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if scale == 100.0 else f"{value:.4g}"


def _epochs(values: Sequence[float], start: float, end: float) -> Axis:
    low, high = min(values), max(values)
    if low == high:
        low, high = low - 0.5, high + 0.5
    return Axis(low, high, start, end, whole=True)
