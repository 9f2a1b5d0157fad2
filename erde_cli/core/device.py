"""How a network runs: device, precision, memory layout, threads, and the other processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from erde_cli.core.errors import InputError
from erde_cli.core.platform.batch_size import images_at_once_on_cpu
from erde_cli.core.platform.depthwise import speed_up_depthwise
from erde_cli.core.platform.narrow import guard_narrow
from erde_cli.core.platform.pointwise import guard_pointwise
from erde_cli.core.processes.engine import ALONE, Engine

Precision = Literal["float32", "bfloat16", "float16"]
Layout = Literal["contiguous", "channels_last"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
Auto = Literal["auto"]

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}

_IMAGES_AT_ONCE, _LARGE = 512, 128  # on an accelerator: images of up to 128 pixels


@dataclass(frozen=True)
class Context:
    """Device, precision, memory layout, threads and processes, with `auto` resolved.

    The process uses these settings once `apply` is called.

    pinned: whether the user set the number of threads. engine: the processes of the training.
    """

    device: torch.device
    precision: Precision
    threads: int
    layout: Layout = "contiguous"
    pinned: bool = field(default=False, compare=False)
    engine: Engine = field(default=ALONE, compare=False)

    def apply(self) -> Context:
        """Set threads and deterministic CUDA kernels in this process, and return the context."""
        if self.pinned or torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        if self.device.type == "cuda":
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.backends.cudnn.benchmark = False
            torch.use_deterministic_algorithms(True, warn_only=True)
            # Filling memory that is written anyway was 28 % of the CPU time of a step (profile of
            # EfficientNet-Lite2 at batch 32 on an H100).
            torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        return self

    @property
    def rank(self) -> int:
        """Rank of this process, from 0."""
        return self.engine.rank

    @property
    def dtype(self) -> torch.dtype:
        """Number format of activations."""
        return _DTYPES[self.precision]

    @property
    def memory_format(self) -> torch.memory_format:
        """Memory format of images and features."""
        return _FORMATS[self.layout]

    def place(self, module: nn.Module) -> None:
        """Move a network to the device, in this memory layout."""
        module.to(self.device, memory_format=self.memory_format)  # type: ignore[call-overload]
        if self.layout == "channels_last":
            guard_pointwise(module)
        if self.precision == "bfloat16" and self.device.type == "cpu":
            speed_up_depthwise(module)
            guard_narrow(module)

    def autocast(self) -> AbstractContextManager[object]:
        """Compute matrix products in `dtype`; parameters and losses stay float32."""
        enabled = self.precision != "float32"
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=enabled)

    def to_device(self, tensor: Tensor) -> Tensor:
        """Move a tensor to the device."""
        return tensor.to(self.device, non_blocking=True)

    def to_json(self) -> dict[str, object]:
        """The settings as a run stores them before its first step."""
        return {
            "device": self.device.type,
            "precision": self.precision,
            "memory_format": str(self.memory_format).removeprefix("torch."),
            "threads": self.threads,
            "rank": self.rank,
            "world_size": self.engine.world_size,
        }


def make_context(
    device: str = "auto",
    precision: Precision | Auto = "float32",
    threads: int | None = None,
    memory_format: Layout | Auto = "auto",
) -> Context:
    """Choose device, precision and memory layout by a fixed rule, never by timing.

    The process does not change before the context is applied.

    Args:
        device: "auto" is CUDA if it is available, else the CPU.
        precision: "auto" is bfloat16 if the processor has bfloat16 arithmetic (CUDA from compute
            capability 8.0; x86 with AVX512-BF16 or AMX), else float32.
        threads: CPU threads; None: the default of torch.
        memory_format: "auto" is channels last on a CPU and with bfloat16 and float16, else
            contiguous.

    Raises:
        InputError: the device is not available or does not support the precision or layout, or
            the number of threads is out of bounds.
    """
    if threads is not None:
        check_threads(threads)
    chosen = _device(device)
    resolved = _precision(precision, chosen)
    layout = _layout(memory_format, chosen, resolved)
    if precision != "auto" or memory_format != "auto":
        _require_support(chosen, resolved, layout)
    count = threads or torch.get_num_threads()
    return Context(chosen, resolved, count, layout=layout, pinned=threads is not None)


def check_threads(threads: int, workers: int = 1) -> None:
    """Refuse a number of threads for each of some workers that could stop the machine.

    Raises:
        InputError: thousands of threads make a machine unusable before anyone can stop them.
    """
    most = max(16, 4 * (os.cpu_count() or 1))
    if not 1 <= threads * workers <= most:
        raise InputError(
            "The number of threads is out of bounds.",
            got=str(threads) if workers == 1 else f"{workers} workers with {threads} each",
            expected=f"1 to {most}",
            hint="omit --threads to use every core",
        )


def _precision(precision: Precision | Auto, device: torch.device) -> Precision:
    if precision == "auto":
        return "bfloat16" if has_bfloat16(device) else "float32"
    return precision


def _layout(layout: Layout | Auto, device: torch.device, precision: Precision) -> Layout:
    if layout == "auto":
        plain = precision == "float32" and device.type != "cpu"
        return "contiguous" if plain else "channels_last"
    return layout


def _require_support(device: torch.device, precision: Precision, layout: Layout) -> None:
    if reason := unsupported_reason(device, precision, layout):
        raise InputError(
            f"The device {device.type} cannot train in {precision}, {layout}: {reason}",
            got=f"precision: {precision}, memory_format: {layout}",
            expected="a precision and memory_format that the device supports",
            hint="set precision: auto and memory_format: auto in the recipe; "
            "erde tune RECIPE measures what this machine supports",
        )


@cache
def unsupported_reason(
    device: torch.device, precision: Precision, layout: Layout = "contiguous"
) -> str:
    """Why a device cannot train in a precision and layout; empty if it can. Runs a small step."""
    with torch.random.fork_rng(devices=[]):
        layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten())
    context = Context(device, precision, torch.get_num_threads(), layout=layout)
    try:
        context.place(layers)
        images = torch.zeros(2, 3, 4, 4, device=device, dtype=context.dtype)
        with context.autocast():
            total = layers(images.contiguous(memory_format=context.memory_format)).float().sum()
        torch.amp.GradScaler(device.type).scale(total).backward()
    except (RuntimeError, ValueError) as error:
        return str(error).splitlines()[0]
    return ""


def images_at_once(side: int, device: torch.device) -> int:
    """Batch size in inference, for images of `side` pixels.

    Accelerators need large batches, but have to hold their features.
    """
    if device.type == "cpu":
        return images_at_once_on_cpu(side)
    return max(1, min(_IMAGES_AT_ONCE, _IMAGES_AT_ONCE * _LARGE**2 // side**2))


def has_bfloat16(device: torch.device) -> bool:
    """Whether torch uses bfloat16 arithmetic of the device, not an emulation.

    The processor alone does not decide: `ATEN_CPU_CAPABILITY=avx2` keeps torch from using it.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type == "cpu":
        has = torch.cpu.get_capabilities()
        used = torch.backends.cpu.get_cpu_capability()
        return used.startswith("AVX512") and bool(has.get("avx512_bf16") or has.get("amx_bf16"))
    return False


def compile_failure(device: torch.device) -> str:
    """Why torch.compile does not work, such as a missing compiler; empty if it does.

    The check compiles a small function, which takes a few seconds.
    """
    compiled: Callable[[Tensor], Tensor] = torch.compile(lambda numbers: numbers * 2 + 1)
    try:
        compiled(torch.zeros(3, device=device))
    except Exception as error:  # noqa: BLE001 (a missing compiler can raise anything)
        lines = [line for line in str(error).splitlines() if line and "backend=" not in line]
        return lines[0] if lines else type(error).__name__
    return ""


def require_compiler(device: torch.device) -> None:
    """Check that torch.compile works, before the long work begins.

    Raises:
        InputError: it does not.
    """
    if reason := compile_failure(device):
        raise InputError(
            f"torch.compile does not work on this machine: {reason}",
            got="compile: true",
            expected="a C++ compiler that torch can find, such as g++",
            hint="set compile: false in the recipe, or install a compiler",
        )


def _device(name: str) -> torch.device:
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name == "auto":
        name = "cuda" if available["cuda"] else "cpu"
    if not available.get(name, False):
        devices = ", ".join(device for device, is_available in available.items() if is_available)
        raise InputError(
            f"The device {name!r} is not available.",
            expected=f"auto, or one of {devices}",
            hint="omit --device",
        )
    return torch.device(name)
