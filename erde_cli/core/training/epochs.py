"""The epochs of one training: its logs, its checkpoints, and the way on where it was stopped."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import monotonic

from erde_cli.core.device import Context
from erde_cli.core.errors import InputError, StoppedError, TrainingError
from erde_cli.core.events import Observer, Role
from erde_cli.core.platform.stop import StopRequest, stop_requests
from erde_cli.core.provenance import versions
from erde_cli.core.storage.files import make_folder, write_text
from erde_cli.core.storage.json_files import Json, write_json
from erde_cli.core.training.checkpoints import Checkpoints, Saved
from erde_cli.core.training.loop import EpochRecord, Epochs, train_epoch
from erde_cli.core.training.resume_state import mismatch
from erde_cli.core.training.state import TrainState

_SECONDS = 300.0  # between checkpoints inside an epoch; each epoch ends with one
_VARIABLE = "ERDE_CHECKPOINT_SECONDS"
_DECIDES_BYTES = ("device", "precision", "memory_format", "threads", "world_size", "torch")


class TrainingRecorder:
    """Keeps what a training came to: log files for people, checkpoints to go on from."""

    def __init__(
        self,
        logs: Path,
        checkpoints: Checkpoints,
        context: Context,
        recipe: Json,
        observer: Observer,
        *,
        resume: bool | None,
    ) -> None:
        self._logs, self._checkpoints = logs, checkpoints
        self._observer, self._resume = observer, resume
        self._context = {**context.to_json(), "recipe": recipe}
        self._made_by = {**context.to_json(), "torch": versions()["torch"]}
        self._rows: dict[str, list[Json]] = {"metrics": [], "timings": []}
        self._seconds = _seconds()
        self._saved_at = monotonic()
        self.request = StopRequest()

    def begin(self, state: TrainState) -> None:
        """Take up what was saved, and write the logs as they were then.

        Raises:
            InputError: there is a state to go on from, and nobody said whether to.
        """
        saved = self._checkpoints.latest(
            self._observer.warning, partial(mismatch, own=state.state_dict())
        )
        if saved is not None and self._resume is None:
            raise InputError(
                f"{self._checkpoints.folder} holds the state of this very training, stopped in "
                f"epoch {saved.state['epoch'] + 1}.",
                hint="go on with --resume, or begin anew with --no-resume",
                expected="--resume or --no-resume",
            )
        if saved is None or not self._resume:
            self._checkpoints.clear()
        else:
            self._take_up(state, saved)
        make_folder(self._logs)
        write_json(self._logs / "context.json", self._context)
        self._write_logs()

    def after_step(self, state: TrainState) -> None:
        """Save where it is time to, and stop where that was asked for.

        Raises:
            StoppedError: Ctrl-C or SIGTERM came; the state is saved.
        """
        if self.request.number is None and monotonic() - self._saved_at < self._seconds:
            return
        self.save(state)
        if self.request.number is not None:
            again = "the same command" + ("" if self._resume else " with --resume")
            raise StoppedError(
                f"Stopped in epoch {state.epoch + 1}, after step {state.step} of the training; "
                "nothing is lost.",
                hint=f"type {again} to go on",
                signal=self.request.number,
            )

    def add(self, record: EpochRecord, state: TrainState) -> None:
        """Keep a finished epoch."""
        for name, row in (("metrics", record.metrics), ("timings", record.timings)):
            self._rows[name].append(row)
        self._write_logs()
        self.save(state)

    def save(self, state: TrainState) -> None:
        """Write a checkpoint."""
        saved = Saved(self._made_by, state.state_dict(), **self._rows)
        self._checkpoints.save(state.step, saved)
        self._saved_at = monotonic()

    def finish(self) -> None:
        """Drop the checkpoints: the bundle is there."""
        self._checkpoints.clear()

    def with_last_state(self, error: TrainingError) -> TrainingError:
        """The error, and where the last state lies that was saved before it."""
        saved = self._checkpoints.latest(self._observer.warning)
        kept = "nothing was saved before that"
        if saved is not None:
            kept = f"the last state before that, of step {saved.state['step']} of the training, "
            kept += f"was saved in {self._checkpoints.folder}"
        return TrainingError(error.message, got=kept, expected=error.expected, hint=error.hint)

    @property
    def images_per_second(self) -> float:
        """Over all epochs, looking at the calibration split left out."""
        rows = self._rows["timings"]
        return float(sum(row["images"] for row in rows) / sum(row["seconds"] for row in rows))

    def _write_logs(self) -> None:
        """Write them whole: a line that was appended could be half a line."""
        for name, rows in self._rows.items():
            text = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
            write_text(self._logs / f"{name}.jsonl", text)

    def _take_up(self, state: TrainState, saved: Saved) -> None:
        state.load_state_dict(saved.state)
        self._rows = {"metrics": list(saved.metrics), "timings": list(saved.timings)}
        self._observer.note(
            f"going on in epoch {state.epoch + 1}, after step {state.step} of the training"
        )
        other = [
            f"{name} {saved.made_by.get(name)} there, {self._made_by[name]} here"
            for name in _DECIDES_BYTES
            if saved.made_by.get(name) != self._made_by[name]
        ]
        if other:
            self._observer.warning(
                f"The training goes on differently than it began ({'; '.join(other)}): it is "
                "valid, but not the network that an uninterrupted run gives, to the bit."
            )


def train_epochs(
    state: TrainState,
    wanted: Epochs,
    keeper: TrainingRecorder,
    after_first: Callable[[EpochRecord], object],
    observer: Observer,
    role: Role,
) -> float:
    """Train what is left of the epochs; images per second of all of them.

    Raises:
        StoppedError: Ctrl-C or SIGTERM came; the state is saved.
        TrainingError: it cannot go on; the last state that was saved is named.
    """
    keeper.begin(state)
    observer.training_started(role, state.epoch)
    with stop_requests() as keeper.request:
        while state.epoch < wanted.settings.epochs:
            try:
                record = train_epoch(state, wanted, observer, keeper.after_step)
            except TrainingError as error:
                raise keeper.with_last_state(error) from error
            keeper.add(record, state)
            observer.metrics(role, record.metrics)
            if state.epoch == 1:
                after_first(record)
    return keeper.images_per_second


def _seconds() -> float:
    """Seconds between checkpoints inside an epoch.

    Raises:
        InputError: the variable that says so holds something else.
    """
    text = os.environ.get(_VARIABLE, "")
    try:
        seconds = float(text) if text else _SECONDS
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise InputError(
            f"${_VARIABLE} is no number of seconds.",
            got=text,
            expected=f"such as {_SECONDS:g}",
            hint="unset it to have erde decide",
        )
    return seconds
