"""Import torchvision, also with a build of torch that it was not made for.

PyPI has torchvision for Linux built for CUDA only. With a CPU build of torch, its compiled half
cannot be loaded. Its Python half registers two operators of the compiled half unconditionally, and
fails with "operator torchvision::nms does not exist" (pytorch/vision issues 9077 and 9085). Data
sets use no operator, so defining the two names is enough.
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

_defined: list[torch.library.Library] = []  # an operator is removed together with its library


def torchvision_datasets() -> Any:
    """Import the module `torchvision.datasets`.

    Raises:
        DataError: torchvision is missing, or does not work with the installed torch.
    """
    try:
        try:
            return import_module("torchvision.datasets")
        except RuntimeError as error:
            if not str(error).startswith(_MISSING):
                raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]  # half imported
        _define_operators()
        return import_module("torchvision.datasets")
    except (ImportError, RuntimeError, OSError) as error:
        raise DataError(
            "torchvision, which reads cifar10, cifar100 and svhn, cannot be imported.",
            got=f"{type(error).__name__}: {error}",
            expected=f"a torchvision that works with torch {torch.__version__}",
            hint="pip install torchvision",
        ) from error


def _define_operators() -> None:
    # A fragment, because only one library can own the name, and torchvision is that one.
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in _OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            library.define(name + _ARGUMENTS)  # type: ignore[no-untyped-call]
    _defined.append(library)
