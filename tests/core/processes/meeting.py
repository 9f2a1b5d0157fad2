"""What processes do with each other besides training; each function is run in each of them."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from erde_cli.commands import processes
from erde_cli.core.errors import InputError, StoppedError
from erde_cli.core.processes.environment import place_of_process
from erde_cli.core.processes.lost import LostProcessError
from erde_cli.core.processes.torchrun import Torchrun

_LATE = 0.3  # seconds, by which one process is later than the others


def _connected() -> Torchrun:
    place = place_of_process()
    assert place is not None
    engine = Torchrun(place)
    engine.connect({"erde": "1"}, print)
    return engine


def means() -> list[Any]:
    """Means of tensors of several shapes; one of them is not finite on rank 1."""
    engine = _connected()
    generator = torch.Generator().manual_seed(engine.rank)
    shapes: list[tuple[int, ...]] = [(2, 3, 1, 1), (), (5,), (2,)]
    tensors = [torch.randn(shape, generator=generator) for shape in shapes]
    tensors[0] = tensors[0].to(memory_format=torch.channels_last)
    tensors[3][engine.rank % 2] *= torch.inf if engine.rank == 1 else 1
    before = [one.tolist() for one in tensors]
    engine.average(tensors)
    return [before, [one.flatten().tolist() for one in tensors]]


def stops() -> list[int | None]:
    """The signal that all agree on: none, that of one, and of two different ones."""
    engine = _connected()
    of_two = {0: int(signal.SIGINT), 1: int(signal.SIGTERM)}
    return [
        engine.agreed_stop(None),
        engine.agreed_stop(signal.SIGINT if engine.rank == 1 else None),
        engine.agreed_stop(of_two.get(engine.rank)),
        engine.agreed_stop(None),
    ]


def alike(step_of_rank_1: int) -> dict[str, list[float]] | str:
    """A network's tensors after the start, on every process the same; or why it cannot start."""
    engine = _connected()
    torch.manual_seed(engine.rank)
    model = nn.Sequential(nn.Conv2d(3, 2, 2), nn.BatchNorm2d(2)).to(
        memory_format=torch.channels_last  # type: ignore[call-overload]
    )
    model(torch.randn(4, 3, 4, 4))
    try:
        engine.start_alike(model, step_of_rank_1 if engine.rank == 1 else 3)
    except InputError as error:
        return str(error)
    state: dict[str, Tensor] = model.state_dict()
    return {name: tensor.flatten().tolist() for name, tensor in state.items()}


def order(folder: str) -> list[bool]:
    """Whether this process has found what others must have done before it goes on."""
    engine = _connected()
    made = Path(folder) / "made"
    with engine.first():
        before = made.exists()
        if engine.leads:
            time.sleep(_LATE)
            made.touch()
    last = Path(folder) / "last"
    if engine.rank == engine.world_size - 1:
        time.sleep(_LATE)
        last.touch()
    engine.meet()
    return [before, last.exists()]


def agreement(folder: str, other: str) -> str:
    """What is wrong with inputs of which rank 1 has another; empty if nothing is."""
    engine = _connected()
    inputs = {"seed": other if engine.rank == 1 else "1", "epochs": "2"}
    folders = {"run": Path(folder)}
    try:
        engine.require_agreement(inputs, folders)
    except InputError as error:
        return str(error)
    return ""


def reporters() -> bool:
    """Whether this is the process that reports a failure of all."""
    engine = _connected()
    engine.meet()
    return engine.may_report()


def stops_together() -> bool:
    """Whether this process tells that all stop; the others ask the store once more, and late."""
    engine = _connected()
    processes._joined.append(engine)
    engine.meet()
    if not engine.leads:
        time.sleep(_LATE)
        assert engine._shared is not None
        engine._shared.count("late")
    return processes.reports(StoppedError("Stopped.", signal=signal.SIGTERM))


def loses(folder: str, how: str, killed: int) -> list[Any]:
    """Wait for a process that is killed: the error, and whether this process reports it."""
    engine = _connected()
    engine.meet()
    (Path(folder) / f"ready-{engine.rank}").touch()
    try:
        if how == "meet":
            while True:
                if engine.rank == killed:
                    time.sleep(60)
                engine.meet()
        while True:
            if engine.rank == killed:
                time.sleep(60)
            engine.average([torch.ones(3)])
    except LostProcessError as error:
        return [str(error), error.reported, not error.reported and engine.may_report()]
