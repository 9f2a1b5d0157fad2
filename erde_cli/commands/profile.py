"""`erde profile`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from erde_cli.commands.options import (
    LARGEST_BATCH,
    BundleArgument,
    DeviceOption,
    JsonOption,
    QuietOption,
    RuntimeOption,
    ThreadsOption,
    path_of,
)
from erde_cli.core.errors import InputError
from erde_cli.core.export.runtimes import require_onnx

if TYPE_CHECKING:
    from rich.console import RenderableType

    from erde_cli.core.workflows.profile import Profiled

_MOST_ROUNDS = 10_000


def profile(
    bundle: BundleArgument,
    latency: Annotated[
        bool,
        typer.Option(
            "--latency", help="Measure time and memory as well, on the calibration images."
        ),
    ] = False,
    batch: Annotated[
        str | None,
        typer.Option(
            metavar="N[,N...]",
            show_default=False,
            help="Batch sizes to measure; 1,32,256 if absent.",
        ),
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option(
            min=3, max=_MOST_ROUNDS, show_default=False, help="Rounds of measuring; 15 if absent."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            show_default=False,
            parser=path_of,
            help="Folder for profile.png; BUNDLE/profile if absent.",
        ),
    ] = None,
    runtime: RuntimeOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Show what every exit costs: parameters and multiply-adds (MACs), every head included.

    With --latency also what it takes in time and memory here, and whether early
    exit is better than simply using one of the exits alone.

    Example: [bold]erde profile runs/digits/student --latency[/bold]
    """
    sizes = None if batch is None else _batch_sizes(batch)
    if not latency and any(given is not None for given in (batch, repeats, out, runtime)):
        raise InputError(
            "--batch, --repeats, --out and --runtime say how latency is measured, "
            "which is not asked for.",
            expected="--latency beside them",
            hint=f"erde profile {bundle} --latency",
        )
    if runtime == "onnx":
        require_onnx(device)
        device = "cpu"
    from erde_cli.commands.views.terminal import show, working
    from erde_cli.core.measurement.latency import ROUNDS
    from erde_cli.core.workflows.latency import BATCHES, LatencyRequest
    from erde_cli.core.workflows.profile import profile_bundle

    request = None
    if latency:
        request = LatencyRequest(sizes or BATCHES, repeats or ROUNDS, out, runtime or "torch")
    with working(quiet, device, threads) as options:
        found = profile_bundle(bundle, options, request)
    show(found.to_json(), as_json, *_pieces(found))


def _batch_sizes(text: str) -> list[int]:
    """Read batch sizes, such as "1,32,256".

    Raises:
        InputError: they are no numbers, out of bounds, or one is there twice.
    """
    parts = [part.strip() for part in text.split(",")]
    numbers = [int(part) for part in parts if part.isascii() and part.isdecimal() and len(part) < 9]
    within = all(1 <= number <= LARGEST_BATCH for number in numbers)
    if len(numbers) < len(parts) or not within or len(set(numbers)) < len(numbers):
        raise InputError(
            "--batch takes different numbers of images with commas between them.",
            got=text,
            expected=f"numbers from 1 to {LARGEST_BATCH}",
            hint="--batch 1,32,256",
        )
    return numbers


def _pieces(found: Profiled) -> list[RenderableType]:
    from erde_cli.commands.views.profile import latency_table, mix_table, weights_line
    from erde_cli.commands.views.tables import picture_line, profile_table

    pieces: list[RenderableType] = [
        profile_table(found.profile, found.expected_macs, found.exit_rates)
    ]
    measured = found.latency
    if measured is not None:
        pieces += [
            latency_table(measured),
            mix_table(measured, found.profile),
            weights_line(measured),
        ]
    if found.verdict is not None:
        pieces.append(f"Better than one of its exits alone? [bold]{found.verdict.sentence}[/bold]")
    elif found.exit_rates is not None and len(found.exit_rates) > 1:
        pieces.append("No verdict on early exit: the thresholds were chosen without labels.")
    if measured is not None:
        pieces += picture_line(measured.picture)
    return pieces
