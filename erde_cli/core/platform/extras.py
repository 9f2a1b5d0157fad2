"""Packages that erde needs, or only some of its commands. Imports none of them."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires, version
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


def missing_packages_error(error: ModuleNotFoundError) -> InputError | None:
    """The error to report if an import failed because packages of erde are missing; None: a bug.

    They are missing after `pip install --no-deps erde-cli`, which `erde_cli.runtime` allows.
    """
    missing = _missing_packages()
    if not missing:
        return None
    return InputError(
        f"erde needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not "
        "installed.",
        got=str(error),
        expected="all packages of erde-cli; without them, erde_cli.runtime still runs exports",
        hint="pip install erde-cli",
    )


def _missing_packages() -> list[str]:
    """Names of the required packages that are not installed; extras do not count."""
    missing = []
    try:
        required = requires("erde-cli") or []
    except PackageNotFoundError:  # run from a folder, not installed
        required = []
    for requirement in required:
        name = re.match(r"[\w.-]+", requirement)
        if name is None or re.search(r"\bextra\b", requirement):
            continue
        try:
            version(name[0])
        except PackageNotFoundError:
            missing.append(name[0])
    return missing
