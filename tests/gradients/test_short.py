"""A short round over the convolutions that fail unguarded; all: `python -m tests.gradients`."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_strided_convolutions_have_exact_gradients_in_channels_last(precision: str) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "tests.gradients"]
    done = subprocess.run(
        [*command, "--short", "--precision", precision], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("79 right\n")
