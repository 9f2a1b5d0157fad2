"""TensorBoard: event files in a folder, one for each network and one for the results."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from erde_cli.core.events import Role, Status
from erde_cli.core.tracking.contents import Parameter
from erde_cli.core.tracking.listener import TrackerListener, WorkedOn

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from erde_cli.core.arrays import ImageArray

_RESULTS = "results"  # a folder next to those of the networks


class TensorBoard(TrackerListener):
    """Writes event files; the ID of a run is the name of its folder.

    Each network has a folder of its own, so that teacher and student share one chart, and so that
    `purge_step` removes the steps of one network only.
    """

    rewinds = True

    _folder = Path()
    _parameters: Mapping[str, Parameter]
    _writers: dict[str, SummaryWriter]
    _hook = staticmethod(threading.excepthook)

    def begin(self, on: WorkedOn, earlier: str | None) -> str:
        """Choose the folder: in the command's run folder, or one of that name in another."""
        self._writers, self._parameters = {}, on.parameters
        self._hook = threading.excepthook
        threading.excepthook = self._without_traceback
        name = re.sub(r"[^\w.-]", "-", on.label).lstrip(".-")[-100:] or "run"
        if not self.destination.full:
            below = on.label.split("/")[1:]
            self._folder = self.root.joinpath("logs", "tensorboard", *below)
            return earlier or name
        above = Path(self.destination.full).expanduser()
        number = 1
        while earlier is None and (above / name).exists():  # another run of this name
            number += 1
            name = f"{name.removesuffix(f'-{number - 1}')}-{number}"
        self._folder = above / (earlier or name)
        return earlier or name

    def begin_role(self, role: Role, epoch: int, setting: Mapping[str, Parameter]) -> None:
        """Open the event file of a network. Steps after `epoch` that are in older ones are void."""
        from torch.utils.tensorboard.summary import hparams

        writer = self._writer(role, purge_step=epoch + 1)
        # Not `add_hparams`, which puts them into a folder of their own.
        files: Any = writer
        build: Any = hparams
        for summary in build({**self._parameters, **setting}, {}):
            files.file_writer.add_summary(summary)
        writer.flush()

    def send_epoch(self, role: Role, epoch: int, figures: Mapping[str, float]) -> None:
        """Write the figures of an epoch."""
        self._write(role, figures, epoch)

    def send_figures(self, figures: Mapping[str, float]) -> None:
        """Write figures of results, at step 0."""
        self._write(_RESULTS, figures, 0)

    def send_picture(self, name: str, pixels: ImageArray) -> None:
        """Write a picture, at step 0."""
        writer = self._writer(_RESULTS)
        writer.add_image(name, pixels, 0, dataformats="HWC")

    def end(self, status: Status) -> None:
        """Close the event files."""
        try:
            for writer in self._writers.values():
                writer.close()
        finally:
            self._writers = {}
            threading.excepthook = self._hook

    def _without_traceback(self, error: threading.ExceptHookArgs) -> None:
        """Ignore an error of a thread that writes: the next call raises it again."""
        if type(error.thread).__name__ != "_AsyncWriterThread":
            self._hook(error)

    def _write(self, folder: str, figures: Mapping[str, float], step: int) -> None:
        writer = self._writer(folder)
        for name, value in figures.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    def _writer(self, folder: str, purge_step: int | None = None) -> SummaryWriter:
        from torch.utils.tensorboard import SummaryWriter

        if folder not in self._writers or purge_step is not None:
            self._writers[folder] = SummaryWriter(str(self._folder / folder), purge_step=purge_step)
        return self._writers[folder]
