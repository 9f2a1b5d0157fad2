"""What every workflow is given beside its inputs."""

from __future__ import annotations

from dataclasses import dataclass, field

from erde_cli.core.device import Context, make_context, require_compiler
from erde_cli.core.events import Observer
from erde_cli.core.platform.allocator import keep_freed_memory
from erde_cli.core.recipe.sections.training import Training


@dataclass(frozen=True)
class Options:
    """Device, threads, and who is told of progress.

    resume: whether a training that was stopped goes on; None: where there is one, that is an error.

    Raises:
        InputError: there is no such device, at once and not after an hour of decoding.
    """

    device: str = "auto"
    threads: int | None = None
    observer: Observer = field(default_factory=Observer)
    resume: bool | None = None

    def __post_init__(self) -> None:
        self.context("float32")
        keep_freed_memory()

    def context(self, precision: str, memory_format: str = "auto") -> Context:
        """Context of this device in a precision and a memory format, as a recipe names them."""
        return make_context(self.device, precision, self.threads, memory_format)

    def inference_context(self, precision: str) -> Context:
        """Context in which a network answers: always channels last.

        Without training it is the faster one in float32 as well: on 2 cores it took 0.65 to 0.95 of
        the time of contiguous images.
        """
        return self.context(precision, "channels_last")

    def training_context(self, settings: Training) -> Context:
        """Context in which a network is trained; cheap beside decoding, so it comes first.

        Raises:
            InputError: this machine cannot train it in that way.
        """
        context = self.context(settings.precision, settings.memory_format)
        if settings.compile:
            self.observer.phase("Trying torch.compile")
            require_compiler(context.device)
        return context
