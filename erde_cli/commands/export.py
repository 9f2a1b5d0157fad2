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
    from erde_cli.core.workflows.export import Export


def export(
    bundle: BundleArgument,
    format: Annotated[  # noqa: A002 (as on the command line)
        Literal["onnx", "onnx-staged", "torch-export"],
        typer.Option(
            "--format",
            help="onnx: one file that stops early; onnx-staged: one for each stage, for batches; "
            "torch-export: a .pt2 of all exits.",
        ),
    ] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="File (onnx-staged: folder) to write; in BUNDLE/export if absent.",
        ),
    ] = None,
    preprocessing: Annotated[
        bool,
        typer.Option(
            "--preprocessing/--no-preprocessing",
            help="Take uint8 pixels and normalise them inside, or normalised float32.",
        ),
    ] = True,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            show_default=False,
            parser=folder_of,
            help="Images to compare on, labels not needed; the bundle's calibration split if "
            "absent.",
        ),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    threads: ThreadsOption = None,
) -> None:
    """Export a calibrated bundle to ONNX that really stops early, or to torch.export.

    What is written is run beside the bundle on calibration images, at the calibrated
    thresholds and with every exit taken, and kept only if the exits and labels are the
    same.

    Example: [bold]erde export runs/digits/student --out student.onnx[/bold]
    """
    from erde_cli.core.extras import require_onnx

    if format != "torch-export":
        require_onnx()
    from erde_cli.commands.terminal import show, working
    from erde_cli.core.workflows.export import export_bundle

    with working(quiet, "cpu", threads) as options:
        found = export_bundle(
            bundle, options,
            format=format, out=out, preprocessing=preprocessing, images=images,
        )  # fmt: skip
    show(found.to_json(), as_json, *_pieces(found))


def _pieces(found: Export) -> list[str]:
    from rich.markup import escape

    agreement = found.agreement
    exits = len(agreement.exit_counts)
    close = ""
    if agreement.close:
        close = (
            f"; {agreement.close:,} lay within 0.00001 nats of a threshold and were not compared"
        )
    compared = f"{agreement.compared:,} answers on {agreement.images:,} images"
    if found.format == "torch-export":
        agrees = f"All logits as the bundle's on {agreement.images:,} images"
    else:
        agrees = f"The same exits and labels as the bundle in {compared}, all {exits} exits taken"
    return [
        f"{agrees}{close}; largest difference of a probability {agreement.largest_difference:.1e}.",
        f"{found.format}: {escape(str(found.path))} ({found.size / 1e6:.2f} MB)",
    ]
