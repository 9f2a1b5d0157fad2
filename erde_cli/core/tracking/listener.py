"""What all trackers share: which events are sent, when a tracker run begins, continues and ends."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from PIL import Image

from erde_cli.core.errors import InputError, brief
from erde_cli.core.events import Artifact, Observer, Role, Status
from erde_cli.core.provenance import source_commit, versions
from erde_cli.core.storage.json_files import digest_of, read_json
from erde_cli.core.tracking.contents import (
    Parameter,
    logged,
    of_comparison,
    of_epoch,
    of_report,
    of_thresholds,
    parameters,
)
from erde_cli.core.tracking.destination import Destination
from erde_cli.core.tracking.kept_run import KeptRun, keep, read_kept

if TYPE_CHECKING:
    from erde_cli.core.arrays import ImageArray
    from erde_cli.core.tracking.trackers import Tracker

_FIGURES = {"report": of_report, "thresholds": of_thresholds, "comparison": of_comparison}
_NAMES_CLASSES = "confusion"  # the one picture that is not sent
_OF_CONTEXT = ("device", "precision", "memory_format", "threads", "world_size")


@dataclass(frozen=True)
class WorkedOn:
    """A run folder that work began on. label: its name below the command's run folder."""

    folder: Path
    label: str
    project: str
    parameters: dict[str, Parameter]


class TrackerListener(Observer, ABC):
    """Sends a run to a tracker. What fails is one warning, and nothing more is sent.

    A tracker run begins with the first thing to send. It continues that of an earlier command if
    address and recipe are the same and no epoch would be sent twice.

    rewinds: whether epochs that are sent again replace the earlier ones.
    """

    rewinds: ClassVar[bool] = False

    def __init__(
        self, tracker: Tracker, destination: Destination, root: Path, shown: Observer
    ) -> None:
        self.tracker, self.destination, self.root = tracker, destination, root
        self._shown = shown
        self._failed = False
        self._project = ""
        self._on: WorkedOn | None = None
        self._kept: KeptRun | None = None  # None: no tracker run is open

    @abstractmethod
    def begin(self, on: WorkedOn, earlier: str | None) -> str:
        """Begin a tracker run, or continue the one with the ID `earlier`; return its ID."""

    @abstractmethod
    def begin_role(self, role: Role, epoch: int, setting: Mapping[str, Parameter]) -> None:
        """A training begins, on a machine and with packages (`setting`).

        Epochs after `epoch` are sent, or sent again.
        """

    @abstractmethod
    def send_epoch(self, role: Role, epoch: int, figures: Mapping[str, float]) -> None:
        """Send the figures of an epoch, counted from 1."""

    @abstractmethod
    def send_figures(self, figures: Mapping[str, float]) -> None:
        """Send figures of results."""

    @abstractmethod
    def send_picture(self, name: str, pixels: ImageArray) -> None:
        """Send a picture, uint8 [height, width, 3]."""

    def send_file(self, path: Path) -> None:
        """Send a file, if the tracker keeps files."""

    @abstractmethod
    def end(self, status: Status) -> None:
        """End the tracker run."""

    def run_started(self, folder: Path, recipe: Mapping[str, Any]) -> None:
        """Remember the run; nothing is sent yet."""
        self._on = self._worked_on(folder, recipe)

    def training_started(self, role: Role, epoch: int) -> None:
        """Begin or continue a tracker run; send the earlier epochs that it lacks.

        It lacks one if erde was killed after the epoch was saved and before it was sent.
        """

        def send() -> None:
            on = self._opened(role, epoch)
            sent = min(self._received(role), epoch)
            self.begin_role(role, sent, _setting(on.folder, role))
            self._keep(on, role, sent)
            for row in logged(on.folder / "logs" / role, sent, epoch):
                self._send_row(on, role, row)

        self._try(send)

    def metrics(self, role: Role, row: Mapping[str, Any]) -> None:
        """Send the figures of an epoch."""
        self._try(lambda: self._send_row(self._opened(), role, row))

    def artifact(self, path: Path, kind: Artifact) -> None:
        """Send figures of results and pictures of curves."""

        def send() -> None:
            if kind in _FIGURES and path.suffix == ".json":
                self._opened()
                self.send_figures(_FIGURES[kind](read_json(path)))
            if kind == "thresholds":
                self.send_file(path)
            if kind == "picture" and path.suffix == ".png" and path.stem != _NAMES_CLASSES:
                self._opened()
                with Image.open(path, formats=("PNG",)) as image:
                    pixels = np.asarray(image.convert("RGB"))
                self.send_picture(_picture_name(path), pixels)

        self._try(send)

    def thumbnails(self, name: str, pixels: ImageArray) -> None:
        """Send small images side by side."""

        def send() -> None:
            self._opened()
            self.send_picture(name, np.concatenate(list(pixels), axis=1))

        if self.wants_thumbnails:
            self._try(send)

    def ended(self, status: Status) -> None:
        """End the tracker run."""
        if self._kept is not None:
            self._kept = None
            self._try(lambda: self.end(status))
        self._on = None

    def leave(self) -> None:
        """End what is still open when the command ends."""
        self.ended("finished")

    def tell(self, message: str) -> None:
        """Show a note to the user, without credentials."""
        self._shown.note(self.destination.hide(message))

    def _worked_on(self, folder: Path, recipe: Mapping[str, Any]) -> WorkedOn:
        root = self.root.resolve()
        inside = folder.resolve()
        below = inside.relative_to(root) if inside.is_relative_to(root) else Path()
        self._project = str(recipe.get("name") or self._project or root.name)
        label = "/".join((root.name, *below.parts))
        return WorkedOn(folder, label, self._project, parameters(recipe))

    def _opened(self, role: Role | None = None, epoch: int = 0) -> WorkedOn:
        """The run that is worked on; its tracker run is open."""
        # Results of a comparison are of no single training: they are those of its folder.
        on = self._on = self._on or self._worked_on(self.root, {})
        recipe = digest_of(on.parameters)
        kept = self._kept or read_kept(on.folder, self.tracker.name)
        if kept is not None and (
            kept.where != self.destination.shown
            or kept.recipe != recipe
            or (role is not None and not self.rewinds and epoch < kept.epochs.get(role, 0))
        ):
            if self._kept is not None:
                self.end("finished")
            self._kept = kept = None
        if self._kept is None:
            name = self.begin(on, None if kept is None else kept.id)
            epochs = {} if kept is None or kept.id != name else kept.epochs
            self._kept = KeptRun(
                id=name, where=self.destination.shown, recipe=recipe, epochs=epochs
            )
            keep(on.folder, self.tracker.name, self._kept)
        return on

    def _send_row(self, on: WorkedOn, role: Role, row: Mapping[str, Any]) -> None:
        epoch = int(row["epoch"])
        self.send_epoch(role, epoch, of_epoch(row))
        self._keep(on, role, epoch)

    def _received(self, role: Role) -> int:
        """The last epoch of a training that the tracker has received; 0: none."""
        return 0 if self._kept is None else self._kept.epochs.get(role, 0)

    def _keep(self, on: WorkedOn, role: Role, epoch: int) -> None:
        """Store the last epoch that the tracker has received."""
        assert self._kept is not None  # noqa: S101
        epochs = {**self._kept.epochs, role: epoch}
        self._kept = self._kept.model_copy(update={"epochs": epochs})
        keep(on.folder, self.tracker.name, self._kept)

    def _try(self, send: Callable[[], None]) -> None:
        """Send something; what fails ends the tracking, and no training."""
        if self._failed:
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about the inside of packages
                send()
        except Exception as error:  # noqa: BLE001 (packages of trackers raise anything)
            self._failed = True
            is_open, self._kept = self._kept is not None, None
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            self._shown.warning(
                f"{self.tracker.title} receives nothing more, and the work goes on: "
                f"{brief(self.destination.hide(reason))}"
            )
            if is_open:
                with suppress(Exception):
                    self.end("failed")


def _setting(folder: Path, role: Role) -> dict[str, Parameter]:
    """Device and its settings, as the training has stored them; versions; commit."""
    try:
        context = read_json(folder / "logs" / role / "context.json")
    except InputError:
        context = {}
    found: dict[str, Parameter] = {
        name: context[name] for name in _OF_CONTEXT if context.get(name) is not None
    }
    found |= {f"versions.{name}": version for name, version in versions().items()}
    commit = source_commit()
    return found if commit is None else {**found, "commit": commit}


def _picture_name(path: Path) -> str:
    """Name of a picture: that of the network and of the file, such as "student/tradeoff"."""
    network = next((name for name in ("teacher", "student") if name in path.parts), "")
    return f"{network}/{path.stem}" if network else path.stem
