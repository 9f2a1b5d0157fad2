"""`erde predict`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from erde_cli.commands.options import (
    LARGEST_BATCH,
    STDOUT,
    DeviceOption,
    GivenThresholdOption,
    JsonOption,
    ModelArgument,
    QuietOption,
    RuntimeOption,
    ThreadsOption,
    path_or_stdout,
)
from erde_cli.core.export.runtimes import runtime_of

if TYPE_CHECKING:
    from erde_cli.core.thresholds.target import Target


def predict(
    model: ModelArgument,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            show_default=False,
            help="Images, folders, patterns such as 'photos/**/*.jpg', or - for paths on stdin.",
        ),
    ],
    threshold: GivenThresholdOption = None,
    pick: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=VALUE",
            show_default=False,
            help="Use the stored thresholds for another target in this call only, such as "
            "max-macs=0.4 or max-drop=2.",
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=LARGEST_BATCH,
            show_default=False,
            help="Images per forward pass; default: as many as suit the device.",
        ),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            parser=path_or_stdout,
            help="Write the rows to this CSV file; - for stdout.",
        ),
    ] = None,
    live: Annotated[
        bool,
        typer.Option(
            "--live",
            help="With PATH -: classify each image as soon as its path arrives on stdin, for "
            "example from a camera script.",
        ),
    ] = False,
    runtime: RuntimeOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    workers: Annotated[
        int,
        typer.Option(
            "--workers",
            metavar="N",
            min=1,
            help="Batches at once on the CPU; --threads is for each (default: the cores divided "
            "by N).",
        ),
    ] = 1,
) -> None:
    """Classify images: class, confidence, and the exit at which each image left.

    Rows are written as they are computed. A file that is not an image is reported
    and skipped, and the exit code is 1. The model is not changed.

    Example: [bold]erde predict runs/digits/student photos/[/bold]
    """  # fmt: skip
    target = _checked(threshold, pick)
    _check_rows(csv, as_json, live and "-" not in paths)
    runtime = runtime_of(model, runtime, device)
    threads = _threads_of_each(workers, threads, live)
    from erde_cli.commands.views.predict import Printed, totals_pieces
    from erde_cli.commands.views.terminal import show, working
    from erde_cli.core.images.named_paths import LIST, as_they_come, count_of_files, named_images
    from erde_cli.core.images.passed_over import PassedOver
    from erde_cli.core.workflows.predict import PredictRequest, predict_images

    # Progress bars replace sys.stdout while they are shown; rows go to the original.
    out = sys.stdout
    passed = PassedOver()
    listed: Iterable[bytes] = sys.stdin.buffer if LIST in paths else ()
    if live:
        listed = as_they_come(sys.stdin.buffer)
    bars = (csv not in (None, STDOUT) and not as_json) or not out.isatty()
    with (
        Printed(out, as_json, csv, live=live) as printed,
        working(quiet, "cpu" if runtime == "onnx" else device, threads, bars=bars) as options,
    ):
        total = count_of_files(paths)
        request = PredictRequest(threshold, target, batch, total, runtime, passed, live, workers)
        images = named_images(paths, listed, passed)
        totals = predict_images(model, images, options, printed.write, request)
    document = totals.to_json()
    printed.end(document)
    if not as_json:
        show({}, False, *totals_pieces(document, totals.unit), stderr=csv == STDOUT)
    if totals.failed:
        raise typer.Exit(1)


def _checked(threshold: str | None, pick: str | None) -> Target | None:
    """Check the options before torch is imported; return the target of --pick."""
    from erde_cli.core.errors import InputError
    from erde_cli.core.thresholds.named_target import parse_pick
    from erde_cli.core.thresholds.written import read_thresholds

    if threshold is not None:
        read_thresholds(threshold)
    if threshold is not None and pick is not None:
        raise InputError(
            "--threshold and --pick cannot be combined.",
            got=f"--threshold {threshold} and --pick {pick}",
            expected="one of them, or neither for the bundle's own thresholds",
            hint="leave one of them out",
        )
    return None if pick is None else parse_pick(pick)


def _threads_of_each(workers: int, threads: int | None, live: bool) -> int | None:
    """Threads of each of the `workers`; None: all cores."""
    from erde_cli.core.errors import InputError

    if workers == 1:
        return threads
    if live:
        raise InputError(
            "--live classifies one image at a time.",
            got=f"--live and --workers {workers}",
            expected="one of them",
            hint="leave --workers out",
        )
    from erde_cli.core.images.decoders import cores

    return threads or max(1, cores() // workers)


def _check_rows(csv: Path | None, as_json: bool, live_without_list: bool) -> None:
    """Check the options of input and output."""
    from erde_cli.core.errors import InputError
    from erde_cli.core.storage.files import check_file_target

    if live_without_list:
        raise InputError(
            "--live reads paths from stdin.",
            got="no -",
            expected="- among the paths, and one path per line on stdin",
            hint="leave out --live, or: your-camera | erde predict MODEL - --live",
        )
    if csv == STDOUT and as_json:
        raise InputError(
            "--csv - and --json both write to stdout.",
            got="--csv - and --json",
            expected="one of them, or a file for the CSV",
            hint="leave one of them out, or use --csv rows.csv",
        )
    if csv is not None and csv != STDOUT:
        check_file_target(csv, "--csv")
        if not csv.parent.is_dir():
            raise InputError(
                f"{csv} cannot be written.",
                got=f"no folder {csv.parent}",
                expected="a file in an existing folder",
                hint="choose another file with --csv",
            )
