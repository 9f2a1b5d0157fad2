"""`erde calibrate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from erde_cli.commands.options import (
    BundleArgument,
    DeviceOption,
    JsonOption,
    PrecisionOption,
    QuietOption,
    ThreadsOption,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from erde_cli.core.workflows.calibrate import Thresholds


def calibrate(
    bundle: BundleArgument,
    threshold: Annotated[
        str | None,
        typer.Option(
            metavar="NATS",
            show_default=False,
            help="One θ for all exits, in nats; or always, or never.",
        ),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            metavar="POINTS",
            show_default=False,
            help="Cheapest, at most this many accuracy points below the model's last exit.",
        ),
    ] = None,
    max_macs: Annotated[
        float | None,
        typer.Option(
            metavar="RATIO",
            show_default=False,
            help="Most accurate, at no more than this share of the model's full MACs.",
        ),
    ] = None,
    precision: PrecisionOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Choose the thresholds at which images leave early, and keep them in the bundle.

    One target, on the calibration split. The choice flatters itself; the figures
    "held out" do not: they come from five-fold cross-fitting.

    Example: [bold]erde calibrate runs/digits/student --max-drop 1[/bold]
    """  # fmt: skip
    from erde_cli.commands.terminal import show, working
    from erde_cli.core.targets import one_target

    target = one_target(threshold=threshold, max_drop=max_drop, max_macs=max_macs)
    from erde_cli.core.workflows.calibrate import calibrate_bundle

    with working(quiet, device, threads) as options:
        found = calibrate_bundle(bundle, target, options, precision or "float32")
    show(found.to_json(), as_json, *_pieces(found))


def _pieces(found: Thresholds) -> list[RenderableType]:
    from erde_cli.commands.tables import exit_name, macs, percent, table
    from erde_cli.commands.tables import threshold as written

    document = found.to_json()
    target = document["target"]
    name = {"max_drop": "max drop", "max_macs": "max MACs"}.get(target["kind"], "threshold")
    made = table(
        f"{document['images']:,} calibration images, {name} {target['value']} {target['unit']}",
        "", "accuracy %", "last exit %", "expected MACs", "of full %",
    )  # fmt: skip
    for label, row in (("chosen on", document), ("held out", document["held_out"])):
        made.add_row(
            label,
            percent(row["accuracy"]),
            percent(row["full_accuracy"]),
            macs(row["expected_macs"]),
            f"{100 * row['expected_macs'] / found.profile.full_macs:.1f}",
        )
    exits = table("Exits", "exit", "θ, nats", "leave here %")
    rates = document["exit_rates"]
    for index, (theta, rate) in enumerate(zip([*document["thresholds"], None], rates, strict=True)):
        exits.add_row(exit_name(index, len(rates)), written(theta), percent(rate))
    met = "The target is met on the calibration split."
    if not document["met"]:
        met = "The target cannot be met; these thresholds come nearest to it."
    return [made, exits, met]
