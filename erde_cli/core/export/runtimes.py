"""What computes a network's answers: torch, or ONNX Runtime.

Light, so that a wrong one is told at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from erde_cli.core.errors import InputError
from erde_cli.core.platform.extras import require_extra

Runtime = Literal["torch", "onnx"]
NAMES: dict[Runtime, str] = {"torch": "PyTorch", "onnx": "ONNX Runtime"}

MANIFEST = "manifest.json"  # of a folder of stages


def runtime_of(model: Path, named: Runtime | None, device: str) -> Runtime:
    """The runtime of a model: what was named, else torch for a bundle, onnx for an export.

    Raises:
        InputError: the model, the device, or what is installed does not go with it.
    """
    if model.suffix == ".pt2":
        raise InputError(
            f"{model} is a file of torch.export, which computes every exit and leaves at none.",
            expected="a bundle, or what erde export --format onnx or onnx-staged wrote",
            hint="erde export BUNDLE --format onnx --out digits.onnx writes one",
        )
    exported = is_exported(model)
    if exported and named == "torch":
        raise InputError(
            f"{model} was exported for ONNX Runtime, so torch cannot run it.",
            got="--runtime torch",
            hint="leave --runtime out, or give the bundle it was exported from",
            expected="--runtime onnx",
        )
    runtime = named or ("onnx" if exported else "torch")
    if runtime == "onnx":
        require_onnx(device)
    return runtime


def is_exported(model: Path) -> bool:
    """Whether a path is meant as an exported network: FILE.onnx, or a folder of stages."""
    return model.suffix == ".onnx" or (model / MANIFEST).is_file()


def require_onnx(device: str) -> None:
    """See that ONNX Runtime is installed, and wanted on the one device it is used on.

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
