"""`erde compare --workers N`: several trainings at once, each in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from selectors import EVENT_READ, DefaultSelector

import torch

from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.errors import ErdeError, StoppedError
from erde_cli.core.figures import counted
from erde_cli.core.platform.stop import StopRequest, stop_requests
from erde_cli.core.recipe.schema import ROLES
from erde_cli.core.workflows.compare_gates import views_first
from erde_cli.core.workflows.compare_networks import (
    KEPT,
    TEACHER,
    Key,
    Network,
    Outcome,
    teacher_of,
    tell_failure,
)
from erde_cli.core.workflows.compare_progress import CrewProgress
from erde_cli.core.workflows.compare_training import Board, Training
from erde_cli.core.workflows.compare_worker import SERVE, request
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.worker_process import WorkerProcess

_WAIT = 0.2  # seconds between two looks at Ctrl-C
_VISIBLE = "CUDA_VISIBLE_DEVICES"


def train_at_once(
    networks: Sequence[Network],
    shared: Bundle | None,
    dataset: Dataset,
    options: Options,
    workers: int,
) -> dict[Key, Outcome]:
    """Train the missing networks, several at once, with the same bytes as one after the other.

    A student waits for its teacher, and for the student that fills the caches they share.

    Args:
        networks: a teacher stands before its students.
        shared: the teacher of all seeds, if there is one.
        dataset: the images.
        options: device, observer, threads of each training.
        workers: trainings at once.

    Raises:
        StoppedError: Ctrl-C or SIGTERM was received; every training has saved its progress.
    """
    threads = counted(options.context("float32").threads, "thread")
    options.observer.phase(
        f"{counted(len(networks), 'network')}, {workers} at once, {threads} for each"
    )
    crew = _Crew(networks, shared, dataset, options, workers)
    with stop_requests() as stop:
        try:
            crew.work(stop)
        finally:
            crew.leave()
    if stop.number is not None:
        raise StoppedError(
            "Stopped; every training has saved its progress.",
            hint="type the same command to go on",
            signal=stop.number,
        )
    return crew.outcomes


class _Crew:
    """The networks that wait, the trainings that run, and the outcomes of those that have ended."""

    def __init__(
        self,
        networks: Sequence[Network],
        shared: Bundle | None,
        dataset: Dataset,
        options: Options,
        workers: int,
    ) -> None:
        self._networks, self._shared = networks, shared
        self._dataset, self._options = dataset, options
        # Teachers first: most others wait for one.
        self._waiting = sorted(networks, key=lambda one: one.role != "teacher")
        self._running: list[Training] = []
        self._places = list(range(workers))
        self._devices = _devices(options)
        self._stopping = False
        progress = CrewProgress(networks, workers, options.observer)
        self._board = Board(options.observer, progress)
        self.outcomes: dict[Key, Outcome] = {}

    def work(self, stop: StopRequest) -> None:
        """Train until nothing is left, or until all trainings have stopped after their step."""
        with DefaultSelector() as streams:
            while self._running or (self._waiting and not self._stopping):
                while self._places and stop.number is None and (one := self._start_next()):
                    streams.register(one.process, EVENT_READ, one)
                if stop.number is not None and not self._stopping:
                    self._stopping = True
                    for training in self._running:
                        training.process.stop()
                for ready, _ in streams.select(_WAIT if self._running else 0):
                    if not ready.data.hear():
                        streams.unregister(ready.fileobj)
                        self._end(ready.data)

    def leave(self) -> None:
        """Kill what still runs, which is nothing unless this command itself fails."""
        for training in self._running:
            training.process.kill()
            training.process.end()
        self._board.progress.close()

    def _start_next(self) -> Training | None:
        """Start the first training that need not wait; None if all must, or none is left."""
        for network in [*self._waiting]:
            if not self._can_start(network):
                continue
            self._waiting.remove(network)
            try:
                training = self._start(network)
            except ErdeError as error:
                self._fail(network, error)
            else:
                if training is not None:
                    return training
        return None

    def _can_start(self, network: Network) -> bool:
        waits = network.taught and self._shared is None
        taught = not waits or (network.seed, TEACHER) in self.outcomes
        return taught and self._board.gates.lets_through(network)

    def _start(self, network: Network) -> Training | None:
        """Start the process of a training; None if the network is kept.

        Raises:
            ErdeError: the network cannot be trained.
        """
        teacher = teacher_of(network, self.outcomes, self._shared)
        digest = network.digest(self._dataset, teacher)
        kept = network.kept(digest)
        if kept is not None:
            self._options.observer.note(f"{network.name}: {KEPT}")
            self.outcomes[network.key] = kept
            self._board.progress.ended(network)
            return None
        if not all(network.recipe.plain_view(role) for role in ROLES):
            self._dataset.photos(self._options.observer)  # decoded here, once for all
        views = views_first(network, self._networks)
        message = request(network, teacher, self._options, views)
        place = self._places.pop(0)
        own = {_VISIBLE: self._devices[place % len(self._devices)]} if self._devices else {}
        process = WorkerProcess(SERVE, message, own)
        training = Training(network, process, digest, place, self._board)
        self._running.append(training)
        self._board.gates.starts(network)
        self._options.observer.note(f"{network.name}: started")
        return training

    def _end(self, training: Training) -> None:
        """Note the outcome of a training whose process has ended."""
        network = training.network
        code = training.process.end()
        self._running.remove(training)
        self._places = sorted([*self._places, training.place])
        self._board.gates.ends(network)
        self._board.progress.ended(network)
        try:
            self.outcomes[network.key] = training.result(code)
            training.close("finished")
        except ErdeError as error:
            training.close("stopped" if self._stopping else "failed")
            self._fail(network, error)

    def _fail(self, network: Network, error: ErdeError) -> None:
        self.outcomes[network.key] = error
        self._board.progress.ended(network)
        if not self._stopping:
            tell_failure(network, error, self._options)


def _devices(options: Options) -> list[str]:
    """GPUs that the trainings take in turn, as CUDA names them; empty if there is only one."""
    if options.context("float32").device.type != "cuda":
        return []
    named = [one.strip() for one in os.environ.get(_VISIBLE, "").split(",") if one.strip()]
    devices = named or [str(number) for number in range(torch.cuda.device_count())]
    return devices if len(devices) > 1 else []
