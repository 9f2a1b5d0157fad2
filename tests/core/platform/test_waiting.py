"""How threads wait: set before torch is there, never over its user, without a trace in bytes."""

import os
import subprocess
import sys

import pytest

from erde_cli.core.platform.waiting import spin_briefly

TRAINED = """
from erde_cli.app import spin_briefly
spin_briefly()
import torch
torch.set_num_threads(2)
layers = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU(), torch.nn.Conv2d(16, 8, 3))
torch.manual_seed(1)
[torch.nn.init.normal_(parameter) for parameter in layers.parameters()]
images = torch.randn(32, 3, 32, 32)
for _ in range(5):
    layers(images).square().mean().backward()
print([float(parameter.grad.double().sum()).hex() for parameter in layers.parameters()])
"""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "x")  # so that it is restored whatever happens
        monkeypatch.delenv(name)


def test_the_command_line_sets_it_before_torch_is_imported() -> None:
    code = (
        "import os, sys; from erde_cli.app import main; main(['recipes']);"
        "print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "2000 False"


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"])
def test_what_its_user_has_set_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "active")
    spin_briefly()
    assert {key: os.environ.get(key) for key in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")} == {
        "OMP_WAIT_POLICY": None, "GOMP_SPINCOUNT": None, name: "active",
    }  # fmt: skip


def test_importing_erde_as_a_library_sets_nothing() -> None:
    code = "import os, erde_cli; erde_cli.load; print('GOMP_SPINCOUNT' in os.environ)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_gradients_are_the_same_to_the_bit_however_threads_wait() -> None:
    found = set()
    for policy in ({}, {"GOMP_SPINCOUNT": "0"}, {"OMP_WAIT_POLICY": "active"}):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", TRAINED],
            env={**os.environ, **policy}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        found.add(done.stdout)
    assert len(found) == 1
