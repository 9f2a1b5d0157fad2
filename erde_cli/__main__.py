"""`erde` and `python -m erde_cli`: prepares the process before other modules are imported.

A command starts, or ends with one message, even if a stream is closed, the current folder is on
`sys.path`, or Ctrl-C interrupts an import. The top of this file imports only modules that Python
itself has imported already.
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
        try:
            if os.environ.get("RANK"):  # one of several processes
                from erde_cli.commands.processes import note_start

                note_start()
            from erde_cli.app import main as run
        except ModuleNotFoundError as error:
            code = _fail_without_packages(error)
        else:
            code = run()
    except KeyboardInterrupt:
        from erde_cli.commands.failures import stopped

        code = stopped(sys.argv[1:])
    finally:
        written = _flush()
        import gc

        gc.freeze()  # Python would search torch for garbage before it ends, a third of a second
    return code if written else code or 1


def _fail_without_packages(error: ModuleNotFoundError) -> int:
    """Report the packages that are missing; return the exit code. Any other error is raised."""
    from erde_cli.commands.failures import fail
    from erde_cli.core.platform.extras import missing_packages_error

    lacking = missing_packages_error(error)
    if lacking is None:
        raise error
    return fail(sys.argv[1:], lacking.to_json(), str(lacking))


def _leave_out_current_folder() -> None:
    """Remove the current folder from `sys.path`: `python -m` and an empty PYTHONPATH entry add it.

    It stays if erde or Python itself is in it.
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
    """Open closed streams on /dev/null; otherwise the next file would get their number.

    A closed stdin reads as empty, and a closed stderr loses messages. A closed stdout is opened
    read-only, so that writing results fails.
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
    """Show warnings that `-W error` would raise: a warning of a library is not an error of erde."""
    import warnings

    if any(action == "error" for action, *_ in warnings.filters):
        warnings.simplefilter("default")


def _flush() -> bool:
    """Flush stdout and stderr; return whether this worked. Python would try again at its exit."""
    import signal

    if callable(signal.getsignal(signal.SIGINT)):
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the command is over
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
