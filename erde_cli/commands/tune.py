"""`erde tune`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from erde_cli.commands.options import (
    DeviceOption,
    JsonOption,
    QuietOption,
    RecipeArgument,
    SeedOption,
    SetOption,
    whole_numbers,
)
from erde_cli.core.errors import brief

if TYPE_CHECKING:
    from rich.console import RenderableType

    from erde_cli.core.workflows.tune import RoleTuned, Tuned

_MOST = 10_000  # steps or repeats: more would take days


def tune(
    recipe: RecipeArgument,
    overrides: SetOption = None,
    seed: SeedOption = None,
    role: Annotated[
        Literal["teacher", "student", "both"], typer.Option("--role", help="Network to measure.")
    ] = "both",
    steps: Annotated[
        int, typer.Option("--steps", min=1, max=_MOST, help="Training steps per measurement.")
    ] = 5,
    repeats: Annotated[
        int, typer.Option("--repeats", min=3, max=_MOST, help="Measurements per candidate.")
    ] = 5,
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile/--no-compile", help="Also try torch.compile, a minute or more per candidate."
        ),
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    device: DeviceOption = "auto",
    threads: Annotated[
        str | None,
        typer.Option(
            "--threads",
            metavar="N[,N...]",
            show_default=False,
            help="Numbers of CPU threads to try; default: 1, half of the cores, all cores.",
        ),
    ] = None,
) -> None:
    """Find the settings with which a recipe trains fastest on this machine, and print them.

    Training steps on random images are timed in every precision and memory
    format, and compared with the recipe's own settings. No data is needed, and
    nothing is written. Each candidate runs in a separate process: a crash is a row
    in the table.

    Example: [bold]erde tune digits --role student[/bold]
    """
    counts = None if threads is None else _thread_counts(threads)
    from erde_cli.commands.views.terminal import show, working
    from erde_cli.core.recipe.loading import load_recipe

    loaded = load_recipe(recipe, overrides or (), seed=seed)
    from erde_cli.core.workflows.sized_student import with_sized_student
    from erde_cli.core.workflows.tune import tune

    with working(quiet, device, None) as options:
        tuned = tune(
            with_sized_student(loaded, options),
            ("teacher", "student") if role == "both" else (role,),
            options,
            steps=steps,
            repeats=repeats,
            threads=counts,
            compiled=compiled,
        )
    show(tuned.to_json(), as_json, *_pieces(tuned))


def _thread_counts(text: str) -> list[int]:
    numbers = whole_numbers(text)
    if not numbers:
        raise typer.BadParameter(
            f"{brief(repr(text))} is not a list of numbers from 1, such as 1,2,4.",
            param_hint="'--threads'",
        )
    return numbers


def _pieces(tuned: Tuned) -> list[RenderableType]:
    from erde_cli.commands.views.tables import tuning_table

    pieces: list[RenderableType] = []
    for role, found in tuned.roles.items():
        title = f"Training steps of the {role}, batch {found.batch_size}, {tuned.device}"
        pieces += [tuning_table(title, found), _verdict(found)]
    if tuned.yaml:
        pieces.append(f"add to the recipe: [bold]{tuned.yaml}[/bold]")
    for role, found in tuned.roles.items():
        if found.threads:
            pieces.append(f"for the {role}: [bold]--threads {found.threads}[/bold]")
    if any("precision" in found.change for found in tuned.roles.values()):
        pieces.append("Another precision trains a different network: compare its accuracy as well.")
    return pieces


def _verdict(found: RoleTuned) -> str:
    from rich.markup import escape

    best, speeds = found.speeds.fastest, found.speeds
    if best == found.now:
        return f"The recipe's own settings are the fastest: {best}. Leave them."
    factor = speeds.factor(best, found.now)
    if factor is None:
        return f"The recipe's own settings cannot be measured: {escape(speeds.skipped[found.now])}."
    text = (
        f"{best}: {factor.median:.2f} times as fast as now "
        f"({factor.low:.2f} to {factor.high:.2f}, round by round)."
    )
    return text if found.clear_gain else f"{text} The gain is within the spread: keep the recipe."
