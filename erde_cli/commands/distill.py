"""`erde distill`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
    path_of,
)


def distill(
    recipe: RecipeArgument,
    out: RunOption = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            metavar="BUNDLE",
            show_default=False,
            parser=path_of,
            help="The teacher; default: RUN/teacher.",
        ),
    ] = None,
    overrides: SetOption = None,
    seed: SeedOption = None,
    resume: ResumeOption = None,
    track: TrackOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Distill the recipe's student from a teacher, exit by exit, into the bundle RUN/student.

    Example: [bold]erde distill digits --out runs/mine --set distillation.method=kd[/bold]
    """
    from erde_cli.core.tracking.trackers import Tracking, read_tracks

    tracks = read_tracks(track or ())
    from erde_cli.commands.processes import engine, one_writer_of, require_same_command
    from erde_cli.commands.views.terminal import show, working
    from erde_cli.commands.views.trained import trained_pieces
    from erde_cli.core.recipe.loading import load_recipe
    from erde_cli.core.workflows.run_folders import default_run
    from erde_cli.core.workflows.sized_student import with_sized_student
    from erde_cli.core.workflows.teachers import teacher_section
    from erde_cli.core.workflows.train import distill

    section = None if teacher is None else teacher_section(teacher)
    loaded = load_recipe(recipe, overrides or (), seed=seed, teacher=section)
    run_folder = out or default_run(loaded)
    tracking = Tracking(tracks, run_folder)
    with (
        one_writer_of(run_folder),
        working(quiet, device, threads, resume=resume, tracking=tracking) as options,
    ):
        with engine().first():  # rank 0 keeps a choice by timing, and the others read it
            loaded = with_sized_student(loaded, options, run_folder, write=engine().leads)
        require_same_command(loaded, run_folder, options, command="distill", resume=resume)
        trained = distill(loaded, run_folder, teacher, options)
    show(trained.to_json(), as_json, *trained_pieces(trained, "Student"))
