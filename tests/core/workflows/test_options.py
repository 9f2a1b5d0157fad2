"""What cannot work is told before anything is decoded or trained."""

import pytest
import torch

from erde_cli.core.errors import InputError
from erde_cli.core.workflows.options import Options

from ...process_state import state_of_the_process


@pytest.mark.parametrize("options", [{"device": "toaster"}, {"threads": 0}])
def test_a_wrong_device_is_told_at_once(options: dict[str, object]) -> None:
    with pytest.raises(InputError):
        Options(**options)  # type: ignore[arg-type]


def test_asking_sets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.libc_ver", lambda: pytest.fail("the allocator is set"))
    before = state_of_the_process()
    options = Options("cpu", torch.get_num_threads() + 1)
    assert options.context("auto").threads == options.threads
    assert state_of_the_process() == before


def test_what_computes_has_the_threads_that_were_asked_for() -> None:
    for make, then in ((Options.context, 1), (Options.inference_context, 2)):
        assert make(Options("cpu", 2), "float32").threads == 2
        assert torch.get_num_threads() == then
