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
)
from erde_cli.core.errors import brief

if TYPE_CHECKING:
    from rich.console import RenderableType

    from erde_cli.core.workflows.tune import RoleTuned, Tuned

_MOST = 10_000  # of steps, and of repeats: more take days


def tune(
    recipe: RecipeArgument,
    overrides: SetOption = None,
    seed: SeedOption = None,
    role: Annotated[
        Literal["teacher", "student", "both"], typer.Option("--role", help="Which network.")
    ] = "both",
    steps: Annotated[
        int, typer.Option("--steps", min=1, max=_MOST, help="Training steps in one figure.")
    ] = 5,
    repeats: Annotated[
        int, typer.Option("--repeats", min=3, max=_MOST, help="Figures of each candidate.")
    ] = 5,
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile/--no-compile", help="Try torch.compile as well: a minute or more each."
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
            help="Numbers of CPU threads to try; 1, half and all of the cores if absent.",
        ),
    ] = None,
) -> None:
    """Measure how this machine trains a recipe fastest, and print what to put into the recipe.

    Training steps on random images, in every precision and memory format, compared
    with what the recipe gives now. It needs no data, writes nothing, changes nothing.
    Each way is tried in a process of its own: one that crashes is a row, not the end.

    Example: [bold]erde tune digits --role student[/bold]
    """
    counts = None if threads is None else _numbers(threads)
    from erde_cli.commands.views.terminal import show, working
    from erde_cli.core.recipe.loading import load_recipe

    loaded = load_recipe(recipe, overrides or (), seed=seed)
    from erde_cli.core.workflows.tune import tune

    with working(quiet, device, None) as options:
        tuned = tune(
            loaded,
            ("teacher", "student") if role == "both" else (role,),
            options,
            steps=steps,
            repeats=repeats,
            threads=counts,
            compiled=compiled,
        )
    show(tuned.to_json(), as_json, *_pieces(tuned))


def _numbers(text: str) -> list[int]:
    """Read numbers of threads, such as "1,2,4"."""
    parts = [part.strip() for part in text.split(",")]
    digits = all(part.isascii() and part.isdecimal() and len(part) < 9 for part in parts)
    if not digits or not all(map(int, parts)):
        raise typer.BadParameter(
            f"{brief(repr(text))} is no list of numbers from 1, such as 1,2,4.",
            param_hint="'--threads'",
        )
    return [int(part) for part in parts]


def _pieces(tuned: Tuned) -> list[RenderableType]:
    from erde_cli.commands.views.tables import tuning_table

    pieces: list[RenderableType] = []
    for role, found in tuned.roles.items():
        title = f"Training steps of the {role}, batch {found.batch_size}, {tuned.device}"
        pieces += [tuning_table(title, found), _verdict(found)]
    if tuned.yaml:
        pieces.append(f"put into the recipe: [bold]{tuned.yaml}[/bold]")
    for role, found in tuned.roles.items():
        if found.threads:
            pieces.append(f"for the {role}: [bold]--threads {found.threads}[/bold]")
    if any("precision" in found.change for found in tuned.roles.values()):
        pieces.append("Other settings train another network: compare its accuracy as well.")
    return pieces


def _verdict(found: RoleTuned) -> str:
    from rich.markup import escape

    best, speeds = found.speeds.fastest, found.speeds
    if best == found.now:
        return f"What the recipe gives now is the fastest: {best}. Leave it."
    factor = speeds.factor(best, found.now)
    if factor is None:
        return f"What the recipe gives now cannot be had here: {escape(speeds.skipped[found.now])}."
    text = (
        f"{best}: {factor.median:.2f} times as fast as now "
        f"({factor.low:.2f} to {factor.high:.2f}, round by round)."
    )
    return text if found.clear_gain else f"{text} No clear gain, within the spread: leave it."
