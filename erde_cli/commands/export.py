"""`erde export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from erde_cli.commands.options import (
    BundleArgument,
    JsonOption,
    QuietOption,
    ThreadsOption,
    folder_of,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from erde_cli.core.workflows.export import ExportedBundle

_ABOUT = {
    "onnx": "one image at a time; the file itself stops early",
    "onnx-staged": "a file per stage, for batches; manifest.json says what is what",
    "torch-export": "every exit of a batch; torch.export.load opens it",
}


def export(
    bundle: BundleArgument,
    format_: Annotated[
        Literal["onnx", "onnx-staged", "torch-export"],
        typer.Option(
            "--format",
            show_default=False,
            help="One file for single images that stops early, a folder of stages for batches, "
            "or all exits for torch.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="PATH",
            show_default=False,
            parser=folder_of,
            help="File to write; of onnx-staged, the folder.",
        ),
    ],
    no_preprocessing: Annotated[
        bool,
        typer.Option(
            "--no-preprocessing",
            help="Take float32 images that are normalised already, not uint8 pixels.",
        ),
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            show_default=False,
            parser=folder_of,
            help="Images to verify on, not the calibration split; labels are not needed.",
        ),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    threads: ThreadsOption = None,
) -> None:
    """Write a calibrated bundle as ONNX or for torch.export, with its early exits.

    The export is run and compared with the bundle, on calibration images at every
    exit, before it is kept: one that answers otherwise leaves no file.

    Example: [bold]erde export runs/digits/student --format onnx --out digits.onnx[/bold]
    """  # fmt: skip
    _check(format_, out, data)
    from erde_cli.commands.terminal import show, working
    from erde_cli.core.workflows.export import ExportRequest, export_bundle

    request = ExportRequest(format_, out, not no_preprocessing, data)
    with working(quiet, "cpu", threads) as options:
        found = export_bundle(bundle, request, options)
    show(found.to_json(), as_json, *_pieces(found))


def _check(format_: str, out: Path, data: Path | None) -> None:
    """See that the options can be used, before anything heavy is imported."""
    from erde_cli.core.errors import InputError
    from erde_cli.core.extras import require_extra

    if format_ == "torch-export" and out.suffix != ".pt2":
        raise InputError(
            "A file of torch.export ends in .pt2.", got=str(out), hint="give another --out"
        )
    if format_ != "onnx-staged" and out.is_dir():
        raise InputError(f"{out} is in the way.", got="a folder", expected="a file to write")
    if data is not None and not data.is_dir():
        raise InputError(f"There is no folder {data}.", hint="give an existing one with --data")
    if format_ != "torch-export":
        require_extra("onnx", f"--format {format_}")


def _pieces(found: ExportedBundle) -> list[RenderableType]:
    """The checks as a table, and what was written."""
    from rich.markup import escape

    from erde_cli.commands.tables import table
    from erde_cli.core.thresholds import write_threshold

    source = "calibration images" if found.request.data is None else "images of --data"
    checks = table(
        f"Verified on {found.images:,} {source}: same exits, same labels",
        "θ, nats",
        "left at each exit",
        "too close to θ",
        "largest difference",
    )
    for check in found.checks:
        thetas = [write_threshold(value) for value in check.thresholds]
        checks.add_row(
            " ".join(one if isinstance(one, str) else f"{one:.4f}" for one in thetas) or "-",
            " ".join(f"{count:,}" for count in check.exits),
            f"{check.near:,}",
            f"{check.largest_difference:.1e}",
        )
    kind = found.request.format
    return [checks, f"{escape(str(found.request.out))}: {found.size / 1e3:,.0f} kB, {_ABOUT[kind]}"]
