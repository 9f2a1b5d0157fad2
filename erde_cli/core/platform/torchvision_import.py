"""Import torchvision, also with a build of torch that it was not made for.

PyPI has torchvision for Linux built for CUDA only. With a CPU build of torch, its compiled half
cannot be loaded. Its Python half registers two operators of the compiled half unconditionally, and
fails with "operator torchvision::nms does not exist" (pytorch/vision issues 9077 and 9085). Data
sets and classifiers use no operator, so defining the two names is enough.

torchvision also asks one function of torch's compiler, whose import takes a second. It is imported
once that function is called, which no data set or classifier does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

import torch

from erde_cli.core.errors import DataError, InputError

_OPERATORS = ("nms", "qnms")
_ARGUMENTS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_MISSING = "operator torchvision::"
_COMPILER = "torch._dynamo.utils"

_defined: list[torch.library.Library] = []  # an operator is removed together with its library


def torchvision_datasets() -> Any:
    """Import the module `torchvision.datasets`.

    Raises:
        DataError: torchvision is missing, or does not work with the installed torch.
    """
    return _import("datasets", "which reads cifar10, cifar100 and svhn,", DataError)


def torchvision_models() -> Any:
    """Import the module `torchvision.models`.

    Raises:
        InputError: torchvision is missing, or does not work with the installed torch.
    """
    return _import("models", "which backbones of torchvision and timm need,", InputError)


def torchvision_transforms() -> Any:
    """Import the module `torchvision.transforms.v2`.

    Raises:
        InputError: torchvision is missing, or does not work with the installed torch.
    """
    use = "which augmentation.resized_crop and augmentation.trivial_augment need,"
    return _import("transforms.v2", use, InputError)


def _import(name: str, use: str, error_class: type[InputError]) -> Any:
    try:
        with _compiler_later():
            return _import_or_define(f"torchvision.{name}")
    except (ImportError, RuntimeError, OSError) as error:
        raise error_class(
            f"torchvision, {use} cannot be imported.",
            got=f"{type(error).__name__}: {error}",
            expected=f"a torchvision that works with torch {torch.__version__}",
            hint="pip install torchvision",
        ) from error


def _import_or_define(name: str) -> ModuleType:
    """Import a module of torchvision; if its operators are missing, define them first."""
    try:
        return import_module(name)
    except RuntimeError as error:
        if not str(error).startswith(_MISSING):
            raise
    for module in [module for module in sys.modules if module.split(".")[0] == "torchvision"]:
        del sys.modules[module]  # half imported
    _define_operators()
    return import_module(name)


@contextmanager
def _compiler_later() -> Iterator[None]:
    """Stand in for a module of torch's compiler that torchvision imports a function from."""
    if _COMPILER in sys.modules:
        yield
        return
    standin = _Compiler(_COMPILER)
    sys.modules[_COMPILER] = standin
    try:
        yield
    finally:
        if sys.modules.get(_COMPILER) is standin:
            del sys.modules[_COMPILER]


class _Compiler(ModuleType):
    """Has the function that torchvision imports; anything else comes from the real module."""

    @staticmethod
    def is_compile_supported(device_type: Any) -> Any:
        """What the compiler answers."""
        return import_module(_COMPILER).is_compile_supported(device_type)

    def __getattr__(self, name: str) -> Any:
        """Import the real module."""
        if name.startswith("__"):  # asked by the import system itself
            raise AttributeError(name)
        del sys.modules[_COMPILER]
        return getattr(import_module(_COMPILER), name)


def _define_operators() -> None:
    # A fragment, because only one library can own the name, and torchvision is that one.
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in _OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            library.define(name + _ARGUMENTS)  # type: ignore[no-untyped-call]
    _defined.append(library)
