"""Packages that only some commands need. Imports none of them."""

from __future__ import annotations

from importlib.util import find_spec

from erde_cli.core.errors import InputError

_EXTRAS = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "timm": ("timm",),
    "tensorboard": ("tensorboard",),
    "mlflow": ("mlflow", "sqlalchemy", "alembic"),
    "wandb": ("wandb",),
}


def require_extra(extra: str, purpose: str) -> None:
    """Check that the packages of an extra are installed.

    Raises:
        InputError: a package is missing.
    """
    missing = [name for name in _EXTRAS[extra] if find_spec(name) is None]
    if missing:
        raise InputError(
            f"{purpose} needs {', '.join(missing)}, which the extra {extra} installs.",
            hint=f"pip install 'erde-cli[{extra}]'",
            expected=f"erde-cli with the extra {extra}",
        )
