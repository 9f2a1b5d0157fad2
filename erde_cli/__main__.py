"""`erde` and `python -m erde_cli`: what is settled before anything of size is imported.

Whatever closed a stream, put the current folder among the modules, or presses Ctrl-C while modules
are imported: a command starts, or ends with one message. Only what Python itself has imported by
now stands at the top.
"""

import os
import sys

_STDIN, _STDOUT, _STDERR = range(3)


def main() -> int:
    """Run the command line of this process; return its exit code."""
    code = 1
    try:
        _leave_out_current_folder()
        _open_streams()
        _show_warnings()
        from erde_cli.core.platform.stop import note_interrupts

        note_interrupts()
        from erde_cli.app import main as run

        code = run()
    except KeyboardInterrupt:
        from erde_cli.commands.failures import stopped

        code = stopped(sys.argv[1:])
    finally:
        written = _flush()
    return code if written else code or 1


def _leave_out_current_folder() -> None:
    """Import nothing from the folder that the user is in, which `python -m` would look in first.

    The same goes for an empty entry of PYTHONPATH. A folder that erde or Python lies in stays.
    """
    try:
        here = os.getcwd()  # noqa: PTH109 (pathlib is not imported yet)
    except OSError:  # it was removed
        here = ""
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    python = tuple(os.path.join(folder, "") for folder in (sys.prefix, sys.base_prefix))  # noqa: PTH118
    if here != own and not os.path.join(here, "").startswith(python):  # noqa: PTH118
        sys.path[:] = [folder for folder in sys.path if folder not in ("", here)]


def _open_streams() -> None:
    """Open what is closed of stdin, stdout and stderr: the next file would get its number.

    An empty stdin is read and messages are lost, but results cannot be written to a stdout that is
    closed: it is one that can only be read.
    """
    for number, mode in ((_STDIN, os.O_RDONLY), (_STDOUT, os.O_RDONLY), (_STDERR, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, mode), True)  # the lowest number that is free
    sys.stdin = sys.stdin or os.fdopen(_STDIN, encoding="utf-8", closefd=False)
    sys.stdout = sys.stdout or os.fdopen(_STDOUT, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(_STDERR, "w", encoding="utf-8", closefd=False)


def _show_warnings() -> None:
    """Show what `-W error` would raise: what libraries warn of is no error of a command."""
    import warnings

    if any(action == "error" for action, *_ in warnings.filters):
        warnings.simplefilter("default")


def _flush() -> bool:
    """Write what is waiting; whether that was possible. Python would try it again at its exit."""
    import signal

    if callable(signal.getsignal(signal.SIGINT)):
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # there is nothing left to say
    written = True
    for number, stream in ((_STDOUT, sys.stdout), (_STDERR, sys.stderr)):
        try:
            stream.flush()
        except (OSError, ValueError):
            written = False
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    return written


if __name__ == "__main__":
    sys.exit(main())
