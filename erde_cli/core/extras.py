"""Packages that erde does without until they are asked for."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from erde_cli.core.errors import InputError

_ONNX = ("onnx", "onnxscript", "onnxruntime")


def require_onnx() -> None:
    """See that ONNX can be written and run.

    Raises:
        InputError: a package of the extra is missing.
    """
    missing = [name for name in _ONNX if find_spec(name) is None]
    if missing:
        raise InputError(
            "ONNX needs packages that are not installed.",
            got=f"no {', '.join(missing)}",
            hint='pip install "erde-cli[onnx]"',
        )
    for name in _ONNX:
        import_module(name)
