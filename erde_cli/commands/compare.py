"""`erde compare`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from erde_cli.commands.options import (
    DeviceOption,
    JsonOption,
    QuietOption,
    RecipeArgument,
    SetOption,
    ThreadsOption,
    TrackOption,
    path_of,
)

_MOST_SEEDS = 1000
_RetiredOption = Annotated[list[str] | None, typer.Option(hidden=True)]


def compare(
    recipe: RecipeArgument,
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods",
            metavar="METHOD,...",
            show_default="the recipe's students",
            help="One or more of erde, kd (plain distillation) and cross_entropy (no teacher); "
            "static adds networks without early exits.",
        ),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds",
            min=1,
            max=_MOST_SEEDS,
            help="Number of seeds; the first is the recipe's seed.",
        ),
    ] = 3,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="RUN",
            show_default=False,
            parser=path_of,
            help="Folder of the comparison; default: runs/<recipe name>-compare.",
        ),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            metavar="BUNDLE",
            show_default=False,
            parser=path_of,
            help="One teacher for all seeds; default: each seed trains its own.",
        ),
    ] = None,
    overrides: SetOption = None,
    track: TrackOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    workers: Annotated[
        int,
        typer.Option(
            "--workers",
            metavar="N",
            help="Networks trained at once, each in a process of its own; --threads is for each "
            "(default: the cores divided by N). With several GPUs, each takes one in turn.",
        ),
    ] = 1,
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="I/N",
            show_default=False,
            help="Train only every N-th seed, from the I-th on, for a job array. The same command "
            "without --shard then compares all.",
        ),
    ] = None,
    grid: _RetiredOption = None,
    vary: _RetiredOption = None,
    own: _RetiredOption = None,
) -> None:
    """Show on your data, at equal cost, whether erde beats plain distillation (kd).

    Trains a student for each method and seed, and compares the methods seed by
    seed, with intervals over seeds and test images. Also shows whether erde and
    kd beat a student trained without a teacher (cross_entropy). The recipe can
    list other students, under comparison.students. The same command resumes a
    stopped comparison. --workers trains several networks at once.

    Example: [bold]erde compare digits --seeds 3[/bold]
    """
    if grid or vary or own:
        from erde_cli.commands.retired_flags import refuse_retired_flags

        refuse_retired_flags(methods, grid or (), vary or (), own or ())
    from erde_cli.core.comparison.parallel import check_workers, read_shard
    from erde_cli.core.tracking.trackers import Tracking, read_tracks, refuse_one_file

    check_workers(workers)
    part = None if shard is None else read_shard(shard, seeds)
    tracks = read_tracks(track or ())
    if part is not None:
        refuse_one_file(tracks)
    from erde_cli.core.comparison.students import has_static_rivals, student_specs, with_methods
    from erde_cli.core.recipe.loading import load_recipe
    from erde_cli.core.recipe.problems import COMMAND_LINE

    section = None
    if teacher is not None:
        from erde_cli.core.workflows.teachers import teacher_section

        section = teacher_section(teacher)
    loaded = load_recipe(recipe, overrides or (), teacher=section)
    if methods is not None:
        loaded = with_methods(loaded, [method.strip() for method in methods.split(",")])
    typed = any(text.strip().startswith("comparison") for text in overrides or ())
    students = student_specs(loaded, COMMAND_LINE if typed else recipe)
    from erde_cli.commands.views.compare import comparison_pieces, shard_pieces
    from erde_cli.commands.views.terminal import show, working
    from erde_cli.core.bundle.bundle import load_bundle
    from erde_cli.core.comparison.plan import Plan
    from erde_cli.core.images.decoders import cores
    from erde_cli.core.storage.run_lock import one_of_several, one_writer
    from erde_cli.core.workflows.compare import compare, train_shard

    run = out or Path("runs") / f"{loaded.name}-compare"
    of_seeds = tuple(range(loaded.seed, loaded.seed + seeds))
    shared = None if teacher is None else load_bundle(teacher)
    plan = Plan(loaded, run, of_seeds, students, shared, has_static_rivals(loaded))
    if workers > 1:
        threads = threads or max(1, cores() // workers)
    work = partial(working, quiet, device, threads, resume=True, tracking=Tracking(tracks, run))
    if part is not None:
        with one_of_several(run) as let_others_in, work() as options:
            done = train_shard(plan, part, options, workers, let_others_in)
        show(done.to_json(), as_json, *shard_pieces(done))
        raise typer.Exit(int(done.failed))
    with one_writer(run), work() as options:
        compared = compare(plan, options, workers)
    show(compared.to_json(), as_json, *comparison_pieces(compared))
    raise typer.Exit(int(compared.failed))
