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

_MOST = 100_000  # minutes, 70 days


def _usable(minutes: float) -> float:
    if not 1 <= minutes <= _MOST:
        raise typer.BadParameter(f"1 to {_MOST:,} minutes are expected, got {minutes}")
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
            help="Recipe to write; <name of the folder>.yaml if absent.",
        ),
    ] = None,
    minutes: Annotated[
        float,
        typer.Option(
            "--minutes", callback=_usable, help="Minutes that the whole run may take, 1 or more."
        ),
    ] = 30.0,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Write a recipe for a folder of images: sizes, networks and epochs that fit it and the time.

    They come from a fixed table, so that the same images give the same recipe; a
    few steps are timed to say what it comes to on this machine.

    Example: [bold]erde init photos --minutes 30[/bold]
    """
    from erde_cli.commands.views.plan import plan_pieces
    from erde_cli.commands.views.terminal import show, working

    with working(quiet, device, threads) as options:
        from erde_cli.core.workflows.init import write_first_recipe

        made = write_first_recipe(folder, out, minutes, options)
    show(made.to_json(), as_json, *plan_pieces(made.plan), f"next: erde run {made.path}")
