"""A GPU for each process, or one sentence."""

import pytest

from erde_cli.core.errors import InputError
from erde_cli.core.processes.accelerators import require_own


@pytest.mark.parametrize(
    ("kind", "place", "gpus"), [("cpu", 0, 0), ("cpu", 7, 2), ("cuda", 0, 1), ("cuda", 3, 4)]
)
def test_processes_share_a_cpu_or_have_a_gpu_each(kind: str, place: int, gpus: int) -> None:
    require_own(kind, 5, place, gpus)


def test_more_processes_than_gpus_are_refused_with_what_to_type() -> None:
    with pytest.raises(InputError, match="no GPU for rank 6: each process needs its own") as caught:
        require_own("cuda", 6, 2, 2)
    error = caught.value
    assert error.exit_code == 2
    assert error.got == "2 GPUs, and at least 3 processes on this host"
    assert "--nproc-per-node 2" in error.hint
    assert "--device cpu" in error.hint


def test_a_device_that_processes_cannot_share_is_refused() -> None:
    with pytest.raises(InputError, match="cannot train on the device mps") as caught:
        require_own("mps", 0, 0, 0)
    assert caught.value.hint.startswith("add --device cpu")
