"""The processes of a command that `torchrun` started: which one prints, and what they compare."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from erde_cli.commands.failures import fail
from erde_cli.core.errors import ErdeError, InputError, StoppedError
from erde_cli.core.processes.engine import ALONE, Engine
from erde_cli.core.processes.environment import Place, place_of_process
from erde_cli.core.processes.lost import (
    claims_report,
    lost_at_start,
    lost_processes,
    started,
    starts,
)

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from erde_cli.core.events import Role
    from erde_cli.core.processes.lost import LostProcessError
    from erde_cli.core.processes.torchrun import Torchrun
    from erde_cli.core.recipe.schema import Recipe
    from erde_cli.core.workflows.options import Options

SEVERAL = ("train-teacher", "distill", "run")  # commands that several processes can run
_TRAINED: dict[str, tuple[Role, ...]] = {"train-teacher": ("teacher",), "distill": ("student",)}
_joined: list[Torchrun] = []  # at most one; torch.distributed too has one for each process


def engine() -> Engine:
    """The processes of this command."""
    return _joined[0] if _joined else ALONE


def note_start() -> None:
    """Let the other processes of torchrun notice it if this one is killed before all have met."""
    signal.signal(signal.SIGTERM, _end_by_signal)
    atexit.register(started)  # it ends by itself
    starts()


def join(command: str) -> None:
    """Connect to the other processes, if torchrun started this one.

    Raises:
        InputError: the command runs in one process, or the processes cannot be connected.
    """
    place = place_of_process()
    if place is None:
        return
    if command not in SEVERAL:
        raise InputError(
            f"erde {command} runs in one process.",
            got=f"{place.world_size} processes of torchrun",
            expected=f"one of {', '.join(SEVERAL)}",
            hint=f"type erde {command} without torchrun",
        )
    # The stack traces of a lost connection are no message. Set before torch is imported.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
    from erde_cli.core.processes.torchrun import Torchrun
    from erde_cli.core.provenance import versions

    this = Torchrun(place)
    _joined.append(this)
    alike = {f"version of {name}": number for name, number in versions().items()}
    this.connect({"command": f"erde {command}", **alike}, _note)


def _end_by_signal(number: int, frame: FrameType | None) -> None:
    """Handle SIGTERM: end at once, unless this process is about to report why it fails.

    torchrun sends it to all processes as soon as one has ended. If that one was killed, this
    process reports it before it ends.
    """
    del frame
    if _joined and _joined[0].failing:
        return
    signal.signal(number, signal.SIG_IGN)  # a second one would end this process in mid-sentence
    with suppress(RuntimeError):  # of a stream that was being written to
        lost = _lost()
        if lost is not None and reports(lost):
            fail(sys.argv[1:], lost.to_json(), str(lost))
    started()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _lost() -> LostProcessError | None:
    """The error of this process if another was killed."""
    if _joined and _joined[0].met:
        return _joined[0].lost()
    ranks = lost_at_start()
    return lost_processes(ranks) if ranks else None


def _note(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def leave() -> None:
    """Disconnect from the other processes, once the command is done."""
    while _joined:
        _joined.pop().leave()


def reports(error: BaseException) -> bool:
    """Whether this process shows an error, so that all together show one message."""
    if not _joined:
        place = _place()
        if place is None:
            return True
        return place.rank == place.local_rank and claims_report(otherwise=place.rank == 0)
    this = _joined[0]
    if isinstance(error, StoppedError | KeyboardInterrupt) and this.connected:
        if isinstance(error, StoppedError):  # others may not know yet that all have met
            this.leave()
        return this.leads  # all of them stop
    return not getattr(error, "reported", False) and this.may_report() and claims_report()


def of_rank(
    error: BaseException, document: dict[str, Any], text: str
) -> tuple[dict[str, Any], str]:
    """The object and the message of an error, which name the process if there are several.

    An error of all of them, or one that names a process already, is left as it is.
    """
    shared = isinstance(error, StoppedError) or hasattr(error, "reported")
    if not _joined or shared or text.startswith("Rank "):
        return document, text
    rank = f"Rank {_joined[0].rank}: "
    inner = document["error"]
    return {"error": {**inner, "message": rank + inner["message"]}}, rank + text


def _place() -> Place | None:
    try:
        return place_of_process()
    except ErdeError:
        return None


@contextmanager
def one_writer_of(run: Path) -> Iterator[None]:
    """Lock a run folder for rank 0; the other processes wait until it is locked.

    Raises:
        RunError: another command holds the lock, or the folder is not writable.
    """
    from erde_cli.core.storage.run_lock import one_writer

    with ExitStack() as stack:
        with engine().first():
            if engine().leads:
                stack.enter_context(one_writer(run))
        yield


def require_same_command(
    recipe: Recipe, run: Path, options: Options, *, command: str, **given: object
) -> None:
    """Check that all processes have the same recipe and options, and share folders and batches.

    Raises:
        InputError: they differ, do not see the same folders, or cannot share a batch equally.
    """
    from erde_cli.core.recipe.schema import ROLES
    from erde_cli.core.storage.cache import writable_folder

    if options.engine.world_size == 1:
        return
    folders = {"run": run}
    cache = writable_folder("teacher", options.observer)
    if cache is not None:
        folders["cache"] = cache
    inputs = {f"--{name.replace('_', '-')}": str(value) for name, value in given.items()}
    inputs["device"] = options.context("float32").device.type
    options.engine.require_agreement(inputs | dict(_flat(recipe.recorded())), folders)
    for role in _TRAINED.get(command, ROLES):
        size = recipe.training_of(role).batch_size
        options.engine.require_shares(size, f"training.{role}.batch_size")


def _flat(section: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Keys of nested sections, with points between them, and their values as texts."""
    for name, value in section.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", str(value)
