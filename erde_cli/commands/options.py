"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def folder_of(text: str) -> Path:
    """Path of a folder; an empty text, as from a variable that is not set, is refused."""
    if not text.strip():
        raise typer.BadParameter("the path of a folder is expected, got nothing")
    return Path(text)


RecipeArgument = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        show_default=False,
        help="Path of a recipe, or the name of a shipped one (see: erde recipes).",
    ),
]
BundleArgument = Annotated[
    Path,
    typer.Argument(metavar="BUNDLE", show_default=False, help="Folder of a trained model."),
]
ModelArgument = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        show_default=False,
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
        "--out", metavar="RUN", show_default=False, help="Run folder; runs/<recipe name> if absent."
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
