"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from erde_cli.commands.completion import bundle_paths, recipe_names
from erde_cli.core.errors import brief

LARGEST_BATCH = 65_536  # images
THRESHOLDS = (
    "θ in nats, or always (all leave there), or never: one for all exits, or one per exit but the "
    "last, such as 0.3,never"
)


def path_of(text: str) -> Path:
    """A path; a ~ at its start is expanded, since shells do not expand it in --out=~/runs.

    An empty text (such as from an unset variable) is refused, and so is a path that the operating
    system does not accept. A dash stands for stdin or stdout in other options, so it is not a file.

    Raises:
        typer.BadParameter: the text is not a usable path.
    """
    if not text.strip():
        raise typer.BadParameter("expected a path, got nothing")
    if text == "-":
        raise typer.BadParameter(
            "expected a path, got - (--json prints to stdout; ./- is a file of that name)"
        )
    try:
        path = Path(text).expanduser()
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass  # the command reports it if it needs the path
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise typer.BadParameter(f"{brief(repr(text))} is not a usable path: {reason}") from error
    return path


path_of.__name__ = "path"  # --help shows the name of the parser as the type of an argument
STDOUT = Path("-")


def path_or_stdout(text: str) -> Path:
    """A path, or `STDOUT` for a dash; a file with that name (./-) becomes an absolute path."""
    path = STDOUT if text == "-" else path_of(text)
    return path.absolute() if path == STDOUT and text != "-" else path


def whole_numbers(text: str) -> list[int]:
    """Numbers from 1, separated by commas, such as "1,2,4"; empty if the text has another form."""
    parts = [part.strip() for part in text.split(",")]
    numbers = [int(part) for part in parts if part.isascii() and part.isdecimal() and len(part) < 9]
    return numbers if len(numbers) == len(parts) and all(numbers) else []


RecipeArgument = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        show_default=False,
        autocompletion=recipe_names,
        help="Path of a recipe, or name of a shipped one (see erde recipes).",
    ),
]
RecipeOrFolderArgument = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE|FOLDER",
        show_default=False,
        autocompletion=recipe_names,
        help="Path of a recipe, name of a shipped one (see erde recipes), or a folder of "
        "images, for which a recipe is written as by erde init.",
    ),
]
FolderArgument = Annotated[
    Path,
    typer.Argument(
        metavar="FOLDER",
        show_default=False,
        parser=path_of,
        help="Folder of images: <class>/*, or train/<class>/*, with optional valid/ and test/.",
    ),
]
BundleArgument = Annotated[
    Path,
    typer.Argument(
        metavar="BUNDLE",
        show_default=False,
        parser=path_of,
        autocompletion=bundle_paths,
        help="Folder of a trained model.",
    ),
]
ModelArgument = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        show_default=False,
        parser=path_of,
        autocompletion=bundle_paths,
        help="Folder of a trained model, or an ONNX file or folder of stages from erde export.",
    ),
]
RuntimeOption = Annotated[
    Literal["torch", "onnx"] | None,
    typer.Option(
        "--runtime",
        metavar="RUNTIME",
        show_default=False,
        help="torch, or onnx for ONNX Runtime; default for a bundle: torch.",
    ),
]
RunOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="RUN",
        show_default=False,
        parser=path_of,
        help="Run folder; default: runs/<recipe name>.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SECTION.KEY=VALUE",
        show_default=False,
        help="Change one value of the recipe; repeatable. Relative paths start from the current "
        "folder.",
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option("--seed", min=0, show_default=False, help="Replace the seed of the recipe."),
]
TrackOption = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        metavar="TRACKER[:ADDRESS]",
        show_default=False,
        help="Send figures to tensorboard, mlflow or wandb; repeatable. Default address: a folder "
        "or database in the run folder; for wandb the server you are logged in to.",
    ),
]
ResumeOption = Annotated[
    bool | None,
    typer.Option(
        "--resume/--no-resume",
        show_default=False,
        help="Resume this training where it was stopped, or start again.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout, also for an error.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Show only results and warnings.")]
DeviceOption = Annotated[
    Literal["auto", "cpu", "cuda", "mps"],
    typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda or mps."),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        show_default=False,
        help="CPU threads; default: one per core.",
    ),
]
GivenThresholdOption = Annotated[
    str | None,
    typer.Option(
        "--threshold",
        metavar="NATS[,NATS...]",
        show_default=False,
        help=f"In this call only: {THRESHOLDS}.",
    ),
]
PrecisionOption = Annotated[
    Literal["float32", "bfloat16"] | None,
    typer.Option(
        "--precision",
        show_default=False,
        help="Precision of inference; default: float32, or that of the thresholds in use.",
    ),
]
