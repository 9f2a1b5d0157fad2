"""Peak memory of one pass of a network: tensors that live at once."""

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
    """Bytes of the images and of what `run` keeps in addition at its peak, without the weights.

    Tensors are counted; on CUDA the allocator's own figure is taken. The size of the process would
    depend on what it did before. Off CUDA, scratch memory inside an operator is not seen.

    Args:
        model: network that `run` uses.
        run: what is given the images.
        images: a batch, normalised, on the network's device.
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
    """Bytes of a network's parameters and buffers, as they lie in memory."""
    return sum(tensor.nbytes for tensor in [*model.parameters(), *model.buffers()])


class _LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of tensors from the operator that makes them until nothing holds them."""

    def __init__(self, known: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._now = 0
        self._seen = {tensor.untyped_storage()._cdata for tensor in known}

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
                self._see(leaf.untyped_storage())
        return result

    def _see(self, storage: Any) -> None:
        place, size = storage._cdata, storage.nbytes()
        if place in self._seen:  # a view, or changed in place
            return
        self._seen.add(place)
        self._now += size
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._gone, place, size)

    def _gone(self, place: int, size: int) -> None:
        self._seen.discard(place)
        self._now -= size
