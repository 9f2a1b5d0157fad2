"""torchvision, imported where it is needed, also with a build of torch that it was not made for.

PyPI has torchvision for Linux built for CUDA only. Beside a CPU build of torch its compiled half
cannot be loaded, and its Python half, which describes two operators of the compiled one without
looking whether they are there, fails with "operator torchvision::nms does not exist"
(pytorch/vision issues 9077 and 9085). Data sets need no operator, so it is enough that the two
have a name.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import torch

from erde_cli.core.errors import DataError

_OPERATORS = ("nms", "qnms")
_ARGUMENTS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_MISSING = "operator torchvision::"

_defined: list[torch.library.Library] = []  # an operator is gone as soon as its library is


def torchvision_datasets() -> Any:
    """Import the module `torchvision.datasets`.

    Raises:
        DataError: torchvision is not there, or does not fit the torch that is.
    """
    try:
        try:
            return import_module("torchvision.datasets")
        except RuntimeError as error:
            if not str(error).startswith(_MISSING):
                raise
        _forget_half_imported()
        _define_operators()
        return import_module("torchvision.datasets")
    except (ImportError, RuntimeError, OSError) as error:
        raise DataError(
            "torchvision, which reads cifar10, cifar100 and svhn, cannot be imported.",
            got=f"{type(error).__name__}: {error}",
            expected=f"a torchvision that fits torch {torch.__version__}",
            hint="pip install torchvision",
        ) from error


def _forget_half_imported() -> None:
    """Take modules away that hold on to the failed import."""
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]


def _define_operators() -> None:
    # A fragment, because one library of a process alone may own the name, and it is not ours.
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in _OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            library.define(name + _ARGUMENTS)  # type: ignore[no-untyped-call]
    _defined.append(library)
