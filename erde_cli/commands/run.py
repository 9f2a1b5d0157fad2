"""`erde run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from erde_cli.commands.options import (
    DeviceOption,
    JsonOption,
    QuietOption,
    RecipeOrFolderArgument,
    RunOption,
    SeedOption,
    SetOption,
    ThreadsOption,
    TrackOption,
)
from erde_cli.core.figures import macs, signed, signed_interval

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import RenderableType

    from erde_cli.core.workflows.run import RunResult


def run(
    source: RecipeOrFolderArgument,
    out: RunOption = None,
    overrides: SetOption = None,
    seed: SeedOption = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Use the run folder even if another recipe made it or its networks are damaged, "
            "and repeat only the affected phases.",
        ),
    ] = False,
    track: TrackOption = None,
    track_images: Annotated[
        bool,
        typer.Option(
            "--track-images",
            help="With --track: also send a few small calibration images per exit.",
        ),
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Run all phases: train, distill, calibrate, profile, evaluate, compare with the teacher.

    Phases whose inputs have not changed are not repeated. The same command
    resumes a run that was stopped.

    For a folder of images (one folder per class), a suitable recipe is written
    into the run folder.

    Example: [bold]erde run digits[/bold], or [bold]erde run photos[/bold]
    """
    from erde_cli.core.tracking.trackers import Tracking, read_tracks

    tracks = read_tracks(track or (), images=track_images)
    from erde_cli.commands.processes import engine, one_writer_of, require_same_command
    from erde_cli.commands.run_input import read_input
    from erde_cli.commands.views.terminal import show, working

    given = read_input(source, out, overrides, seed)
    from erde_cli.core.workflows.run import run_recipe

    tracking = Tracking(tracks, given.run, track_images)
    with (
        one_writer_of(given.run),
        working(quiet, device, threads, resume=True, tracking=tracking) as options,
    ):
        with engine().first():  # rank 0 writes a recipe that it chooses, and the others read it
            recipe = given.load(options, write=engine().leads)
        require_same_command(recipe, given.run, options, command="run", force=force)
        result = run_recipe(recipe, given.run, options, force=force)
    if result is not None:
        show(result.to_json(), as_json, *_pieces(result))


def _pieces(result: RunResult) -> list[RenderableType]:
    from rich.markup import escape

    from erde_cli.commands.views.tables import (
        comparison_table,
        evaluation_table,
        picture_line,
        profile_table,
        weakest_table,
    )

    report, costs = result.report, result.costs
    return [
        profile_table(costs.profile, costs.expected_macs, costs.exit_rates),
        evaluation_table("Student on the test split", report["student"], costs.bundle.score.unit),
        weakest_table(report["student"]),
        comparison_table(report, _sides(result)),
        _verdict(report),
        *saves_nothing(report["student"], result.run / "student"),
        *picture_line(result.picture),
        f"report:  {escape(str(result.run / 'report.json'))}",
        *([] if result.page is None else [f"page:    {escape(str(result.page))}"]),
    ]


def _sides(result: RunResult) -> tuple[int, int]:
    """Sides of the images of teacher and student, in pixels."""
    student = result.costs.bundle
    return student.recipe.data.image_size, student.image_size


def _verdict(report: dict[str, Any]) -> str:
    low, high = report["accuracy_drop_interval"]
    return (
        f"[bold]{report['macs_ratio']:.1f} times fewer MACs than the teacher[/bold] "
        f"({report['size_ratio']:.1f} by size, {report['exit_ratio']:.2f} by leaving early), "
        f"accuracy {signed(-report['accuracy_drop'])} points "
        f"(95 % interval {signed_interval(-high, -low)})"
    )


def saves_nothing(student: dict[str, Any], bundle: Path) -> list[str]:
    """Why early exit saves nothing on the test split, and what to do; empty if it saves MACs."""
    from rich.markup import escape

    exits, full = student["exits"], student["full_macs"]
    reason = _why_useless(student)
    if reason is None:
        return []
    if len(exits) == 1:
        return [f"{reason} For early exits, train it with more (student.exits in the recipe)."]
    between = (exits[0]["cumulative_macs"] + student["static_macs"]) / 2 / full
    command = f"erde calibrate {escape(str(bundle))} --max-macs {between:.2f}"
    fewer = "train it with fewer exits (student.exits in the recipe)"
    return [f"{reason} Choose other thresholds ({command}), or {fewer}."]


def _why_useless(student: dict[str, Any]) -> str | None:
    """Why early exit saves no MACs against a network without early exits; None if it does."""
    from erde_cli.commands.views.tables import exit_name

    exits, expected, static = student["exits"], student["expected_macs"], student["static_macs"]
    only = [exit_name(one["exit"], len(exits)) for one in exits if one["exit_rate"] == 1]
    if len(exits) == 1:
        return "Early exit saves no MACs: the student has one exit, so no image can leave early."
    if expected >= static:
        where = f" (every image leaves at exit {only[0]})" if only else ""
        return (
            f"Early exit saves no MACs: an image takes {macs(expected)} on average{where}, and the "
            f"same network without early exits takes {macs(static)}."
        )
    if only:
        return (
            f"Early exit decides nothing: every image leaves at exit {only[0]}. A network that "
            "ends there, without earlier exits, gives the same answers at no more MACs."
        )
    return None
