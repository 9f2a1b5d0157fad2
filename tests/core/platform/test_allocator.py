"""Freed memory stays with the process: a training step asks for no page twice."""

import platform
import subprocess
import sys

import pytest

STEPS = """
import resource, sys
if sys.argv[1] == "keep":
    from erde_cli.core.platform.allocator import keep_freed_memory
    assert keep_freed_memory()
import torch
torch.set_num_threads(1)
layers = torch.nn.Sequential(*(torch.nn.Conv2d(3, 3, 3, padding=1) for _ in range(4)))
images = torch.randn(128, 3, 64, 64)
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    layers(images).sum().backward()
start = faults()
for _ in range(5):
    layers(images).sum().backward()
print(faults() - start)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_a_step_asks_for_its_memory_once() -> None:
    def faults(mode: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", STEPS, mode], capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    by_default, kept = faults("default"), faults("keep")
    assert by_default > 1000
    assert kept < 0.1 * by_default
