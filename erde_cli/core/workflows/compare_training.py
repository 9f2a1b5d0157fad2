"""One of several trainings of a comparison: its process, what it says, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from erde_cli.core import errors
from erde_cli.core.bundle.bundle import Bundle, load_bundle
from erde_cli.core.errors import ErdeError, InputError, StoppedError
from erde_cli.core.events import Observer, Status
from erde_cli.core.figures import clock
from erde_cli.core.storage.json_files import Json, JsonError
from erde_cli.core.workflows.compare_gates import Gates
from erde_cli.core.workflows.compare_networks import Network
from erde_cli.core.workflows.compare_progress import CrewProgress
from erde_cli.core.workflows.worker_process import WorkerProcess

_LINES = 10  # epochs of a training that are shown, about
_KEPT_FOR_LISTENERS = ("training_started", "metrics", "artifact")
_PLAIN = (
    "TrainingError", "UnsupportedOperatorError", "DownloadError", "DataError", "BundleError",
    "RunError",
)  # fmt: skip


@dataclass
class Board:
    """What all trainings share: the observer, the progress, and who waits for whom."""

    observer: Observer
    progress: CrewProgress
    gates: Gates = field(default_factory=Gates)
    warned: set[str] = field(default_factory=set)

    def warn(self, name: str, message: str, *, again: bool) -> None:
        """Pass on a warning; the same one of several trainings is shown once."""
        if again or message not in self.warned:
            self.warned.add(message)
            self.observer.warning(f"{name}: {message}", again=again)


class Training:
    """The process that trains a network.

    Args:
        network: what it trains.
        process: as it was started.
        digest: of the inputs, to which the trained network must belong.
        place: a number that no other running training has.
        board: what all trainings share.
    """

    def __init__(
        self, network: Network, process: WorkerProcess, digest: str, place: int, board: Board
    ) -> None:
        self.network, self.process, self.place = network, process, place
        self._digest, self._board = digest, board
        self._heard: list[Json] = []
        self._bars: dict[str, int] = {}  # total of each bar that is shown
        self._done: Json | None = None

    def hear(self) -> bool:
        """Take what the process says; False if it says nothing more."""
        try:
            events = self.process.read()
            for event in events or ():
                self._take(event)
        except (JsonError, KeyError, TypeError) as error:
            self.process.kill()
            self._done = None
            self._board.observer.warning(f"{self.network.name} is ended, it told {error!r}.")
            return False
        return events is not None

    def result(self, code: int) -> Bundle:
        """The trained network of a process that has ended with an exit code.

        Raises:
            StoppedError: it was asked to stop, and has saved its progress.
            ErdeError: it failed, or its process was killed.
        """
        done, network = self._done, self.network
        if done is None:
            ended = f"signal {-code}" if code < 0 else f"exit code {code}"
            raise ErdeError(
                f"Its process ended with {ended}.",
                hint="if memory was short, lower --workers; the same command trains it again",
            )
        if done["status"] == "stopped":
            raise StoppedError("It was stopped; its progress is saved.", signal=15)
        if done["status"] == "failed":
            raise _error_of(done["error"])
        bundle = load_bundle(network.run / network.role)
        if bundle.document.inputs_digest != self._digest:
            raise ErdeError(
                "It was trained on other inputs than those that this command has read.",
                hint="type the same command again, and change no images or weights meanwhile",
            )
        return bundle

    def close(self, status: Status) -> None:
        """Remove its bars, and tell listeners about it: all at once, as they know one run a time.

        Args:
            status: how it ended.
        """
        observer, network = self._board.observer, self.network
        for title, total in self._bars.items():
            observer.progress(title, total, total)
        observer.run_started(network.run, network.recipe.recorded())
        for event in self._heard:
            if event["event"] == "training_started":
                observer.training_started(network.role, event["epoch"])
            elif event["event"] == "metrics":
                observer.metrics(network.role, event["row"])
            else:
                observer.artifact(Path(event["path"]), event["kind"])
        observer.ended(status)

    def _take(self, event: Json) -> None:
        kind = event["event"]
        if kind in _KEPT_FOR_LISTENERS:
            self._heard.append(event)
        take = getattr(self, f"_take_{kind}", None)
        if take is not None:
            take(event)

    def _take_done(self, event: Json) -> None:
        self._done = event

    def _take_training_started(self, event: Json) -> None:
        self._board.gates.trains(self.network)
        self._board.progress.began(self.network, event["epoch"])

    def _take_reached(self, event: Json) -> None:
        self._board.progress.reached(self.network, event["epochs"])

    def _take_epoch(self, event: Json) -> None:
        epoch, epochs, progress = event["epoch"], event["epochs"], self._board.progress
        progress.reached(self.network, epoch)
        if epoch % max(1, epochs // _LINES) == 0 or epoch == epochs:
            left = progress.seconds_left()
            eta = "" if left is None else f"  all trainings: ETA {clock(left)}"
            self._note(f"epoch {epoch}/{epochs}  {event['figures']}{eta}")

    def _take_progress(self, event: Json) -> None:
        title = f"{self.network.name}: {event['title']}"
        self._bars[title] = event["total"]
        self._board.observer.progress(title, event["done"], event["total"])
        if event["done"] == event["total"]:
            del self._bars[title]

    def _take_note(self, event: Json) -> None:
        self._note(event["message"])

    def _take_warning(self, event: Json) -> None:
        self._board.warn(self.network.name, event["message"], again=event["again"])

    def _note(self, message: str) -> None:
        self._board.observer.note(f"{self.network.name}: {message}")


def _error_of(document: dict[str, Any]) -> ErdeError:
    """The error that a worker has reported."""
    name = str(document["type"])
    fallback = InputError if document["exit_code"] == InputError.exit_code else ErdeError
    kind: type[ErdeError] = getattr(errors, name) if name in _PLAIN else fallback
    fields = {key: str(document[key]) for key in ("got", "expected", "hint")}
    return kind(str(document["message"]), **fields)
