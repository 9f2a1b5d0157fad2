"""`erde export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from erde_cli.commands.completion import bundle_paths
from erde_cli.commands.export_check import check_existing_export
from erde_cli.commands.options import (
    JsonOption,
    QuietOption,
    ThreadsOption,
    path_of,
)
from erde_cli.core.export.formats import (
    FORMATS,
    Combination,
    FormatName,
    alternatives_to,
    named,
)
from erde_cli.core.figures import byte_size, theta

if TYPE_CHECKING:
    from rich.console import RenderableType

    from erde_cli.core.workflows.export import ExportedBundle

_SUMMARIES = [row.summary for row in FORMATS.values()]
_FORMATS_HELP = f"{', '.join(_SUMMARIES[:-1])}, or {_SUMMARIES[-1]}."


def export(
    bundle: Annotated[
        Path,
        typer.Argument(
            metavar="BUNDLE",
            show_default=False,
            parser=path_of,
            autocompletion=bundle_paths,
            help="Folder of a trained model; with --check, an export.",
        ),
    ],
    format_: Annotated[
        FormatName | None,
        typer.Option(
            "--format",
            show_default=False,
            help=_FORMATS_HELP[0].upper() + _FORMATS_HELP[1:],
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            show_default=False,
            parser=path_of,
            help=f"File to write; for {named(lambda row: row.marker)}, a folder.",
        ),
    ] = None,
    no_preprocessing: Annotated[
        bool,
        typer.Option(
            "--no-preprocessing",
            help="The export takes normalised float32 images instead of uint8 pixels.",
        ),
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            show_default=False,
            parser=path_of,
            help="Images to verify on instead of the calibration split; labels are not needed.",
        ),
    ] = None,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help=f"For {named(lambda row: row.int8)}: quantise, choose the thresholds again, and "
            "report accuracy and latency.",
        ),
    ] = False,
    exit_: Annotated[
        int | None,
        typer.Option(
            "--exit",
            metavar="N",
            min=1,
            show_default=False,
            help="A plain network up to exit N, from 1, without early heads: images in, logits "
            "out.",
        ),
    ] = None,
    portable: Annotated[
        bool,
        typer.Option(
            "--portable",
            help="For stages and --exit: float images in, logits out, for converters to LiteRT and "
            "ncnn.",
        ),
    ] = False,
    input_: Annotated[
        Literal["any"] | None,
        typer.Option(
            "--input",
            metavar="any",
            show_default=False,
            help="For onnx: the file takes images of any size and resizes them itself. Only ONNX "
            "Runtime runs it.",
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Run an existing export on the check vector in it; exit code 1 if an answer "
            "differs.",
        ),
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    threads: ThreadsOption = None,
) -> None:
    """Export a calibrated bundle to ONNX or torch.export, with its early exits.

    The export is run on calibration images and compared with the bundle at every
    exit. If an answer differs, no file is kept.

    Example: [bold]erde export runs/digits/student --format onnx --out digits.onnx[/bold]
    """  # fmt: skip
    flags = {
        "--exit": exit_ is not None, "--int8": int8, "--portable": portable,
        "--input any": input_ is not None, "--no-preprocessing": no_preprocessing,
    }  # fmt: skip
    if check:
        options_given = {"--format": format_, "--out": out, "--data": data, **flags}
        others = [name for name, given in options_given.items() if given]
        check_existing_export(bundle, others, as_json, threads)
        return
    format_, out = _required(format_, out)
    _check_combination(format_, frozenset(name for name, given in flags.items() if given))
    _check(format_, out, data)
    from erde_cli.commands.views.terminal import show, working
    from erde_cli.core.workflows.export import ExportRequest, export_bundle

    request = ExportRequest(
        format_, out, not no_preprocessing, data, int8=int8,
        exit=None if exit_ is None else exit_ - 1, portable=portable,
        resized_by="client" if input_ is None else "graph",
    )  # fmt: skip
    with working(quiet, "cpu", threads) as options:
        exported = export_bundle(bundle, request, options)
    show(exported.to_json(), as_json, *_pieces(exported))


def _required(form: FormatName | None, out: Path | None) -> tuple[FormatName, Path]:
    """Format and path, which only --check does without."""
    from erde_cli.core.errors import InputError

    if form is None:
        raise InputError(
            "Missing option --format.",
            expected=f"--format {named(lambda row: True)}",
            hint="add --format, or --check to run an existing export",
        )
    if out is None:
        raise InputError(
            "Missing option --out.",
            expected="--out PATH, which names the file or folder to write",
            hint="add --out, or --check to run an existing export",
        )
    return form, out


def _check_combination(form: FormatName, options: frozenset[str]) -> None:
    """Check that the options can be used together."""
    from erde_cli.core.errors import InputError

    others = alternatives_to(form, options)
    if others:
        raise InputError(
            "No export has this combination of options.",
            got=str(Combination(form, options)),
            expected=", or ".join(map(str, others)),
            hint="choose one of these; docs/export.md lists all combinations",
        )


def _check(form: FormatName, out: Path, data: Path | None) -> None:
    """Check the options before torch is imported."""
    from erde_cli.core.errors import InputError
    from erde_cli.core.platform.extras import require_extra
    from erde_cli.core.storage.files import check_file_target

    row = FORMATS[form]
    if row.needs_suffix and out.suffix != row.suffix:
        raise InputError(
            f"A {row.kind} ends in {row.suffix}.",
            got=str(out),
            hint="choose another name with --out",
            expected=f"a name that ends in {row.suffix}",
        )
    if not row.marker:
        check_file_target(out, "--out")
    if data is not None and not data.is_dir():
        raise InputError(
            f"The folder {data} does not exist.",
            hint="choose another folder with --data",
            expected="a folder of images",
        )
    if row.extra is not None:
        require_extra(row.extra, f"--format {form}")


def _pieces(exported: ExportedBundle) -> list[RenderableType]:
    """Table of the checks, and the path and size of the export."""
    from rich.markup import escape

    from erde_cli.commands.views.tables import table

    source = "calibration images" if exported.request.data is None else "images of --data"
    what = "Before quantising, verified" if exported.int8 else "Verified"
    checks = table(
        f"{what} on {exported.images:,} {source}: same exits, same labels",
        f"θ, {exported.record.score.unit}",
        "left at each exit",
        "too close to θ",
        "largest difference",
    )
    for check in exported.checks:
        checks.add_row(
            " ".join(map(theta, check.thresholds)) or "-",
            " ".join(f"{count:,}" for count in check.exits),
            f"{check.near:,}",
            f"{check.largest_difference:.1e}",
        )
    about = exported.about
    line = f"{escape(str(exported.request.out))}: {byte_size(exported.size)}, {about}"
    if exported.int8 is None:
        return [checks, line]
    from erde_cli.commands.views.export_int8 import int8_pieces

    return [checks, *int8_pieces(exported.int8), line]
