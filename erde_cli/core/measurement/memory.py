"""Peak memory of a forward pass: bytes of tensors alive at the same time."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@torch.inference_mode()
def peak_bytes(model: nn.Module, run: Callable[[Tensor], object], images: Tensor) -> int:
    """Bytes of the images and of all tensors that `run` holds at its peak, without the weights.

    On CUDA this is the allocator's figure. Elsewhere tensors are counted, without scratch memory
    inside operators; the size of the process would depend on what it did before.

    Args:
        model: network that `run` uses.
        run: function of the images.
        images: a normalised batch on the network's device, [batch, 3, height, width].
    """
    if images.device.type == "cuda":
        torch.cuda.synchronize(images.device)
        torch.cuda.reset_peak_memory_stats(images.device)
        before = torch.cuda.memory_allocated(images.device)
        run(images)
        peak: int = torch.cuda.max_memory_allocated(images.device)
        return images.nbytes + peak - before
    live = _LiveTensors([*model.parameters(), *model.buffers(), images])
    with live:
        run(images)
    return images.nbytes + live.peak


def weight_bytes(model: nn.Module) -> int:
    """Bytes of a network's parameters and buffers in memory."""
    return sum(tensor.nbytes for tensor in [*model.parameters(), *model.buffers()])


class _LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of a tensor from its creation until nothing refers to it."""

    def __init__(self, known: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._bytes = 0
        self._known = {tensor.untyped_storage()._cdata for tensor in known}

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._add(leaf.untyped_storage())
        return result

    def _add(self, storage: Any) -> None:
        address, size = storage._cdata, storage.nbytes()
        if address in self._known:  # a view, or changed in place
            return
        self._known.add(address)
        self._bytes += size
        self.peak = max(self.peak, self._bytes)
        weakref.finalize(storage, self._remove, address, size)

    def _remove(self, address: int, size: int) -> None:
        self._known.discard(address)
        self._bytes -= size
