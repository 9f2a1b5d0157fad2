"""`erde report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from erde_cli.commands.options import DeviceOption, JsonOption, QuietOption, ThreadsOption, path_of

if TYPE_CHECKING:
    from erde_cli.core.workflows.report import Report


def report(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|COMPARISON|BUNDLE",
            show_default=False,
            parser=path_of,
            help="Folder of erde run or erde compare, or of a trained model.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            show_default=False,
            parser=path_of,
            help="FILE.html, or FILE.md for a model card; default: report.html in the folder.",
        ),
    ] = None,
    open_it: Annotated[
        bool, typer.Option("--open", help="Open the report in your browser.")
    ] = False,
    no_images: Annotated[
        bool, typer.Option("--no-images", help="Show no image of the calibration split.")
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Write one file about a run, a comparison or a bundle, to look at and to send on.

    It needs no other file and opens no connection. Test images are never read
    again: the final evaluation keeps its answers. Some calibration images are
    shown, unless you type [bold]--no-images[/bold].

    Example: [bold]erde report runs/digits --open[/bold]
    """
    from erde_cli.commands.views.terminal import show, working
    from erde_cli.core.workflows.report import report

    with working(quiet, device, threads) as options:
        written = report(source, options, out=out, images=not no_images)
        if open_it and not _opened(written):
            options.observer.warning(f"No browser could be started. Open {written.path} yourself.")
    show(written.to_json(), as_json, *_lines(written))


def _lines(written: Report) -> list[str]:
    from rich.markup import escape

    from erde_cli.core.figures import byte_size

    size = byte_size(written.path.stat().st_size)
    missing = [f"not shown: {escape(one)}" for one in written.document.missing]
    return [*missing, f"report:  {escape(str(written.path))} ({size})"]


def _opened(written: Report) -> bool:
    import webbrowser

    return webbrowser.open(written.path.absolute().as_uri())
