"""What every workflow is given beside its inputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from erde_cli.core.allocator import keep_freed_memory
from erde_cli.core.context import Context, make_context
from erde_cli.core.observer import Observer


@dataclass(frozen=True)
class Options:
    """Device, threads, and who is told of progress.

    Raises:
        InputError: there is no such device, at once and not after an hour of decoding.
    """

    device: str = "auto"
    threads: int | None = None
    observer: Observer = field(default_factory=Observer)

    def __post_init__(self) -> None:
        self.context("float32")
        keep_freed_memory()

    def context(self, precision: str) -> Context:
        """Context of this device in a precision ("auto", "float32", "bfloat16")."""
        return make_context(self.device, precision, self.threads)


Json = dict[str, Any]
