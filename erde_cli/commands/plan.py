"""`erde plan`."""

from __future__ import annotations

from erde_cli.commands.options import (
    DeviceOption,
    JsonOption,
    QuietOption,
    RecipeOrFolderArgument,
    RunOption,
    SeedOption,
    SetOption,
    ThreadsOption,
)


def plan(
    source: RecipeOrFolderArgument,
    out: RunOption = None,
    overrides: SetOption = None,
    seed: SeedOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Show what a run will do and how long it will take, without training.

    A few training steps of each network are timed on this machine. Phases that an
    existing run has finished are not counted. Nothing is written except decoded
    images in the cache.

    Example: [bold]erde plan digits[/bold]
    """
    from erde_cli.commands.run_input import read_input
    from erde_cli.commands.views.plan import plan_pieces
    from erde_cli.commands.views.terminal import show, working

    given = read_input(source, out, overrides, seed)
    from erde_cli.core.workflows.images import open_for_training
    from erde_cli.core.workflows.kept import Networks
    from erde_cli.core.workflows.plan import plan_run

    with working(quiet, device, threads) as options:
        recipe = given.load(options, write=False)
        dataset = open_for_training(recipe, options)
        options.observer.phase("Timing a few steps")
        planned = plan_run(Networks(recipe, given.run, dataset), options)
    show(planned.to_json(), as_json, *plan_pieces(planned))
