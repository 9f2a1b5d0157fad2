"""`erde evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from erde_cli.commands.options import (
    BundleArgument,
    DeviceOption,
    GivenThresholdOption,
    JsonOption,
    PrecisionOption,
    QuietOption,
    ThreadsOption,
    path_of,
)
from erde_cli.core.figures import percent

SWEEP_NOTE = (
    "Do not choose θ from this sweep: it describes the images evaluated here. Choose θ with erde "
    "calibrate, on calibration images."
)


def evaluate(
    bundle: BundleArgument,
    split: Annotated[
        Literal["train", "calibration", "test"], typer.Option(help="Split to evaluate.")
    ] = "test",
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            show_default=False,
            parser=path_of,
            help="Evaluate your own labelled images instead: <class>/* or test/<class>/*.",
        ),
    ] = None,
    threshold: GivenThresholdOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            show_default=False,
            parser=path_of,
            help="Folder for JSON, CSV and pictures; default: BUNDLE/evaluation/SPLIT, with "
            "--threshold BUNDLE/evaluation/SPLIT-threshold.",
        ),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            metavar="BUNDLE",
            show_default=False,
            parser=path_of,
            help="Teacher to mark in the picture; default: the run's own.",
        ),
    ] = None,
    precision: PrecisionOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Evaluate a bundle: every exit, the calibrated thresholds, every class, and a sweep of θ.

    Example: [bold]erde evaluate runs/digits/student[/bold]
    """  # fmt: skip
    from erde_cli.core.thresholds.written import read_thresholds

    thetas = None if threshold is None else read_thresholds(threshold)  # before torch is imported
    from rich.markup import escape

    from erde_cli.commands.views.tables import (
        evaluation_table,
        gap_table,
        picture_line,
        sweep_table,
        weakest_table,
    )
    from erde_cli.commands.views.terminal import show, working
    from erde_cli.core.workflows.evaluate import EvaluateRequest, evaluate_bundle

    with working(quiet, device, threads) as options:
        request = EvaluateRequest(split, data, out, teacher, precision, thetas)
        files = evaluate_bundle(bundle, options, request)
    evaluation = files.evaluation
    document = evaluation.to_json()
    title = f"{document['images']:,} images ({escape(document['split'])})"
    show(
        document,
        as_json,
        evaluation_table(title, document, evaluation.score.unit),
        *_agreement(document),
        weakest_table(document),
        *gap_table(document),
        sweep_table(evaluation),
        SWEEP_NOTE,
        *picture_line(files.picture, files.confusion),
    )


def _agreement(document: dict[str, Any]) -> list[str]:
    """How many labels agree with the last exit, and whether a guarantee covers the thresholds."""
    if document["thresholds"] is None:
        return []
    covered = "a guarantee covers" if document["certified"] else "no guarantee covers"
    share = f"{percent(document['agreement'])} % of the images"
    return [f"{share} get the same label as at the last exit; {covered} the thresholds."]
