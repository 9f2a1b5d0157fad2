"""`erde run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from erde_cli.commands.options import (
    DeviceOption,
    JsonOption,
    QuietOption,
    RecipeArgument,
    RunOption,
    SeedOption,
    SetOption,
    ThreadsOption,
)
from erde_cli.core.signed import signed, signed_interval

if TYPE_CHECKING:
    from rich.console import RenderableType

    from erde_cli.core.workflows.run import RunResult


def run(
    recipe: RecipeArgument,
    out: RunOption = None,
    overrides: SetOption = None,
    seed: SeedOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Take over a folder that another recipe made.")
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Go the whole way: teacher, student, thresholds, costs, and what was gained.

    A phase whose inputs have not changed is kept: the same command goes on where
    it stopped.

    Example: [bold]erde run digits[/bold]
    """
    from erde_cli.commands.terminal import show, working
    from erde_cli.core.recipe import load_recipe

    loaded = load_recipe(recipe, overrides or (), seed=seed)
    from erde_cli.core.run_lock import one_writer
    from erde_cli.core.workflows.run import run_recipe
    from erde_cli.core.workflows.training import default_run

    run_folder = out or default_run(loaded)
    with one_writer(run_folder), working(quiet, device, threads, resume=True) as options:
        result = run_recipe(loaded, run_folder, options, force=force)
    show(result.to_json(), as_json, *_pieces(result))


def _pieces(result: RunResult) -> list[RenderableType]:
    from rich.markup import escape

    from erde_cli.commands.tables import (
        comparison_table,
        evaluation_table,
        picture_line,
        profile_table,
        weakest_table,
    )

    report, costs = result.report, result.costs
    return [
        profile_table(costs.profile, costs.expected_macs, costs.exit_rates),
        evaluation_table("Student on the test split", report["student"]),
        *weakest_table(report["student"]),
        comparison_table(report),
        _verdict(report),
        *picture_line(result.picture),
        f"report:  {escape(str(result.run / 'report.json'))}",
    ]


def _verdict(report: dict[str, Any]) -> str:
    low, high = report["accuracy_drop_interval"]
    return (
        f"[bold]{report['macs_ratio']:.1f} times fewer MACs than the teacher[/bold] "
        f"({report['size_ratio']:.1f} by size, {report['exit_ratio']:.2f} by leaving early), "
        f"accuracy {signed(-report['accuracy_drop'])} points "
        f"(95 % interval {signed_interval(-high, -low)})"
    )
