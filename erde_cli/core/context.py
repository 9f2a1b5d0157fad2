"""Where and how a network runs: device, number format, memory layout, rank among processes."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from erde_cli.core.errors import InputError

Precision = Literal["float32", "bfloat16"]

_PIXELS_AT_ONCE = 64 * 32**2
_IMAGES_AT_ONCE = 512


@dataclass(frozen=True)
class Context:
    """The one object that device, precision, rank and world size come from."""

    device: torch.device
    precision: Precision
    threads: int
    rank: int = 0
    world_size: int = 1

    @property
    def dtype(self) -> torch.dtype:
        """Number format of activations."""
        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32

    @property
    def memory_format(self) -> torch.memory_format:
        """Channels last goes with bfloat16: in float32 it can be a third as fast under load."""
        reduced = self.precision == "bfloat16"
        return torch.channels_last if reduced else torch.contiguous_format

    def place(self, module: nn.Module) -> None:
        """Move a network to the device, in the layout that is used here."""
        module.to(self.device, memory_format=self.memory_format)  # type: ignore[call-overload]

    def autocast(self) -> AbstractContextManager[object]:
        """Run products in `dtype`; parameters and losses stay float32."""
        enabled = self.precision != "float32"
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=enabled)

    def to_device(self, tensor: Tensor) -> Tensor:
        """Move a tensor to the device."""
        return tensor.to(self.device, non_blocking=True)

    def to_json(self) -> dict[str, object]:
        """What is written into a run before its first step."""
        return {
            "device": self.device.type,
            "precision": self.precision,
            "memory_format": str(self.memory_format).removeprefix("torch."),
            "threads": self.threads,
            "rank": self.rank,
            "world_size": self.world_size,
        }


def make_context(
    device: str = "auto", precision: str = "float32", threads: int | None = None
) -> Context:
    """Choose device and precision by a fixed rule, never by timing.

    Args:
        device: "auto" takes CUDA where there is one, else the CPU.
        precision: "auto" is bfloat16 with channels last where the processor has bfloat16
            arithmetic (CUDA from compute capability 8.0; x86 with AVX512-BF16 or AMX), else
            float32.
        threads: threads of the CPU; None: as many as torch would take.

    Raises:
        InputError: the device is not there, or the number of threads is out of bounds.
    """
    if threads is not None:
        # Thousands of threads bring a machine to its knees before anyone can stop them.
        most = max(16, 4 * (os.cpu_count() or 1))
        if not 1 <= threads <= most:
            raise InputError(
                "The number of threads is out of bounds.",
                got=str(threads),
                expected=f"1 to {most}",
                hint="leave --threads out to use every core",
            )
        torch.set_num_threads(threads)
    chosen = _device(device)
    if chosen.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True, warn_only=True)
    resolved: Precision = "bfloat16" if precision == "bfloat16" else "float32"
    if precision == "auto":
        resolved = "bfloat16" if has_bfloat16(chosen) else "float32"
    return Context(chosen, resolved, torch.get_num_threads())


def images_at_once(side: int, device: torch.device) -> int:
    """How many images of `side` pixels a network is given at once in inference.

    On a CPU as many as leave the features of a small network in its cache: 64 of 32x32 pixels took
    0.6 to 0.9 of the time that 256 took. An accelerator wants large batches.
    """
    if device.type == "cpu":
        return max(1, _PIXELS_AT_ONCE // side**2)
    return _IMAGES_AT_ONCE


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device has arithmetic for bfloat16 (not merely an emulation)."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False


def _device(name: str) -> torch.device:
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name == "auto":
        name = "cuda" if available["cuda"] else "cpu"
    if not available.get(name, False):
        there = ", ".join(device for device, found in available.items() if found)
        raise InputError(
            f"The device {name!r} is not there.",
            expected=f"auto, or one of {there}",
            hint="leave --device out",
        )
    return torch.device(name)
