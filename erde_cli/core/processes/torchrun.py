"""The engine of a process that `torchrun` started, on `torch.distributed`.

Tensors are exchanged by its collectives. Texts go through its store, as JSON: its collectives of
objects unpickle what they receive. Waiting for long work polls the store, because a collective that
waits for longer than its timeout ends the training.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.distributed.rendezvous import rendezvous

from erde_cli.core.errors import ErdeError, InputError
from erde_cli.core.processes.accelerators import own_device
from erde_cli.core.processes.engine import Engine
from erde_cli.core.processes.environment import Place

_CONNECT = timedelta(minutes=3)  # until all processes have started
_TIMEOUT = timedelta(minutes=10)  # of a collective, which no long work delays
_POLL = 0.05  # seconds
_SEEN_WITHIN = 20.0  # seconds, in which a network file system shows a new file
_EXIT_WITHIN = 5.0  # seconds between the end of a connection and that of its process
_LONGEST = 100_000  # bytes of a text in the store
_T = TypeVar("_T")


class LostProcessError(ErdeError):
    """Another process has ended. `reported`: it has told the reason itself."""

    def __init__(self, message: str, *, reported: bool = False, hint: str = "") -> None:
        super().__init__(message, expected="all processes of the training", hint=hint)
        self.reported = reported


class Torchrun(Engine):
    """One of several processes, connected to the others."""

    def __init__(self, place: Place, versions: Mapping[str, str]) -> None:
        """Connect to the other processes.

        Args:
            place: from the environment.
            versions: of what computes; they must be the same on all processes.

        Raises:
            InputError: the processes cannot be connected, or differ in their versions.
        """
        self.rank, self.world_size = place.rank, place.world_size
        self._place_on_host = place.local_rank
        self._versions = dict(versions)
        self._meetings = 0
        self._failing = False
        try:
            self._connect(place)
            self._set(f"process/{self.rank}", f"{socket.gethostname()} {os.getpid()}")
            # Now, because the store can end with the process that keeps it.
            self._neighbours = self._find_neighbours()
        except (RuntimeError, ValueError, OSError) as error:
            raise InputError(
                f"Rank {self.rank} cannot connect to the other processes: {_first_line(error)}",
                got=f"MASTER_ADDR={place.address}, MASTER_PORT={place.port}",
                expected="a host that all processes reach, and a port that no program uses",
                hint="start all processes with torchrun, and another --master-port",
            ) from error

    def _connect(self, place: Place) -> None:
        found = next(rendezvous("env://", self.rank, self.world_size, timeout=_CONNECT))
        self._store: distributed.Store = distributed.PrefixStore("erde", found[0])
        cuda = torch.cuda.is_available()
        if cuda and place.local_rank < torch.cuda.device_count():
            torch.cuda.set_device(place.local_rank)
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if cuda else "gloo",
            store=distributed.PrefixStore("group", found[0]),
            rank=self.rank, world_size=self.world_size, timeout=_TIMEOUT,
        )  # fmt: skip

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace float32 tensors by their means over all processes, which are equal on all.

        One collective of one tensor, in the order given: the order of the additions, and with it
        every bit, is the same in each step, after each start.
        """
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        self._collective(lambda: distributed.all_reduce(flat))
        flat /= self.world_size
        parts = flat.split([tensor.numel() for tensor in tensors])
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
            self._collective(lambda whole=whole: distributed.broadcast(whole, 0))
            tensor.copy_(whole)

    @contextmanager
    def first(self) -> Iterator[None]:
        """Let rank 0 do the enclosed work alone; the others do it after that."""
        self._meetings += 1
        key = f"first/{self._meetings}"
        if not self.leads:
            self._wait(lambda: self._store.check([key]))
        yield
        if self.leads:
            self._collective(lambda: self._set(key, "done"))

    def meet(self) -> None:
        """Wait until all processes are here, however long one of them works."""
        self._meetings += 1
        key = f"meet/{self._meetings}"
        self._collective(lambda: self._add(key))
        self._wait(lambda: self._add(key, 0) >= self.world_size)

    def own_device(self, device: torch.device) -> torch.device:
        """The device of this process, of the kind of `device`.

        Raises:
            InputError: there is none for this process alone.
        """
        return own_device(device, self.rank, self._place_on_host, torch.cuda.device_count())

    def require_agreement(self, inputs: Mapping[str, str], folders: Mapping[str, Path]) -> None:
        """Check that all processes have the same inputs, and see the same folders.

        Raises:
            InputError: a process has other inputs, or does not see a folder.
        """
        self._meetings += 1
        own = {**inputs, **{f"version of {name}": text for name, text in self._versions.items()}}
        key = f"inputs/{self._meetings}"
        name = f".erde-{secrets.token_hex(8)}"
        marks = [folder / name for folder in folders.values()]
        if self.leads:
            for mark in marks:
                mark.touch()
            leading = {"inputs": own, "name": name, "folders": list(folders)}
            self._collective(lambda: self._set(key, json.dumps(leading)))
        try:
            if not self.leads:
                self._wait(lambda: self._store.check([key]))
                leading = json.loads(self._get(key))
                self._compare(own, leading["inputs"])
                for what in leading["folders"]:
                    self._require_seen(what, folders[what] / Path(leading["name"]).name)
            self.meet()
        finally:
            if self.leads:
                for mark in marks:
                    mark.unlink(missing_ok=True)

    def _compare(self, own: Mapping[str, str], leading: Mapping[str, str]) -> None:
        names = [name for name in {**leading, **own} if own.get(name) != leading.get(name)]
        if names:
            raise InputError(
                f"Rank {self.rank} was started with other inputs than rank 0.",
                got="; ".join(f"{name}: {own.get(name, 'none')}" for name in names),
                expected="; ".join(f"{name}: {leading.get(name, 'none')}" for name in names),
                hint="start every rank with the same command, recipe and versions",
            )

    def _require_seen(self, what: str, mark: Path) -> None:
        end = time.monotonic() + _SEEN_WITHIN
        while not mark.exists():
            if time.monotonic() > end:
                raise InputError(
                    f"Rank {self.rank} does not see what rank 0 writes to the {what} folder.",
                    got=f"{mark.parent.absolute()} on host {socket.gethostname()}",
                    expected="one folder that all processes share",
                    hint="name a shared folder: --out FOLDER for the run, and ERDE_CACHE=FOLDER "
                    "for the cache",
                )
            with suppress(OSError):
                os.listdir(mark.parent)  # noqa: PTH208 (NFS looks again)
            time.sleep(_POLL)

    def require_shares(self, batch_size: int) -> None:
        """Check that the processes can share the images of a batch equally.

        Raises:
            InputError: the batch size is not a multiple of their number.
        """
        if batch_size % self.world_size:
            nearest = max(1, batch_size // self.world_size) * self.world_size
            raise InputError(
                f"{self.world_size} processes cannot share batches of {batch_size} images equally.",
                got=f"a batch size of {batch_size}",
                expected=f"a multiple of {self.world_size}, of which there are enough images",
                hint=f"type --set training.ROLE.batch_size={nearest}, or start fewer processes",
            )

    @property
    def failing(self) -> bool:
        """Whether this process is about to tell, or has told, why it ends."""
        return self._failing

    def lost(self) -> LostProcessError | None:
        """The error to report at once if another process has ended; None if none has.

        Those that `leave` have done their part.
        """
        with suppress(RuntimeError):
            if self._add("left", 0) > 0:
                return None
        return self._lost("") if self._ended() else None

    def may_report(self) -> bool:
        """Whether this process is the first that fails, so that one message is shown."""
        self._failing = True
        with suppress(RuntimeError):
            return self._add("failed") == 1
        return self.rank == 1  # the store is gone, and so is rank 0 if it kept it

    def leave(self) -> None:
        """Disconnect at the end of the work."""
        with suppress(RuntimeError):
            self._add("left")
        distributed.destroy_process_group()

    def _collective(self, work: Callable[[], _T]) -> _T:
        """Do work that needs the other processes, or the process that keeps the store."""
        try:
            return work()
        except RuntimeError as error:
            raise self._lost(_first_line(error)) from error

    def _wait(self, done: Callable[[], bool]) -> None:
        while not self._collective(done):
            # One can have ended just now because it was the last that was waited for.
            if (self._ended() or self._failed()) and not self._collective(done):
                raise self._lost("")
            time.sleep(_POLL)

    def _lost(self, reason: str) -> LostProcessError:
        """The error for a connection that has ended: which process, and why if that is known."""
        self._failing = True
        end = time.monotonic() + _EXIT_WITHIN
        ended: list[int] = []
        while not ended and not self._failed() and time.monotonic() < end:
            time.sleep(_POLL)
            ended = self._ended()
        if self._failed():
            return LostProcessError("Another process has failed.", reported=True)
        if 0 in ended and not self._has_store():
            ended = [0]  # it kept the store, and others have ended because of that
        if ended:
            named = f"rank{'s' if len(ended) > 1 else ''} {', '.join(map(str, ended))}"
            message = f"The training has lost {named}: killed, or ended without a message."
        else:
            message = f"Rank {self.rank} has lost the connection to other processes: {reason}"
        return LostProcessError(
            message,
            hint="type the same command again (train-teacher and distill: with --resume); it goes "
            "on from the last saved state",
        )

    def _has_store(self) -> bool:
        with suppress(RuntimeError):
            return self._add("failed", 0) >= 0
        return False

    def _failed(self) -> bool:
        with suppress(RuntimeError):
            return self._add("failed", 0) > 0
        return False

    def _ended(self) -> list[int]:
        """Ranks on this host whose process does not exist any more."""
        return [rank for rank, number in self._neighbours.items() if not _exists(number)]

    def _find_neighbours(self) -> dict[int, int]:
        """Rank and process number of the other processes on this host."""
        others = [rank for rank in range(self.world_size) if rank != self.rank]
        texts = {rank: self._get(f"process/{rank}").rpartition(" ") for rank in others}
        here = socket.gethostname()
        return {rank: int(number) for rank, (host, _, number) in texts.items() if host == here}

    def _set(self, key: str, text: str) -> None:
        self._store.set(key, text)

    def _get(self, key: str) -> str:
        content: bytes = self._store.get(key)
        if len(content) > _LONGEST:
            raise InputError(f"A text in the store of torchrun is too long: {len(content)} bytes.")
        return content.decode()

    def _add(self, key: str, number: int = 1) -> int:
        return int(self._store.add(key, number))


def _exists(number: int) -> bool:
    """Whether a process exists and has not ended; one that nobody waits for counts as ended."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    if sys.platform != "linux":
        return True
    with suppress(OSError):
        state = Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2]
        return state.split()[0] not in "ZX"
    return False


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
