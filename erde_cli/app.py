"""The command line: mounts the commands, turns one error into one message and one exit code."""

from __future__ import annotations

import io
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from erde_cli.commands.calibrate import calibrate
from erde_cli.commands.compare import compare
from erde_cli.commands.data import data
from erde_cli.commands.distill import distill
from erde_cli.commands.evaluate import evaluate
from erde_cli.commands.export import export
from erde_cli.commands.json_stream import print_object
from erde_cli.commands.predict import predict
from erde_cli.commands.printable import printable
from erde_cli.commands.profile import profile
from erde_cli.commands.recipes import recipes
from erde_cli.commands.run import run
from erde_cli.commands.train_teacher import train_teacher
from erde_cli.commands.tune import tune
from erde_cli.core.errors import ErdeError, InputError
from erde_cli.core.waiting import spin_briefly

_STOPPED = 130  # 128 + SIGINT

app = typer.Typer(
    name="erde",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run)
app.command("train-teacher")(train_teacher)
app.command("distill")(distill)
app.command("calibrate")(calibrate)
app.command("profile")(profile)
app.command("evaluate")(evaluate)
app.command("predict")(predict)
app.command("export")(export)
app.command("tune")(tune)
app.command("compare")(compare)
app.add_typer(recipes, name="recipes")
app.add_typer(data, name="data")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"erde {version('erde-cli')}")
        raise typer.Exit


@app.callback()
def erde(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Early-exit image classifiers for devices that cannot afford them.

    Train a teacher with early exits, distill a small student from it, choose the
    thresholds at which images leave early, and see what was gained.

    Start with: [bold]erde run digits[/bold]
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code (0 done, 1 failed, 2 bad input, 130 stopped)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    spin_briefly()  # before anything imports torch
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show θ shows "?"
    command = typer.main.get_command(app)
    try:
        code = command.main(given, prog_name="erde", standalone_mode=False)
    except ErdeError as error:
        return _fail(given, error.to_json(), str(error))
    except (KeyboardInterrupt, typer.Abort):
        code = _STOPPED
    except OSError as error:  # a full disk, a closed folder: no bug
        refused = _refused(error)
        return _fail(given, refused.to_json(), str(refused))
    except Exception as error:  # noqa: BLE001 (the last resort: one message, one exit code)
        return _fail_unexpected(given, error)
    if code == _STOPPED:  # Typer turns Ctrl-C into this code, without a word
        text = "Stopped."
        if given[:1] in (["run"], ["compare"]):
            text += " Finished phases are kept: type the same command to go on."
        return _fail(given, _error("Stopped", text, _STOPPED), text)
    return code if isinstance(code, int) else 0


def _refused(error: OSError) -> ErdeError:
    """What the system refused, wherever that was noticed: it lets nobody in, or it fails."""
    if isinstance(error, PermissionError):
        return InputError(
            f"Cannot open {error.filename or 'a file'}: {error.strerror or error}.",
            expected="a file or folder that you may read, and write to where something is written",
            hint="change its permissions, or name another",
        )
    where = f"{error.filename}: " if error.filename else ""
    return ErdeError(
        f"The system refused: {where}{error.strerror or error}.",
        hint="see to it, then type the same command again",
    )


def _fail_unexpected(given: list[str], error: Exception) -> int:
    """Report a wrong command line, told by its own message, or a bug, told by its traceback."""
    describe = getattr(error, "format_message", None)
    if describe is not None and not describe():
        return 2  # only the help was asked for, by giving nothing
    if describe is not None:
        context = getattr(error, "ctx", None)
        help_command = f"{context.command_path if context else 'erde'} --help"
        text = f"{describe()}\n  next:     {help_command}"
        return _fail(given, _error("UsageError", describe(), 2, help_command), text)
    sys.stderr.write(printable("".join(traceback.format_exception(error))))
    text = f"This is a bug in erde: {type(error).__name__}: {error}"
    return _fail(given, _error(type(error).__name__, str(error), 1), text)


def _error(kind: str, message: str, exit_code: int, hint: str = "") -> dict[str, Any]:
    fields = {"type": kind, "message": message, "got": "", "expected": "", "hint": hint}
    return {"error": {**fields, "exit_code": exit_code}}


def _fail(given: list[str], document: dict[str, Any], text: str) -> int:
    sys.stderr.write(f"Error: {printable(text)}\n")
    if "--json" in given:
        print_object(document)
    exit_code: int = document["error"]["exit_code"]
    return exit_code
