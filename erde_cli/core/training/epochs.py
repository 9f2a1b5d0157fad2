"""The epochs of one training, with its logs, its checkpoints, and resuming."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import monotonic

from erde_cli.core.device import Context
from erde_cli.core.errors import DataError, InputError, StoppedError, TrainingError
from erde_cli.core.events import Observer, Role
from erde_cli.core.platform.stop import StopRequest, stop_requests
from erde_cli.core.provenance import versions
from erde_cli.core.storage.files import make_folder, write_text
from erde_cli.core.storage.json_files import Json, write_json
from erde_cli.core.training.checkpoints import Checkpoints, Saved
from erde_cli.core.training.loop import EpochRecord, Epochs, train_epoch
from erde_cli.core.training.resume_state import mismatch
from erde_cli.core.training.state import TrainState

_SECONDS = 300.0  # between checkpoints within an epoch; each epoch ends with one
_VARIABLE = "ERDE_CHECKPOINT_SECONDS"
_DECIDES_BYTES = ("device", "precision", "memory_format", "threads", "world_size", "torch")


class TrainingRecorder:
    """Writes the log files and checkpoints of a training."""

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
        self.engine = context.engine
        self._context = {**context.to_json(), "recipe": recipe}
        self._made_by = {**context.to_json(), "torch": versions()["torch"]}
        self._rows: dict[str, list[Json]] = {"metrics": [], "timings": []}
        self._seconds = _seconds()
        self._saved_at = monotonic()
        self.request = StopRequest()

    def begin(self, state: TrainState) -> None:
        """Restore a saved state if `resume` is set, and write the logs up to it.

        Raises:
            InputError: there is a saved state, and `resume` is None.
        """
        saved = self._checkpoints.latest(
            self._observer.warning, partial(mismatch, own=state.state_dict())
        )
        if saved is not None and self._resume is None:
            raise InputError(
                f"{self._checkpoints.folder} contains a saved state of this training, which "
                f"stopped in epoch {saved.state['epoch'] + 1}.",
                hint="continue with --resume, or start again with --no-resume",
                expected="--resume or --no-resume",
            )
        self.engine.meet()  # all have read it, so rank 0 can remove it
        if saved is not None and self._resume:
            self._restore(state, saved)
        elif self.engine.leads:
            self._checkpoints.clear()
        self.engine.start_alike(state.model, state.step)
        if self.engine.leads:
            make_folder(self._logs)
            write_json(self._logs / "context.json", self._context)
        self._write_logs()

    def after_step(self, state: TrainState) -> None:
        """Save the state when it is time, and stop after Ctrl-C or SIGTERM.

        Raises:
            StoppedError: Ctrl-C or SIGTERM was received; the state is saved.
        """
        signal = self.engine.agreed_stop(self.request.number)
        if signal is None and monotonic() - self._saved_at < self._seconds:
            return
        self.save(state)
        if signal is not None:
            if self.engine.world_size > 1:
                self.engine.meet()  # torchrun ends the others as soon as one has ended
                self.request.ends = True
            again = "the same command" + ("" if self._resume else " with --resume")
            raise StoppedError(
                f"Stopped in epoch {state.epoch + 1}, after step {state.step} of the training; "
                "nothing is lost.",
                hint=f"type {again} to go on",
                signal=signal,
            )

    def add(self, record: EpochRecord, state: TrainState) -> None:
        """Log a finished epoch, and save the state."""
        for name, row in (("metrics", record.metrics), ("timings", record.timings)):
            self._rows[name].append(row)
        self._write_logs()
        self.save(state)

    def save(self, state: TrainState) -> None:
        """Write a checkpoint."""
        if self.engine.leads:
            saved = Saved(self._made_by, state.state_dict(), **self._rows)
            self._checkpoints.save(state.step, saved)
        self._saved_at = monotonic()

    def finish(self) -> None:
        """Delete the checkpoints, once the bundle is written."""
        if self.engine.leads:
            self._checkpoints.clear()

    def with_last_state(self, error: TrainingError) -> TrainingError:
        """The error, extended by the location of the last saved state."""
        saved = self._checkpoints.latest(self._observer.warning)
        got = "no saved state"
        if saved is not None:
            step, folder = saved.state["step"], self._checkpoints.folder
            got = f"the last saved state is of step {step} of the training, in {folder}"
        return TrainingError(error.message, got=got, expected=error.expected, hint=error.hint)

    @property
    def images_per_second(self) -> float:
        """Training speed over all epochs, without the evaluation after each."""
        rows = self._rows["timings"]
        return float(sum(row["images"] for row in rows) / sum(row["seconds"] for row in rows))

    def _write_logs(self) -> None:
        """Write whole files, because an appended line could be incomplete."""
        if not self.engine.leads:
            return
        for name, rows in self._rows.items():
            text = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
            write_text(self._logs / f"{name}.jsonl", text)

    def _restore(self, state: TrainState, saved: Saved) -> None:
        state.load_state_dict(saved.state)
        self._rows = {"metrics": list(saved.metrics), "timings": list(saved.timings)}
        self._observer.note(
            f"continuing in epoch {state.epoch + 1}, after step {state.step} of the training"
        )
        changes = [
            f"{name} was {saved.made_by.get(name)}, is {self._made_by[name]}"
            for name in _DECIDES_BYTES
            if saved.made_by.get(name) != self._made_by[name]
        ]
        if changes:
            self._observer.warning(
                f"The training continues under other conditions ({'; '.join(changes)}). The "
                "network is valid, but not bit-identical to that of an uninterrupted run."
            )


def train_epochs(
    state: TrainState,
    plan: Epochs,
    recorder: TrainingRecorder,
    after_first: Callable[[EpochRecord], object],
    observer: Observer,
    role: Role,
) -> float:
    """Train the remaining epochs; return the images per second of all epochs.

    `after_first` is called after the first epoch of the training.

    Raises:
        StoppedError: Ctrl-C or SIGTERM was received; the state is saved.
        TrainingError: training cannot continue; the message names the last saved state.
        DataError: images cannot be read; the state is saved.
    """
    recorder.begin(state)
    observer.training_started(role, state.epoch)
    with stop_requests(patient=recorder.engine.world_size > 1) as recorder.request:
        while state.epoch < plan.settings.epochs:
            try:
                record = train_epoch(state, plan, observer, recorder.after_step)
            except TrainingError as error:
                raise recorder.with_last_state(error) from error
            except DataError:  # the next batch cannot be read; the last step is complete
                recorder.save(state)
                raise
            recorder.add(record, state)
            observer.metrics(role, record.metrics)
            if state.epoch == 1:
                after_first(record)
    return recorder.images_per_second


def _seconds() -> float:
    """Seconds between checkpoints within an epoch.

    Raises:
        InputError: the environment variable is not a number of seconds.
    """
    text = os.environ.get(_VARIABLE, "")
    try:
        seconds = float(text) if text else _SECONDS
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise InputError(
            f"${_VARIABLE} is not a number of seconds.",
            got=text,
            expected=f"0 or more, such as {_SECONDS:g}",
            hint="unset it to use the default",
        )
    return seconds
