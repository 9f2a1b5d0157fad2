"""The command line: mounts the commands, turns an error into one message and one exit code."""

from __future__ import annotations

import errno
import io
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

import typer

from erde_cli.commands.backbones import backbones
from erde_cli.commands.calibrate import calibrate
from erde_cli.commands.compare import compare
from erde_cli.commands.data import data
from erde_cli.commands.distill import distill
from erde_cli.commands.evaluate import evaluate
from erde_cli.commands.export import export
from erde_cli.commands.failures import STOPPED, fail, stopped
from erde_cli.commands.init import init
from erde_cli.commands.plan import plan
from erde_cli.commands.predict import predict
from erde_cli.commands.processes import join, leave, of_rank, reports
from erde_cli.commands.profile import profile
from erde_cli.commands.recipes import recipes
from erde_cli.commands.report import report
from erde_cli.commands.run import run
from erde_cli.commands.train_teacher import train_teacher
from erde_cli.commands.tune import tune
from erde_cli.commands.views.printable import printable
from erde_cli.core.errors import ErdeError, InputError, error_object
from erde_cli.core.platform.extras import missing_packages_error
from erde_cli.core.platform.stop import interrupted
from erde_cli.core.platform.waiting import spin_briefly

_OUT_OF_MEMORY = "OutOfMemoryError"  # of torch, which is not imported here
_STREAM_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EBADF, errno.EIO, errno.EFBIG)

app = typer.Typer(
    name="erde",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run)
app.command("init")(init)
app.command("plan")(plan)
app.command("train-teacher")(train_teacher)
app.command("distill")(distill)
app.command("calibrate")(calibrate)
app.command("profile")(profile)
app.command("evaluate")(evaluate)
app.command("predict")(predict)
app.command("export")(export)
app.command("tune")(tune)
app.command("compare")(compare)
app.command("report")(report)
app.command("backbones")(backbones)
app.add_typer(recipes, name="recipes")
app.add_typer(data, name="data")


def _version(context: typer.Context, given: bool) -> None:
    if given and not context.resilient_parsing:  # completion in a shell evaluates the output
        from importlib.metadata import version

        typer.echo(f"erde {version('erde-cli')}")
        raise typer.Exit


@app.callback()
def erde(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Train early-exit image classifiers for devices with little computing power.

    erde trains a teacher with early exits, distills a small student from it,
    chooses the thresholds at which images leave early, and measures what this
    saves.

    Start with [bold]erde run digits[/bold], or [bold]erde run FOLDER[/bold] for your own images.
    """
    if context.invoked_subcommand is not None and not context.resilient_parsing:
        join(context.invoked_subcommand)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code (0 done, 1 failed, 2 bad input, 130 stopped)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    spin_briefly()  # before torch is imported
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # "?" for θ where the encoding has none
    command = typer.main.get_command(app)
    try:
        code = command.main(given, prog_name="erde", standalone_mode=False)
        sys.stdout.flush()  # a failure can still be reported here
        leave()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 (one message, one exit code)
        return _failed(given, error)
    if code == STOPPED:  # Typer turns Ctrl-C into this code, without a message
        return _failed(given, KeyboardInterrupt())
    return code if isinstance(code, int) else 0


def _failed(given: list[str], error: BaseException) -> int:
    """Report an error, in one of several processes; return the exit code of this one."""
    # Ctrl-C during an import can surface as another error.
    ctrl_c = isinstance(error, KeyboardInterrupt | typer.Abort)
    if ctrl_c or (interrupted() and not isinstance(error, ErdeError | OSError)):
        return stopped(given) if reports(KeyboardInterrupt()) else STOPPED
    if isinstance(error, BrokenPipeError):  # the reader of the output has left
        return 1
    if not reports(error):
        code = getattr(error, "exit_code", 1)
        return code if isinstance(code, int) else 1
    if isinstance(error, OSError):  # such as a full disk: not a bug
        error = _as_erde_error(error)
    described = _described(error)
    if described is None:
        return 2  # without arguments, the help has been shown
    return fail(given, *of_rank(error, *described))


def _memory_error(error: BaseException) -> ErdeError:
    """The error to report if memory is used up, of the machine or of its accelerator."""
    return ErdeError(
        f"There is not enough free memory: {str(error).split('. ')[0].rstrip('.') or 'none left'}.",
        hint="end other programs, or lower training.ROLE.batch_size or data.image_size, then type "
        "the same command again",
    )


def _as_erde_error(error: OSError) -> ErdeError:
    """The error to report for a failure of the operating system."""
    if error.filename is None and error.errno in _STREAM_ERRORS:  # errors about files carry a name
        return ErdeError(
            f"Cannot write to stdout: {error.strerror or error}.",
            hint="redirect it, for example with > FILE, then type the same command again",
        )
    if isinstance(error, PermissionError):
        return InputError(
            f"Cannot open {error.filename or 'a file'}: {error.strerror or error}.",
            expected="read permission, and write permission for output",
            hint="change the permissions, or choose another path",
        )
    where = f"{error.filename}: " if error.filename else ""
    return ErdeError(
        f"The operating system reported: {where}{error.strerror or error}.",
        hint="fix this, then type the same command again",
    )


def _described(error: BaseException) -> tuple[dict[str, Any], str] | None:
    """The object and the message of an error: a usage error, missing packages, a bug.

    A bug's traceback is printed. None: there is nothing to say.
    """
    if isinstance(error, ModuleNotFoundError) and (lacking := missing_packages_error(error)):
        error = lacking
    elif isinstance(error, MemoryError) or type(error).__name__ == _OUT_OF_MEMORY:
        error = _memory_error(error)
    if isinstance(error, ErdeError):
        return error.to_json(), str(error)
    describe = getattr(error, "format_message", None)
    if describe is not None and not describe():
        return None
    if describe is not None:
        context = getattr(error, "ctx", None)
        help_command = f"{context.command_path if context else 'erde'} --help"
        text = f"{describe()}\n  next:     {help_command}"
        return error_object("UsageError", describe(), 2, hint=help_command), text
    with suppress(OSError):
        sys.stderr.write(printable("".join(traceback.format_exception(error))))
    text = f"This is a bug in erde: {type(error).__name__}: {error}"
    return error_object(type(error).__name__, str(error), 1), text
