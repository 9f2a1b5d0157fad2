"""`erde data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from erde_cli.commands.completion import dataset_names
from erde_cli.commands.options import (
    DeviceOption,
    JsonOption,
    QuietOption,
    ThreadsOption,
    path_of,
)

data = typer.Typer(invoke_without_command=True)


@data.callback()
def list_datasets(
    context: typer.Context,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """List the data sets and their state on this machine, or download one.

    Example: [bold]erde data[/bold]
    """
    if context.invoked_subcommand is not None:
        return
    from rich.markup import escape

    from erde_cli.commands.views.tables import datasets_table
    from erde_cli.commands.views.terminal import show
    from erde_cli.core.workflows.datasets import list_data

    del quiet, device, threads  # unused; accepted so that scripts can pass them to every command
    found = list_data()
    show(
        found.to_json(),
        as_json,
        datasets_table(found.datasets),
        f"folder: {escape(str(found.folder))}",
        "Download one with: erde data fetch NAME",
    )


@data.command("fetch")
def fetch_dataset(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", autocompletion=dataset_names, help="cifar10, cifar100 or svhn."
        ),
    ],
    root: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            show_default=False,
            parser=path_of,
            help="Folder to download to; default: $ERDE_DATA, or else erde's folder in your cache.",
        ),
    ] = None,
    extra: Annotated[
        bool, typer.Option("--extra", help="Also the 531,131 extra images of svhn (1.3 GB).")
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Download a data set unless it is already there, and verify it.

    Example: [bold]erde data fetch cifar10[/bold]
    """
    from rich.markup import escape

    from erde_cli.commands.views.terminal import show, working
    from erde_cli.core.workflows.datasets import fetch_data

    with working(quiet or as_json, device, threads) as options:
        fetched = fetch_data(name, root, options.observer, extra=extra)
    state = "downloaded and verified" if fetched.downloaded else "already there and complete"
    show(fetched.to_json(), as_json, f"{name} is {state}: {escape(str(fetched.folder))}")
