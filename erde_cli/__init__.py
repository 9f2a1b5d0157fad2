"""erde: early-exit image classifiers for devices that cannot afford them.

Public names are imported on first use, so that `import erde_cli` and `erde --help` never import
torch.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # no import of typing: __main__ sets sys.path first
if TYPE_CHECKING:
    from erde_cli.core.bundle.bundle import Bundle
    from erde_cli.core.bundle.bundle import load_bundle as load
    from erde_cli.core.errors import ErdeError
    from erde_cli.core.inference.rows import Prediction

# From 1.29 on, ONNX Runtime reports every process that imports it to Microsoft, and stores an
# identifier of the machine in the user's cache. Users of erde have not agreed to that.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = ["Bundle", "ErdeError", "Prediction", "__version__", "load"]

_HOMES = {
    "Bundle": "erde_cli.core.bundle.bundle:Bundle",
    "ErdeError": "erde_cli.core.errors:ErdeError",
    "Prediction": "erde_cli.core.inference.rows:Prediction",
    "load": "erde_cli.core.bundle.bundle:load_bundle",
}


def __getattr__(name: str) -> object:
    """Import a public name on first use (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        return version("erde-cli")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pkgutil import resolve_name

    return resolve_name(_HOMES[name])


def __dir__() -> list[str]:
    return __all__
