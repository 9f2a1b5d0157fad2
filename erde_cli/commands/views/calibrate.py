"""Tables and sentences of a calibration: figures, exits, temperatures, and what is guaranteed."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import RenderableType
from rich.table import Table

from erde_cli.commands.views.tables import exit_name, picture_line, table
from erde_cli.core.calibration.statement import UNCOVERED, guarantee_in_short, no_guarantee_in_short
from erde_cli.core.calibration.temperature_effect import TemperatureEffect
from erde_cli.core.calibration.thresholds_file import (
    CertificateDocument,
    FiguresDocument,
    ThresholdsDocument,
)
from erde_cli.core.figures import macs, milliseconds, percent, theta
from erde_cli.core.thresholds.target import Metric, Unit
from erde_cli.core.workflows.calibrate import Thresholds

_IN_UNITS: dict[Unit, Callable[[float], str]] = {
    "points": lambda points: f"{points:z.2f} points",
    "%": lambda share: f"{percent(share)} %",
    "MACs": lambda count: f"{macs(count)} MACs",
    "ms": lambda ms: f"{milliseconds(ms)} ms",
}


def calibration_pieces(thresholds: Thresholds) -> list[RenderableType]:
    """Tables and sentences of a calibration."""
    document, full = thresholds.document, thresholds.profile.full_macs
    pieces: list[RenderableType] = [_figures(document, full), _exits(document)]
    if thresholds.temperature is not None:
        pieces += _temperatures(thresholds.temperature, full)
    return [*pieces, *_verdicts(document), *picture_line(thresholds.picture)]


def _figures(document: ThresholdsDocument, full: int) -> Table:
    measure = document.metric.replace("_", " ")
    made = table(
        f"{_images(document)} ({document.source}): {document.target.read().in_words}",
        "", f"{measure} %", "last exit %",
        *([] if document.metric == "accuracy" else ["accuracy %"]),
        "same as last exit %", "expected MACs", "of full %",
        *(["ms"] if document.expected_latency is not None else []),
    )  # fmt: skip
    if document.certificate is not None:
        made.add_row("test half", *_cells(document, full, document.metric))
    else:
        made.add_row("chosen on", *_cells(document, full, document.metric))
        made.add_row("held out", *_cells(document.held_out, full, document.metric))
    return made


def _images(document: ThresholdsDocument) -> str:
    certificate = document.certificate
    if certificate is None:
        return f"{document.images:,} images"
    return f"{certificate.images:,} of {document.images:,} images"


def _cells(row: FiguresDocument, full: int, metric: Metric) -> list[str]:
    plain = [] if metric == "accuracy" else [row.accuracy]
    shares = [row.by_metric, row.full_by_metric, *plain, row.agreement]
    cells = ["-" if share is None else percent(share) for share in shares]
    cells += [macs(row.expected_macs), percent(row.expected_macs / full, 1)]
    return cells + ([milliseconds(row.expected_latency)] if row.expected_latency else [])


def _exits(document: ThresholdsDocument) -> Table:
    rates, temperatures = document.exit_rates, document.temperatures
    timed = document.latency
    more = [*(["temperature"] if temperatures else []), *(["ms"] if timed else [])]
    made = table("Exits", "exit", f"θ, {document.unit}", "leave here %", *more)
    for index, (value, rate) in enumerate(zip([*document.thresholds, None], rates, strict=True)):
        extra = [f"{temperatures[index]:.3f}"] if temperatures else []
        extra += [milliseconds(timed.ms[index])] if timed else []
        made.add_row(exit_name(index, len(rates)), theta(value), percent(rate), *extra)
    return made


def _temperatures(effect: TemperatureEffect, full: int) -> list[RenderableType]:
    made = table(
        "Temperature scaling, cross-fitted on the tuning half", "exit", "temperature", "NLL before",
        "NLL after", "ECE before %", "ECE after %",
    )  # fmt: skip
    for index, one in enumerate(effect.exits):
        made.add_row(
            exit_name(index, len(effect.exits)),
            f"{one.temperature:.3f}",
            f"{one.nll_before:.4f}",
            f"{one.nll_after:.4f}",
            percent(one.ece_before),
            percent(one.ece_after),
        )
    if effect.without is None:
        return [made]
    held_out = effect.without.held_out
    sentence = (
        f"Without temperatures the same target gives {percent(held_out.by_metric or 0)} % at "
        f"{macs(held_out.expected_macs)} MACs ({percent(held_out.expected_macs / full, 1)} % "
        "of full), held out. Better probabilities need not give better exits."
    )
    return [made, sentence]


def _verdicts(document: ThresholdsDocument) -> list[str]:
    """Whether the target is met, and what is guaranteed."""
    certificate, target = document.certificate, document.target.read()
    missed = "The target cannot be met; these thresholds come closest to it."
    if certificate is not None:
        searched = document.target.how == "searched"
        first = [] if searched or document.met_where_chosen else [missed]
        return [*first, *_guarantee(certificate, searched=searched)]
    if target.fixed_thresholds(len(document.thresholds)) is not None:
        return ["You set θ yourself: nothing is guaranteed."]
    if not document.met_where_chosen:
        verdict = missed
    elif document.met:
        verdict = "The target is met, also on images that did not choose the thresholds (held out)."
    else:
        value, unit = target.reached(document.held_out)
        verdict = (
            "The target is met on the images that chose the thresholds, but missed on images that "
            f"did not (held out: {_IN_UNITS[unit](value)}). Set a stricter target, or use more "
            "images."
        )
    return [verdict, "This is an estimate, not a guarantee: --max-risk gives one."]


def _guarantee(certificate: CertificateDocument, *, searched: bool) -> list[str]:
    """Three lines: the guarantee, or what it would take. The file has the whole text."""
    if certificate.promised is not None:
        return guarantee_in_short(certificate)
    return no_guarantee_in_short(certificate) if searched else [UNCOVERED]
