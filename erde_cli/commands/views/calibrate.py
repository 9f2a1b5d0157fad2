"""What `erde calibrate` shows: figures, exits, and what may be relied on."""

from __future__ import annotations

from typing import Any

from rich.console import RenderableType
from rich.table import Table

from erde_cli.commands.views.tables import exit_name, macs, percent, picture_line, table
from erde_cli.commands.views.tables import threshold as written
from erde_cli.core.calibration.statement import UNCOVERED, nothing_in_short, promised_in_short
from erde_cli.core.workflows.calibrate import Thresholds

_ASKED = {
    "threshold": "θ {value} for all exits",
    "max_drop": "at most {value} points below the last exit",
    "min_accuracy": "{measure} of {value} or more",
    "max_macs": "at most {value} of the full MACs",
    "max_latency": "at most {value} ms per image",
    "max_risk": "{risk} of at most {value}, confidence {confidence}",
}


def calibration_pieces(found: Thresholds) -> list[RenderableType]:
    """Tables and sentences of a calibration."""
    document = found.to_json()
    pieces: list[RenderableType] = [_figures(document, found.profile.full_macs), _exits(document)]
    if document["temperature"] is not None:
        pieces += _temperatures(document, found.profile.full_macs)
    return [*pieces, *_verdicts(document), *picture_line(found.picture)]


def _figures(document: dict[str, Any], full: int) -> Table:
    target, measure = document["target"], _metric(document).replace("_", " ")
    asked = {"risk": "", "confidence": "", "measure": measure, **target}
    made = table(
        f"{_images(document)} ({document['source']}): " + _ASKED[target["kind"]].format_map(asked),
        "", f"{measure} %", "last exit %", *([] if measure == "accuracy" else ["accuracy %"]),
        "as the last exit %", "expected MACs", "of full %",
        *(["ms"] if document["expected_latency"] is not None else []),
    )  # fmt: skip
    if document["certificate"] is not None:
        rows = [("half B", document)]
    else:
        rows = [("chosen on", document), ("held out", document["held_out"])]
    for label, row in rows:
        made.add_row(label, *_cells(row, full, _metric(document)))
    return made


def _images(document: dict[str, Any]) -> str:
    certificate = document["certificate"]
    if certificate is None:
        return f"{document['images']:,} images"
    return f"{certificate['images']:,} of {document['images']:,} images"


def _metric(document: dict[str, Any]) -> str:
    """Key of what the thresholds were chosen by; the same of the last exit has `full_` before."""
    return str(document["target"].get("metric", "accuracy"))


def _cells(row: dict[str, Any], full: int, metric: str) -> list[str]:
    plain = [] if metric == "accuracy" else [row["accuracy"]]
    shares = [row[metric], row[f"full_{metric}"], *plain, row["agreement"]]
    cells = ["-" if share is None else percent(share) for share in shares]
    cells += [macs(row["expected_macs"]), f"{100 * row['expected_macs'] / full:.1f}"]
    return cells + ([f"{row['expected_latency']:.3f}"] if row["expected_latency"] else [])


def _exits(document: dict[str, Any]) -> Table:
    rates, temperatures = document["exit_rates"], document["temperatures"]
    timed = document["latency"]
    more = [*(["temperature"] if temperatures else []), *(["ms"] if timed else [])]
    made = table("Exits", "exit", "θ, nats", "leave here %", *more)
    for index, (theta, rate) in enumerate(zip([*document["thresholds"], None], rates, strict=True)):
        extra = [f"{temperatures[index]:.3f}"] if temperatures else []
        extra += [f"{timed['ms'][index]:.3f}"] if timed else []
        made.add_row(exit_name(index, len(rates)), written(theta), percent(rate), *extra)
    return made


def _temperatures(document: dict[str, Any], full: int) -> list[RenderableType]:
    scaling = document["temperature"]
    made = table(
        "Temperature scaling, cross-fitted on half A", "exit", "temperature", "NLL before",
        "NLL after", "ECE before %", "ECE after %",
    )  # fmt: skip
    for index, one in enumerate(scaling["exits"]):
        made.add_row(
            exit_name(index, len(scaling["exits"])),
            f"{one['temperature']:.3f}",
            f"{one['nll_before']:.4f}",
            f"{one['nll_after']:.4f}",
            percent(one["ece_before"]),
            percent(one["ece_after"]),
        )
    without = scaling["without"]
    if without is None:
        return [made]
    held_out = without["held_out"]
    sentence = (
        f"Without temperatures the same target gives {percent(held_out[_metric(document)])} % at "
        f"{macs(held_out['expected_macs'])} MACs ({100 * held_out['expected_macs'] / full:.1f} % "
        "of full), held out. Better probabilities need not make better exits."
    )
    return [made, sentence]


def _verdicts(document: dict[str, Any]) -> list[str]:
    """What may be relied on, and what may not."""
    certificate, kind = document["certificate"], document["target"]["kind"]
    missed = ["The target cannot be met; these thresholds come nearest to it."]
    if certificate is not None:
        searched = document["target"]["how"] == "searched"
        told = [] if searched or document["met_where_chosen"] else missed
        return [*told, *_promise(certificate, searched=searched)]
    if kind == "threshold":
        return ["A θ you set yourself: nothing is promised of it."]
    if not document["met_where_chosen"]:
        told = missed
    elif document["met"]:
        told = ["The target is met, also on images that did not choose (held out)."]
    else:
        sentence = (
            "The target is met on the images that chose, and missed on images that did not "
            f"(held out: {_missed(document)}): name a stricter one, or give more images."
        )
        told = [sentence]
    return [*told, "This is an estimate, not a promise: --max-risk makes one."]


def _promise(certificate: dict[str, Any], *, searched: bool) -> list[str]:
    """Three lines of the promise, or of what it would take; the whole is in the file."""
    confidence, images = certificate["confidence"], certificate["images"]
    if certificate["promised"] is not None:
        return promised_in_short(
            certificate["risk"], certificate["promised"], confidence, images,
            certificate["observed"], by_bounds=certificate["basis"] == "bounds",
        )  # fmt: skip
    if not searched:
        return [UNCOVERED]
    return nothing_in_short(
        certificate["epsilon"], confidence, images, tested=certificate["tested"],
        least=certificate["least_images"], wanted=certificate["images_wanted"],
    )  # fmt: skip


def _missed(document: dict[str, Any]) -> str:
    held_out, target, metric = document["held_out"], document["target"], _metric(document)
    if target["kind"] == "max_drop":
        return f"{100 * (held_out[f'full_{metric}'] - held_out[metric]):z.2f} points"
    if target["kind"] == "min_accuracy":
        return f"{percent(held_out[metric])} %"
    if target["kind"] == "max_latency":
        return f"{held_out['expected_latency']:.3f} ms"
    return f"{macs(held_out['expected_macs'])} MACs"
