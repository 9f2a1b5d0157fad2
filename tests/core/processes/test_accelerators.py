"""A GPU for each process, or one sentence."""

import pytest
import torch

from erde_cli.core.errors import InputError
from erde_cli.core.processes.accelerators import own_device
from erde_cli.core.processes.engine import Engine
from erde_cli.core.workflows.options import Options

CPU, CUDA, MPS = (torch.device(kind) for kind in ("cpu", "cuda", "mps"))


class SecondOfHost(Engine):
    """A process with a GPU of its own."""

    rank, world_size = 1, 2

    def own_device(self, device: torch.device) -> torch.device:
        assert device == CPU
        return own_device(CUDA, self.rank, 1, 2)


@pytest.mark.parametrize("place", [0, 7])
def test_processes_share_a_cpu(place: int) -> None:
    assert own_device(CPU, 5, place, 2) == CPU


def test_each_process_has_a_gpu_by_its_place_on_the_host() -> None:
    devices = [own_device(CUDA, 8 + place, place, 4) for place in range(4)]
    assert devices == [torch.device(f"cuda:{number}") for number in range(4)]


def test_a_training_uses_the_gpu_of_its_process() -> None:
    context = Options("cpu", engine=SecondOfHost()).context("float32")
    assert context.device == torch.device("cuda:1")
    assert Options("cpu").context("float32").device == CPU


def test_more_processes_than_gpus_are_refused_with_what_to_type() -> None:
    with pytest.raises(InputError, match="no GPU for rank 6: each process needs its own") as caught:
        own_device(CUDA, 6, 2, 2)
    error = caught.value
    assert error.exit_code == 2
    assert error.got == "2 GPUs, and at least 3 processes on this host"
    assert "--nproc-per-node 2" in error.hint
    assert "--device cpu" in error.hint


def test_a_device_that_processes_cannot_share_is_refused() -> None:
    with pytest.raises(InputError, match="cannot train on the device mps") as caught:
        own_device(MPS, 0, 0, 0)
    assert caught.value.hint.startswith("add --device cpu")
