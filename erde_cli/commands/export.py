"""`erde export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from erde_cli.commands.options import (
    BundleArgument,
    JsonOption,
    QuietOption,
    ThreadsOption,
    path_of,
)
from erde_cli.core.export.formats import FORMATS, FormatName, named
from erde_cli.core.figures import byte_size, theta

if TYPE_CHECKING:
    from rich.console import RenderableType

    from erde_cli.core.workflows.export import ExportedBundle

_SUMMARIES = [row.summary for row in FORMATS.values()]
_FORMATS_HELP = f"{', '.join(_SUMMARIES[:-1])}, or {_SUMMARIES[-1]}."


def export(
    bundle: BundleArgument,
    format_: Annotated[
        FormatName,
        typer.Option(
            "--format",
            show_default=False,
            help=_FORMATS_HELP[0].upper() + _FORMATS_HELP[1:],
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="PATH",
            show_default=False,
            parser=path_of,
            help=f"File to write; of {named(lambda row: row.marker)}, the folder.",
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
            parser=path_of,
            help="Images to verify on, not the calibration split; labels are not needed.",
        ),
    ] = None,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help=f"Of {named(lambda row: row.int8)}: quantise, choose the thresholds again, tell "
            "what it costs.",
        ),
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    threads: ThreadsOption = None,
) -> None:
    """Write a calibrated bundle as ONNX or for torch.export, with its early exits.

    The export is run and compared with the bundle, on calibration images at every
    exit, before it is kept: one that answers otherwise leaves no file.

    Example: [bold]erde export runs/digits/student --format onnx --out digits.onnx[/bold]
    """  # fmt: skip
    _check(format_, out, data, int8)
    from erde_cli.commands.views.terminal import show, working
    from erde_cli.core.workflows.export import ExportRequest, export_bundle

    request = ExportRequest(format_, out, not no_preprocessing, data, int8=int8)
    with working(quiet, "cpu", threads) as options:
        found = export_bundle(bundle, request, options)
    show(found.to_json(), as_json, *_pieces(found))


def _check(form: FormatName, out: Path, data: Path | None, int8: bool) -> None:
    """Check that the options can be used, before anything heavy is imported."""
    from erde_cli.core.errors import InputError
    from erde_cli.core.platform.extras import require_extra
    from erde_cli.core.storage.files import check_file_target

    row = FORMATS[form]
    if int8 and not row.int8:
        raise InputError(
            "--int8 quantises stages.",
            got=f"--format {form}",
            expected=f"--format {named(lambda row: row.int8)}",
            hint="leave --int8 out, or export stages",
        )
    if row.needs_suffix and out.suffix != row.suffix:
        raise InputError(
            f"A {row.kind} ends in {row.suffix}.",
            got=str(out),
            hint="give another --out",
            expected=f"a name that ends in {row.suffix}",
        )
    if not row.marker:
        check_file_target(out, "--out")
    if data is not None and not data.is_dir():
        raise InputError(
            f"There is no folder {data}.",
            hint="give an existing one with --data",
            expected="a folder of images",
        )
    if row.extra is not None:
        require_extra(row.extra, f"--format {form}")


def _pieces(found: ExportedBundle) -> list[RenderableType]:
    """The checks as a table, and what was written."""
    from rich.markup import escape

    from erde_cli.commands.views.tables import table

    source = "calibration images" if found.request.data is None else "images of --data"
    what = "Before quantising, verified" if found.int8 else "Verified"
    checks = table(
        f"{what} on {found.images:,} {source}: same exits, same labels",
        f"θ, {found.record.score.unit}",
        "left at each exit",
        "too close to θ",
        "largest difference",
    )
    for check in found.checks:
        checks.add_row(
            " ".join(map(theta, check.thresholds)) or "-",
            " ".join(f"{count:,}" for count in check.exits),
            f"{check.near:,}",
            f"{check.largest_difference:.1e}",
        )
    about = found.request.row.about
    line = f"{escape(str(found.request.out))}: {byte_size(found.size)}, {about}"
    if found.int8 is None:
        return [checks, line]
    from erde_cli.commands.views.export_int8 import int8_pieces

    return [checks, *int8_pieces(found.int8), line]
