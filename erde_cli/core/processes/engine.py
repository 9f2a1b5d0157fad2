"""What a training needs of the processes that run it. `Engine` is that of one process alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class Engine:
    """One process. Every method of it returns what it is given.

    rank: of this process, from 0. world_size: number of processes. Rank 0 leads: it alone writes,
    prints, downloads, and holds the lock of the run folder. All ranks call the same methods in the
    same order.
    """

    rank: int = 0
    world_size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes and prints."""
        return self.rank == 0

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace float32 tensors by their means over all processes, which are equal on all."""

    def agreed_stop(self, received: int | None) -> int | None:
        """The signal that any process has received, the same on all; None without one."""
        return received

    def start_alike(self, model: nn.Module, step: int) -> None:
        """Give all processes the tensors of rank 0, and check that all are at the same step.

        Raises:
            InputError: another process is at another step.
        """

    @contextmanager
    def first(self) -> Iterator[None]:
        """Let rank 0 do the enclosed work alone; the others do it after that."""
        yield

    def meet(self) -> None:
        """Wait until all processes are here, however long one of them works."""

    def require_agreement(
        self,
        inputs: Mapping[str, str],
        folders: Mapping[str, Path] | None = None,
        hint: str = "",
    ) -> None:
        """Check that all processes have the same inputs, and see the same folders.

        Args:
            inputs: texts by their names, for the message.
            folders: by what they are for. They exist on rank 0, which writes them; the others read.
            hint: what to do if the inputs differ.

        Raises:
            InputError: a process has other inputs, or does not see a folder.
        """

    def own_device(self, device: torch.device) -> torch.device:
        """The device of this process, of the kind of `device`.

        Raises:
            InputError: there is none for this process alone.
        """
        return device

    def require_shares(self, batch_size: int, key: str = "") -> None:
        """Check that the processes can share the images of a batch equally.

        `key` of the recipe has the batch size, for the message.

        Raises:
            InputError: the batch size is not a multiple of their number.
        """


ALONE = Engine()
