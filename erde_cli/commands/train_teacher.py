"""`erde train-teacher`."""

from __future__ import annotations

from erde_cli.commands.options import (
    DeviceOption,
    JsonOption,
    QuietOption,
    RecipeArgument,
    ResumeOption,
    RunOption,
    SeedOption,
    SetOption,
    ThreadsOption,
    TrackOption,
)


def train_teacher(
    recipe: RecipeArgument,
    out: RunOption = None,
    overrides: SetOption = None,
    seed: SeedOption = None,
    resume: ResumeOption = None,
    track: TrackOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Train the recipe's teacher, a deep network with early exits, into the bundle RUN/teacher.

    Example: [bold]erde train-teacher digits --out runs/mine[/bold]
    """
    from erde_cli.core.tracking.trackers import Tracking, read_tracks

    tracks = read_tracks(track or ())
    from erde_cli.commands.processes import one_writer_of, require_same_command
    from erde_cli.commands.views.terminal import show, working
    from erde_cli.commands.views.trained import trained_pieces
    from erde_cli.core.recipe.loading import load_recipe

    loaded = load_recipe(recipe, overrides or (), seed=seed)
    from erde_cli.core.workflows.run_folders import default_run
    from erde_cli.core.workflows.train import train_teacher

    run_folder = out or default_run(loaded)
    tracking = Tracking(tracks, run_folder)
    with (
        one_writer_of(run_folder),
        working(quiet, device, threads, resume=resume, tracking=tracking) as options,
    ):
        require_same_command(loaded, run_folder, options, command="train-teacher", resume=resume)
        trained = train_teacher(loaded, run_folder, options)
    show(trained.to_json(), as_json, *trained_pieces(trained, "Teacher"))
