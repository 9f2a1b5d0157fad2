"""What computes a network's answers: torch, or ONNX Runtime.

Light, so that a wrong one is refused at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from erde_cli.core.errors import InputError
from erde_cli.core.export.formats import format_of, named
from erde_cli.core.platform.extras import require_extra

Runtime = Literal["torch", "onnx"]
NAMES: dict[Runtime, str] = {"torch": "PyTorch", "onnx": "ONNX Runtime"}


def runtime_of(model: Path, wanted: Runtime | None, device: str) -> Runtime:
    """The runtime of a model: what is wanted, else torch for a bundle, its own for an export.

    Raises:
        InputError: the model, the device, or what is installed does not go with it.
    """
    exported = format_of(model)
    own = exported.runtime if exported else None
    if exported and own is None:
        raise InputError(
            f"{model} is a {exported.kind}, {exported.why_not}.",
            expected=f"a bundle, or what erde export --format {named(lambda row: row.runtime)} "
            "wrote",
            hint="erde export BUNDLE --format onnx --out digits.onnx writes one",
        )
    if own and wanted not in (None, own):
        raise InputError(
            f"{model} was exported for {NAMES[own]}, so {wanted} cannot run it.",
            got=f"--runtime {wanted}",
            hint="leave --runtime out, or give the bundle it was exported from",
            expected=f"--runtime {own}",
        )
    runtime = wanted or own or "torch"
    if runtime == "onnx":
        require_onnx(device)
    return runtime


def require_onnx(device: str) -> None:
    """Check that ONNX Runtime is installed, and wanted on the one device it is used on.

    Raises:
        InputError: it is not.
    """
    if device not in ("auto", "cpu"):
        raise InputError(
            "erde runs ONNX Runtime on the CPU alone.",
            got=f"--device {device}",
            hint="leave --device out",
            expected="--device cpu",
        )
    require_extra("onnx", "ONNX Runtime")
