"""What every workflow is given in addition to its inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import wraps
from inspect import signature
from typing import Literal, ParamSpec, TypeVar

from erde_cli.core.device import Auto, Context, Layout, Precision, make_context, require_compiler
from erde_cli.core.errors import StoppedError
from erde_cli.core.events import Observer
from erde_cli.core.recipe.sections.training import Training

Device = Literal["auto", "cpu", "cuda", "mps"]
_P = ParamSpec("_P")
_R = TypeVar("_R")


@dataclass(frozen=True)
class Options:
    """Device, threads, and who receives progress.

    resume: whether a training that was stopped goes on; None: where there is one, that is an error.
    in_run: whether listeners know that there is a run, of which this work is a part.

    Raises:
        InputError: there is no such device, at once and not after an hour of decoding.
    """

    device: Device = "auto"
    threads: int | None = None
    observer: Observer = field(default_factory=Observer)
    resume: bool | None = None
    in_run: bool = False

    def __post_init__(self) -> None:
        self.context("float32")

    def context(
        self, precision: Precision | Auto, memory_format: Layout | Auto = "auto"
    ) -> Context:
        """Describe this device in a precision and a memory format; nothing is set by it."""
        return make_context(self.device, precision, self.threads, memory_format)

    def inference_context(self, precision: Precision) -> Context:
        """Context in which a network answers from now on: always channels last.

        Without training it is the faster one in float32 as well: on 2 cores it took 0.65 to 0.95 of
        the time of contiguous images.
        """
        return self.context(precision, "channels_last").apply()

    def training_context(self, settings: Training) -> Context:
        """Context in which a network is trained from now on; cheap, so it comes first.

        Raises:
            InputError: this machine cannot train it in that way.
        """
        context = self.context(settings.precision, settings.memory_format).apply()
        if settings.compile:
            self.observer.phase("Trying torch.compile")
            require_compiler(context.device)
        return context


def reported(work: Callable[_P, _R]) -> Callable[_P, _R]:
    """A workflow that reports to its listeners when it begins and how it ends.

    It takes `recipe`, `run`, the folder, and `options`. As a part of another it tells nothing.
    """
    form = signature(work)

    @wraps(work)
    def inner(*args: _P.args, **named: _P.kwargs) -> _R:
        given = form.bind(*args, **named)
        options: Options = given.arguments["options"]
        if options.in_run:
            return work(*args, **named)
        recipe, run = given.arguments["recipe"], given.arguments["run"]
        given.arguments["options"] = replace(options, in_run=True)
        options.observer.run_started(run, recipe.recorded())
        try:
            result = work(*given.args, **given.kwargs)
        except BaseException as error:
            stopped = isinstance(error, StoppedError | KeyboardInterrupt)
            options.observer.ended("stopped" if stopped else "failed")
            raise
        options.observer.ended("finished")
        return result

    return inner
