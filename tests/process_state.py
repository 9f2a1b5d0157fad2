"""What of this process a mere question must not change."""

from __future__ import annotations

import os

import torch

_CUDNN = ("enabled", "benchmark", "deterministic", "allow_tf32")


def state_of_the_process() -> dict[str, object]:
    """Threads, flags of torch, and the environment."""
    return {
        "threads": torch.get_num_threads(),
        "cudnn": {name: getattr(torch.backends.cudnn, name) for name in _CUDNN},
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "environment": dict(os.environ),
    }
