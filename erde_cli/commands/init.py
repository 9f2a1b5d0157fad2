"""`erde init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from erde_cli.commands.options import (
    DeviceOption,
    FolderArgument,
    JsonOption,
    QuietOption,
    ThreadsOption,
    path_of,
)

_MOST = 100_000  # minutes: 70 days


def _within_limits(minutes: float) -> float:
    if not 1 <= minutes <= _MOST:
        raise typer.BadParameter(f"expected 1 to {_MOST:,} minutes, got {minutes}")
    return minutes


def init(
    folder: FolderArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            show_default=False,
            parser=path_of,
            help="Recipe to write; default: <folder name>.yaml.",
        ),
    ] = None,
    minutes: Annotated[
        float,
        typer.Option(
            "--minutes", callback=_within_limits, help="Minutes that the run may take, at least 1."
        ),
    ] = 30.0,
    pretrained: Annotated[
        bool | None,
        typer.Option(
            "--pretrained/--no-pretrained",
            show_default=False,
            help="Whether the networks start from ImageNet weights, which the run downloads; "
            "default: for at most 20,000 train images of 128 pixels or more.",
        ),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Write a recipe for a folder of images, with networks and epochs that fit the time.

    All values come from a fixed table, so the same images give the same recipe.
    A few training steps are then timed to estimate the run on this machine.

    Example: [bold]erde init photos --minutes 30[/bold]
    """
    from erde_cli.commands.views.plan import plan_pieces
    from erde_cli.commands.views.terminal import show, working

    with working(quiet, device, threads) as options:
        from erde_cli.core.workflows.init import write_first_recipe

        written = write_first_recipe(folder, out, minutes, options, pretrained=pretrained)
    show(written.to_json(), as_json, *plan_pieces(written.plan), f"next: erde run {written.path}")
