"""`erde compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from erde_cli.commands.options import (
    DeviceOption,
    JsonOption,
    QuietOption,
    RecipeArgument,
    SetOption,
    ThreadsOption,
    path_of,
)

_MOST_SEEDS = 1000


def compare(
    recipe: RecipeArgument,
    methods: Annotated[
        str,
        typer.Option(
            "--methods",
            metavar="METHOD,...",
            help="erde, kd, cross_entropy; static beside them adds networks without early exits.",
        ),
    ] = "erde,kd,cross_entropy",
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds", min=1, max=_MOST_SEEDS, help="How many, from the recipe's seed upwards."
        ),
    ] = 3,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="RUN",
            show_default=False,
            parser=path_of,
            help="Folder of the comparison; runs/<recipe name>-compare if absent.",
        ),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            metavar="BUNDLE",
            show_default=False,
            parser=path_of,
            help="One teacher for all seeds; one is trained for each if absent.",
        ),
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            "--grid",
            metavar="SECTION.KEY=VALUE,...",
            show_default=False,
            help="Train a student for each value, where its method reads it; may be repeated.",
        ),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="SECTION.KEY=VALUE,...",
            show_default=False,
            help="Train a student for each value alone, beside the rest; may be repeated.",
        ),
    ] = None,
    own: Annotated[
        list[str] | None,
        typer.Option(
            "--own",
            metavar="METHOD:SECTION.KEY=VALUE",
            show_default=False,
            help="Give one method alone a value, such as one it was tuned to; may be repeated.",
        ),
    ] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Show on your data whether erde beats kd, and both a student alone, at equal cost.

    Students of several methods and seeds, compared in pairs, with intervals over seeds
    and test images. What is there is kept: stop it, and the same command goes on. A
    network that fails is named, the others go on, and the exit code is 1 at the end.

    Example: [bold]erde compare digits --seeds 3[/bold]
    """
    from erde_cli.core.comparison.variants import own_settings, parse_methods, variants_of

    named, static = parse_methods(methods)
    variants = variants_of(named, grid or (), vary or ())
    alone = own_settings(own or (), named)
    from erde_cli.commands.views.terminal import show, working
    from erde_cli.core.comparison.arms import arms_of
    from erde_cli.core.recipe.loading import load_recipe

    section = None if teacher is None else _section(teacher)
    loaded = load_recipe(recipe, overrides or (), teacher=section)
    arms = arms_of(recipe, overrides or (), variants, section, alone)
    from erde_cli.commands.views.compare import comparison_pieces
    from erde_cli.core.bundle.bundle import load_bundle
    from erde_cli.core.comparison.plan import Plan
    from erde_cli.core.storage.run_lock import one_writer
    from erde_cli.core.workflows.compare import compare

    run = out or Path("runs") / f"{loaded.name}-compare"
    of_seeds = tuple(range(loaded.seed, loaded.seed + seeds))
    shared = None if teacher is None else load_bundle(teacher)
    with one_writer(run), working(quiet, device, threads, resume=True) as options:
        found = compare(Plan(loaded, run, of_seeds, arms, shared, static, alone), options)
    show(found.to_json(), as_json, *comparison_pieces(found))
    if found.failed:
        raise typer.Exit(1)


def _section(teacher: Path) -> dict[str, Any]:
    """The shared teacher as the recipe's teacher section."""
    from erde_cli.core.workflows.teachers import teacher_section

    return teacher_section(teacher)
