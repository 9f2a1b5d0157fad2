"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from erde_cli.commands.completion import bundle_paths, recipe_names
from erde_cli.core.errors import brief

LARGEST_BATCH = 65_536  # images


def path_of(text: str) -> Path:
    """A path, from home where it begins with ~, which shells leave alone in --out=~/runs.

    An empty text, as from a variable that is not set, is refused, and so is what no system takes.
    One dash stands for stdin and stdout elsewhere: it would become a file of that name.
    """
    if not text.strip():
        raise typer.BadParameter("a path is expected, got nothing")
    if text == "-":
        raise typer.BadParameter(
            "a path is expected, got - (on stdout there is JSON, with --json; ./- is a file of "
            "that name)"
        )
    try:
        path = Path(text).expanduser()
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass  # whoever needs it there will tell
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise typer.BadParameter(f"{brief(repr(text))} is no usable path: {reason}") from error
    return path


STDOUT = Path("-")


def path_or_stdout(text: str) -> Path:
    """A path, or `STDOUT` for one dash, where that is taken; a file of that name is absolute."""
    path = STDOUT if text == "-" else path_of(text)
    return path.absolute() if path == STDOUT and text != "-" else path


RecipeArgument = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        show_default=False,
        autocompletion=recipe_names,
        help="Path of a recipe, or the name of a shipped one (see: erde recipes).",
    ),
]
RecipeOrFolderArgument = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE|FOLDER",
        show_default=False,
        autocompletion=recipe_names,
        help="Path of a recipe, the name of a shipped one (see: erde recipes), or a folder of "
        "images, for which a recipe is chosen (as erde init does).",
    ),
]
FolderArgument = Annotated[
    Path,
    typer.Argument(
        metavar="FOLDER",
        show_default=False,
        parser=path_of,
        help="Folder of images: <class>/*, or train/<class>/* and more.",
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
        help="What computes: torch, or onnx for ONNX Runtime. A bundle: torch if absent.",
    ),
]
RunOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="RUN",
        show_default=False,
        parser=path_of,
        help="Run folder; runs/<recipe name> if absent.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SECTION.KEY=VALUE",
        show_default=False,
        help="Change one value of the recipe; may be repeated. Paths start where you are.",
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option("--seed", min=0, show_default=False, help="Use this seed, not the recipe's."),
]
ResumeOption = Annotated[
    bool | None,
    typer.Option(
        "--resume/--no-resume",
        show_default=False,
        help="Go on where this training was stopped, or begin it anew.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print exactly one JSON object on stdout, errors as well.")
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Show results and warnings only, no progress.")
]
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
        help="CPU threads; as many as there are cores.",
    ),
]
PrecisionOption = Annotated[
    Literal["float32", "bfloat16"] | None,
    typer.Option(
        "--precision", show_default=False, help="Precision of inference; float32 if absent."
    ),
]
