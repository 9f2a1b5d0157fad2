"""The engine of a process that `torchrun` started, on `torch.distributed`.

Tensors are exchanged by its collectives, texts through its store (`store.py`). Waiting for long
work polls, because a collective that waits for longer than its timeout ends the training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import Thread

import torch
from torch import Tensor, distributed, nn
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]

from erde_cli.core.errors import InputError, brief
from erde_cli.core.processes.accelerators import own_device
from erde_cli.core.processes.connection import first_line, open_store, unconnected
from erde_cli.core.processes.engine import Engine
from erde_cli.core.processes.environment import Place
from erde_cli.core.processes.folders import marked, new_mark, require_marks
from erde_cli.core.processes.lost import LostProcessError, started
from erde_cli.core.processes.store import SharedStore

_TIMEOUT = timedelta(minutes=10)  # of a collective, which no long work delays
_LOOK = 0.5  # seconds between two looks at the other processes
_MARK = "mark"  # key of the name of the files by which rank 0 marks folders
_LISTED = 5  # inputs in a message


class Torchrun(Engine):
    """One of several processes; `connect` connects it to the others.

    met: whether all processes know each other.
    """

    met: bool = False

    def __init__(self, place: Place) -> None:
        self.rank, self.world_size = place.rank, place.world_size
        self._place = place
        self._told = 0
        self._cuda = False
        self._shared: SharedStore | None = None

    def connect(self, alike: Mapping[str, str], note: Callable[[str], None]) -> None:
        """Connect to the other processes.

        Args:
            alike: what must be the same on all processes, by name: command and versions.
            note: receives a message about what this process waits for, if that takes long.

        Raises:
            InputError: the processes cannot be connected, or differ in what they have started.
        """
        opened = open_store(self._place, note)
        self._shared = SharedStore(PrefixStore("erde", opened), self._place)
        self._compare({**alike, "WORLD_SIZE": str(self.world_size)})
        self._shared.introduce()
        self.met = True
        started()
        self._cuda = torch.cuda.is_available()
        self._open_group(opened)

    def _open_group(self, store: Store) -> None:
        """Open the connections of collectives.

        In a thread and through a connection of its own, which wait for the others in C++: this
        thread can still handle signals, and look at the others.

        Raises:
            LostProcessError: another process has ended meanwhile.
            InputError: the processes cannot be connected.
        """
        failed: list[Exception] = []

        def connect() -> None:
            self._choose_device()
            try:
                distributed.init_process_group(
                    "cpu:gloo,cuda:nccl" if self._cuda else "gloo",
                    store=PrefixStore("group", store.clone()),  # type: ignore[attr-defined]
                    rank=self.rank, world_size=self.world_size, timeout=_TIMEOUT,
                )  # fmt: skip
            except Exception as error:  # noqa: BLE001 (raised by the thread that waits)
                failed.append(error)

        opening = Thread(target=connect, daemon=True)
        opening.start()
        while opening.is_alive():
            opening.join(_LOOK)
            if (lost := self._store.lost()) is not None:
                raise lost
        if failed and not isinstance(failed[0], RuntimeError | ValueError):
            raise failed[0]
        if failed:
            raise self._store.lost() or unconnected(self._place, first_line(failed[0]))
        self._choose_device()

    def _choose_device(self) -> None:
        """Choose the GPU of this process, in this thread."""
        local = self._place.local_rank
        if self._cuda and local < torch.cuda.device_count():
            torch.cuda.set_device(local)

    @property
    def connected(self) -> bool:
        """Whether this process knows the others."""
        return self._shared is not None

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace float32 tensors by their means over all processes, which are equal on all.

        One collective of one tensor, in the order given: the order of the additions, and with it
        every bit, is the same in each step, after each start.
        """
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        self._collective(lambda: distributed.all_reduce(flat))
        flat /= self.world_size
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view(tensor.shape))

    def agreed_stop(self, received: int | None) -> int | None:
        """The signal that any process has received, the same on all; None without one."""
        number = torch.tensor(received or 0)  # on the CPU: no accelerator is waited for
        self._collective(lambda: distributed.all_reduce(number, distributed.ReduceOp.MAX))
        return int(number) or None

    def start_alike(self, model: nn.Module, step: int) -> None:
        """Give all processes the tensors of rank 0, and check that all are at the same step.

        Raises:
            InputError: another process is at another step.
        """
        steps = torch.zeros(self.world_size, dtype=torch.int64)
        steps[self.rank] = step
        self._collective(lambda: distributed.all_reduce(steps))
        if len(set(steps.tolist())) > 1:
            raise InputError(
                "The processes do not read the same saved state.",
                got=f"steps {', '.join(map(str, steps.tolist()))} of ranks 0, 1, …",
                expected="the same step on every rank",
                hint="use a run folder that all hosts share, then type the same command again",
            )
        for tensor in model.state_dict().values():
            whole = tensor.contiguous()  # a collective has no memory format
            self._collective(partial(distributed.broadcast, whole, 0))
            tensor.copy_(whole)

    @contextmanager
    def first(self) -> Iterator[None]:
        """Let rank 0 do the enclosed work alone; the others do it after that."""
        self._told += 1
        key = f"first/{self._told}"
        if not self.leads:
            self._store.take(key)
        yield
        if self.leads:
            self._store.put(key, {})

    def meet(self) -> None:
        """Wait until all processes are here, however long one of them works."""
        self._told += 1
        key = f"meet/{self._told}"
        self._store.count(key)
        self._store.wait(lambda: self._store.count(key, 0) >= self.world_size)

    def require_agreement(
        self,
        inputs: Mapping[str, str],
        folders: Mapping[str, Path] | None = None,
        hint: str = "start every rank with the same command, recipe and versions",
    ) -> None:
        """Check that all processes have the same inputs, and see the same folders.

        Raises:
            InputError: a process has other inputs, or does not see a folder.
        """
        shared = folders or {}
        mark = new_mark()
        with marked(shared, mark) if self.leads else nullcontext():
            mark = self._compare({**inputs, "writable folders": ", ".join(shared)}, mark, hint)
            if not self.leads:
                near = self._store.is_near(0)
                require_marks(shared, mark, self.rank, same_host=near)
            self.meet()

    def _compare(self, own: Mapping[str, str], mark: str = "", hint: str = "") -> str:
        """Compare inputs with those of rank 0, and return its mark."""
        self._told += 1
        key = f"inputs/{self._told}"
        if self.leads:
            self._store.put(key, {**own, _MARK: mark})
            return mark
        leading = self._store.take(key)
        mark = leading.pop(_MARK, "")
        names = [name for name in {**leading, **own} if own.get(name) != leading.get(name)]
        if names:
            raise InputError(
                f"Rank {self.rank} was started with other inputs than rank 0.",
                got=_listed(own, names),
                expected=_listed(leading, names),
                hint=hint or "start every rank with the same command and versions",
            )
        return mark

    def own_device(self, device: torch.device) -> torch.device:
        """The device of this process, of the kind of `device`.

        Raises:
            InputError: there is none for this process alone.
        """
        return own_device(device, self.rank, self._place.local_rank, torch.cuda.device_count())

    def require_shares(self, batch_size: int, key: str = "training.ROLE.batch_size") -> None:
        """Check that the processes can share the images of a batch equally.

        Raises:
            InputError: the batch size is not a multiple of their number.
        """
        if batch_size % self.world_size == 0:
            return
        nearest = batch_size // self.world_size * self.world_size
        larger = f"type --set {key}={nearest}, or start" if nearest else "start"
        raise InputError(
            f"{self.world_size} processes cannot share batches of {batch_size} images equally.",
            got=f"a batch size of {batch_size}",
            expected=f"a multiple of {self.world_size}, and at least as many train images",
            hint=f"{larger} fewer processes",
        )

    @property
    def failing(self) -> bool:
        """Whether this process reports why it ends, or has reported it."""
        return self._shared is not None and self._shared.failing

    def lost(self) -> LostProcessError | None:
        """The error to report at once if another process has ended too early; None otherwise."""
        return None if self._shared is None else self._shared.lost()

    def may_report(self) -> bool:
        """Whether this process is the first that fails, so that one message is shown."""
        if self._shared is None:  # it cannot know of the others
            return True
        if self._shared.serves and not self._cuda:  # those in a collective must notice it now
            self._disconnect()
        return self._shared.may_report()

    def leave(self) -> None:
        """Disconnect at the end of the work."""
        self._disconnect()
        if self._shared is not None:
            self._shared.part()

    @property
    def _store(self) -> SharedStore:
        assert self._shared is not None, "connect() comes first"  # noqa: S101
        return self._shared

    def _collective(self, work: Callable[[], object]) -> None:
        self._store.asked(work)

    @staticmethod
    def _disconnect() -> None:
        """Close the connections of collectives, so that others do not wait for this process."""
        if distributed.is_initialized():
            with suppress(RuntimeError):
                distributed.destroy_process_group()


def _listed(inputs: Mapping[str, str], names: Sequence[str]) -> str:
    """Some inputs, for a message."""
    shown = [f"{name}: {brief(inputs.get(name, 'none'))}" for name in names[:_LISTED]]
    more = [f"and {len(names) - _LISTED} more"] if len(names) > _LISTED else []
    return "; ".join(shown + more)
