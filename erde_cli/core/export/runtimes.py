"""The runtimes of a network, torch and ONNX Runtime. Light, so that a wrong one fails at once."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from erde_cli.core.errors import InputError
from erde_cli.core.export.formats import format_of, named
from erde_cli.core.platform.extras import require_extra

Runtime = Literal["torch", "onnx"]
NAMES: dict[Runtime, str] = {"torch": "PyTorch", "onnx": "ONNX Runtime"}


def runtime_of(model: Path, requested: Runtime | None, device: str) -> Runtime:
    """The requested runtime; None: torch for a bundle, its own for an export.

    Raises:
        InputError: the runtime is not installed, or does not fit the model or the device.
    """
    exported = format_of(model)
    own = exported.runtime if exported else None
    if exported and own is None:
        raise InputError(
            f"{model} is a {exported.kind}, {exported.why_not}.",
            expected=f"a bundle, or an export in the format {named(lambda row: row.runtime)}",
            hint="write one with: erde export BUNDLE --format onnx --out digits.onnx",
        )
    if own and requested not in (None, own):
        raise InputError(
            f"{model} was exported for {NAMES[own]}, so {requested} cannot run it.",
            got=f"--runtime {requested}",
            hint="leave --runtime out, or give the bundle that it was exported from",
            expected=f"--runtime {own}",
        )
    runtime = requested or own or "torch"
    if runtime == "onnx":
        require_onnx(device)
    return runtime


def require_onnx(device: str) -> None:
    """Check that ONNX Runtime is installed and can use the device.

    Raises:
        InputError: it is not installed, or the device is not the CPU.
    """
    if device not in ("auto", "cpu"):
        raise InputError(
            "erde runs ONNX Runtime on the CPU only.",
            got=f"--device {device}",
            hint="leave --device out",
            expected="--device cpu",
        )
    require_extra("onnx", "ONNX Runtime")
