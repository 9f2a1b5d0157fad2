"""Worker process of `erde compare`: trains one network, and answers the images with it."""

from __future__ import annotations

import gc
import json
import os
import signal
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import IO, Any

from erde_cli.core.bundle.bundle import Bundle, load_bundle
from erde_cli.core.comparison.answers import network_answers
from erde_cli.core.data.opening import open_dataset
from erde_cli.core.errors import ErdeError, StoppedError
from erde_cli.core.events import Artifact, EpochEvent, Observer, Role, StepEvent
from erde_cli.core.figures import percent
from erde_cli.core.platform.allocator import keep_freed_memory
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.storage.files import make_folder
from erde_cli.core.storage.json_files import Json, parse_json
from erde_cli.core.storage.run_lock import hold
from erde_cli.core.workflows.compare_answers import images_to_answer
from erde_cli.core.workflows.compare_networks import Network
from erde_cli.core.workflows.options import Options

SERVE = "from erde_cli.core.workflows.compare_worker import serve; serve()"
_PAUSE = 0.5  # seconds between two events about progress
_OUT_OF_MEMORY = ("MemoryError", "OutOfMemoryError")  # the second is torch's


def request(network: Network, teacher: Bundle | None, options: Options, views_first: int) -> Json:
    """The message to a worker, as JSON.

    Args:
        network: what to train.
        teacher: its teacher, if it has one.
        options: device and threads.
        views_first: views whose logits are computed before the first epoch.
    """
    return {
        "seed": network.seed,
        "label": network.label,
        "role": network.role,
        # A default that is written out could be of another type: 0.0 for 0.
        "recipe": network.recipe.model_dump(mode="json", exclude_unset=True),
        "run": str(network.run),
        "seed_folder": str(network.run if network.role == "teacher" else network.run.parent),
        "answers": str(network.answers),
        "teacher": None if teacher is None else str(teacher.path),
        "device": options.device,
        "threads": options.threads,
        "views_first": views_first,
    }


def serve() -> None:
    """Do the job that the first line of stdin describes; output of libraries goes to stderr.

    When stdin ends, the process that gave the job has ended: this one stops after its step.
    """
    keep_freed_memory()  # as in the process of a command
    with os.fdopen(os.dup(1), "w") as events:
        os.dup2(2, 1)
        message = parse_json(_first_line())
        Thread(target=_stop_at_the_end_of_stdin, daemon=True).start()
        relay = _Relay(events)
        relay.send("done", **_outcome(message, relay))
    gc.freeze()  # Python would search torch for garbage before it ends


def _first_line() -> str:
    """The first line of stdin. Python's own reader would hold a lock that its end waits for."""
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(0, 65_536)
        if not part:
            raise SystemExit(1)
        line += part
    return line.decode()


def _stop_at_the_end_of_stdin() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _outcome(message: Json, relay: _Relay) -> Json:
    """Do the job; the last event says how it ended."""
    try:
        _work(message, relay)
    except StoppedError:
        return {"status": "stopped"}
    except ErdeError as error:
        return {"status": "failed", **error.to_json()}
    except Exception as error:  # noqa: BLE001 (one network fails, the others go on)
        reason = " ".join(str(error).split()) or "no reason given"
        if type(error).__name__ in _OUT_OF_MEMORY:
            told = ErdeError(f"There is not enough free memory: {reason}")
        else:
            traceback.print_exc()
            told = ErdeError(f"This is a bug in erde: {type(error).__name__}: {reason}")
        return {"status": "failed", **told.to_json()}
    return {"status": "finished"}


def _work(message: Json, relay: _Relay) -> None:
    run = Path(message["run"])
    seed_folder = Path(message["seed_folder"])
    make_folder(seed_folder)
    hold(seed_folder)
    recipe = Recipe.model_validate(message["recipe"])
    network = Network(
        message["seed"], message["label"], message["role"], recipe, run, "",
        Path(message["answers"]),
    )  # fmt: skip
    options = Options(
        message["device"], message["threads"], relay, resume=True,
        views_first=message["views_first"],
    )  # fmt: skip
    options.context("float32").apply()
    dataset = open_dataset(recipe.data, Observer())  # the command has shown its notes
    teacher = message["teacher"] and load_bundle(Path(message["teacher"]))
    bundle = network.train(teacher, options, dataset)
    with suppress(ErdeError):  # the command computes them, and reports what is wrong
        images = images_to_answer(dataset.at(bundle.image_size), options)
        network_answers(bundle, images, network.answers, relay)


class _Relay(Observer):
    """Writes the events of one training that the command shows or passes on; others are lost."""

    def __init__(self, events: IO[str]) -> None:
        self._events = events
        self._last = 0.0  # of monotonic

    def send(self, event: str, **content: Any) -> None:
        """Write one event. A command that has ended reads none; then stdin has ended, too."""
        with suppress(BrokenPipeError):
            self._events.write(json.dumps({"event": event, **content}, allow_nan=False) + "\n")
            self._events.flush()

    def training_started(self, role: Role, epoch: int) -> None:
        self.send("training_started", role=role, epoch=epoch)

    def metrics(self, role: Role, row: Mapping[str, Any]) -> None:
        self.send("metrics", role=role, row=dict(row))

    def artifact(self, path: Path, kind: Artifact) -> None:
        self.send("artifact", path=str(path), kind=kind)

    def note(self, message: str) -> None:
        self.send("note", message=message)

    def warning(self, message: str, *, again: bool = False) -> None:
        self.send("warning", message=message, again=again)

    def progress(self, title: str, done: int, total: int) -> None:
        if done == total or self._due():
            self.send("progress", title=title, done=done, total=total)

    def step(self, event: StepEvent) -> None:
        if self._due():
            self.send("reached", epochs=event.epoch - 1 + event.step / event.steps)

    def epoch(self, event: EpochEvent) -> None:
        accuracy = " ".join(percent(share, 1) for share in event.accuracy_calibration)
        figures = f"loss {event.loss:.3f}  calibration {accuracy} %"
        self.send("epoch", epoch=event.epoch, epochs=event.epochs, figures=figures)

    def _due(self) -> bool:
        """Whether the last event about progress is long enough ago for another."""
        now = monotonic()
        if now - self._last < _PAUSE:
            return False
        self._last = now
        return True
