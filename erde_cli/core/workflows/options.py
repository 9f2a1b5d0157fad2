"""Options that every workflow takes in addition to its inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import wraps
from inspect import signature
from typing import Literal, ParamSpec, TypeVar

from erde_cli.core.device import Auto, Context, Layout, Precision, make_context, require_compiler
from erde_cli.core.errors import InputError, StoppedError
from erde_cli.core.events import Observer
from erde_cli.core.processes.engine import ALONE, Engine
from erde_cli.core.recipe.sections.training import Training

Device = Literal["auto", "cpu", "cuda", "mps"]
_P = ParamSpec("_P")
_R = TypeVar("_R")


@dataclass(frozen=True)
class Options:
    """Device, threads, and the observer of progress.

    resume: whether a stopped training continues; None: a stopped training is an error. in_run:
    whether this work is part of a run that listeners already know. engine: the processes that do
    the work. views_first: cached views whose teacher's logits are computed before the first epoch;
    the others when an epoch needs them.

    Raises:
        InputError: the device does not exist. It is checked at once, not after hours of decoding.
    """

    device: Device = "auto"
    threads: int | None = None
    observer: Observer = field(default_factory=Observer)
    resume: bool | None = None
    in_run: bool = False
    engine: Engine = ALONE
    views_first: int = 0

    def __post_init__(self) -> None:
        self.context("float32")

    def context(
        self, precision: Precision | Auto, memory_format: Layout | Auto = "auto"
    ) -> Context:
        """Describe the device with a precision and a memory format; changes no setting."""
        context = make_context(self.device, precision, self.threads, memory_format)
        device = self.engine.own_device(context.device)
        return replace(context, device=device, engine=self.engine)

    def inference_context(self, precision: Precision) -> Context:
        """Apply and return the context for inference: always channels last.

        For inference it is faster in float32 too: 0.65 to 0.95 of the time of contiguous images on
        2 cores.
        """
        return self.context(precision, "channels_last").apply()

    def training_context(self, settings: Training) -> Context:
        """Apply and return the context for a training; cheap, so call it first.

        Raises:
            InputError: this machine or the number of processes does not support the settings.
        """
        self.engine.require_shares(settings.batch_size)
        context = self.context(settings.precision, settings.memory_format).apply()
        if settings.sync_batch_norm and context.device.type != "cuda":
            raise InputError(
                "SyncBatchNorm needs an accelerator.",
                got=f"sync_batch_norm: true, and the device {context.device.type}",
                expected="an NVIDIA or AMD GPU for each process",
                hint="set sync_batch_norm: false in the recipe",
            )
        if settings.compile:
            self.observer.phase("Trying torch.compile")
            require_compiler(context.device)
        return context


def reported(work: Callable[_P, _R]) -> Callable[_P, _R]:
    """Decorate a workflow to report its start and its end to listeners, unless it is part of a run.

    The workflow takes the parameters `recipe`, `run` (the folder) and `options`.
    """
    parameters = signature(work)

    @wraps(work)
    def inner(*args: _P.args, **named: _P.kwargs) -> _R:
        bound = parameters.bind(*args, **named)
        options: Options = bound.arguments["options"]
        if options.in_run:
            return work(*args, **named)
        recipe, run = bound.arguments["recipe"], bound.arguments["run"]
        bound.arguments["options"] = replace(options, in_run=True)
        options.observer.run_started(run, recipe.recorded())
        try:
            result = work(*bound.args, **bound.kwargs)
        except BaseException as error:
            stopped = isinstance(error, StoppedError | KeyboardInterrupt)
            options.observer.ended("stopped" if stopped else "failed")
            raise
        options.observer.ended("finished")
        return result

    return inner
