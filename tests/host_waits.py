"""Watches, without an accelerator, what would make the host wait for one: see `watching`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

DEVICE = torch.device("meta")  # its tensors have no data, so that nobody can look at it unseen

# Operators whose result, or its shape, depends on values: the host has to see them.
READ = {"_local_scalar_dense", "is_nonzero", "equal", "allclose", "nonzero", "argwhere", "bincount"}
READ |= {"masked_select", "_unique", "_unique2", "unique_dim", "unique_consecutive", "histc"}
READ |= {"repeat_interleave", "_linalg_check_errors"}
COPY = {"_to_copy", "copy_"}
INDEX = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
MAKE = {torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor}


def on_device(values: Any) -> bool:
    leaves = tree_leaves(values)
    return any(isinstance(leaf, Tensor) and leaf.device == DEVICE for leaf in leaves)


def why_it_waits(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """What makes the host wait for the device in an operator; empty for nothing."""
    if name in READ and on_device((args, kwargs)):
        return name
    if name in COPY:
        target, source = (args[0], args[1]) if name == "copy_" else (None, args[0])
        to = target.device if target is not None else (kwargs.get("device") or source.device)
        if source.device != to and DEVICE in (source.device, to):
            waits = to.type == "cpu" or not (kwargs.get("non_blocking") or args[2:] == (True,))
            return f"{name} from {source.device} to {to}" if waits else ""
    if name in INDEX and on_device(args[0]):
        indices = [index for index in args[1] if index is not None]
        if any(index.dtype in (torch.bool, torch.uint8) for index in indices):
            return f"{name} with a mask"
        if any(index.device != DEVICE for index in indices):
            return f"{name} with indices from the host"
    return ""


class Watch(TorchDispatchMode):
    """Keeps every operator that makes the host wait, and goes on as if it had got a value."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[tuple[str, str]] = []  # what, and where it was
        self.where = ""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if why := why_it_waits(name, args, kwargs):
            self.waits.append((why, self.where))
            if name == "_local_scalar_dense":
                return float(not self.where.startswith("step"))  # no overflow; a loss, a scale
            if name == "_to_copy" and on_device(args):
                return torch.ones(args[0].shape, dtype=args[0].dtype)
        if name == "_fused_sgd_":
            return None  # torch has it for every real device, not for this one
        return func(*args, **kwargs)


class Uploads(TorchFunctionMode):
    """Sees what makes tensors of Python numbers on the device: a copy that no operator shows."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in MAKE:
            made = func(*args, **kwargs)
            data = args[1] if func is Tensor.new_tensor else args[0]
            if made.device == DEVICE and not isinstance(data, Tensor):
                self._watch.waits.append((f"{func.__name__} of numbers", self._watch.where))
            return made
        return func(*args, **kwargs)


@contextmanager
def watching() -> Iterator[Watch]:
    with Watch() as watch, Uploads(watch):
        yield watch
