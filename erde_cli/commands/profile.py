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
    whole_numbers,
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
        typer.Option("--latency", help="Also measure time and memory, on the calibration images."),
    ] = False,
    batch: Annotated[
        str | None,
        typer.Option(
            metavar="N[,N...]",
            show_default=False,
            help="Batch sizes to measure; default: 1,32,256.",
        ),
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option(
            min=3, max=_MOST_ROUNDS, show_default=False, help="Rounds of measurement; default: 15."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            show_default=False,
            parser=path_of,
            help="Folder for profile.png; default: BUNDLE/profile.",
        ),
    ] = None,
    runtime: RuntimeOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Show what every exit costs: parameters and multiply-adds (MACs), heads included.

    With --latency, also measure time and memory on this machine, and decide
    whether early exit is better than any one of the exits alone.

    Example: [bold]erde profile runs/digits/student --latency[/bold]
    """
    sizes = None if batch is None else _batch_sizes(batch)
    if not latency and any(given is not None for given in (batch, repeats, out, runtime)):
        raise InputError(
            "--batch, --repeats, --out and --runtime need --latency.",
            expected="--latency as well",
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
        profiled = profile_bundle(bundle, options, request)
    show(profiled.to_json(), as_json, *_pieces(profiled))


def _batch_sizes(text: str) -> list[int]:
    """Read batch sizes, such as "1,32,256".

    Raises:
        InputError: one is not a number, out of bounds, or repeated.
    """
    numbers = whole_numbers(text)
    if not numbers or max(numbers) > LARGEST_BATCH or len(set(numbers)) < len(numbers):
        raise InputError(
            "--batch takes distinct batch sizes, separated by commas.",
            got=text,
            expected=f"numbers from 1 to {LARGEST_BATCH}",
            hint="--batch 1,32,256",
        )
    return numbers


def _pieces(profiled: Profiled) -> list[RenderableType]:
    from erde_cli.commands.views.profile import latency_table, mix_table, weights_line
    from erde_cli.commands.views.tables import picture_line, profile_table

    pieces: list[RenderableType] = [
        profile_table(profiled.profile, profiled.expected_macs, profiled.exit_rates)
    ]
    measured = profiled.latency
    if measured is not None:
        pieces += [
            latency_table(measured),
            mix_table(measured, profiled.profile),
            weights_line(measured),
        ]
    if profiled.verdict is not None:
        verdict = profiled.verdict.sentence
        pieces.append(f"Is early exit better than any one exit alone? [bold]{verdict}[/bold]")
    elif profiled.exit_rates is not None and len(profiled.exit_rates) > 1:
        pieces.append("No verdict on early exit: the thresholds were chosen without labels.")
    if measured is not None:
        pieces += picture_line(measured.picture)
    return pieces
