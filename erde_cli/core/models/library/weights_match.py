"""Compare the tensors of a file with those of a network, before any of them is copied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor

from erde_cli.core.errors import InputError, brief
from erde_cli.core.models.library.weights_file import WeightsFile, unusable

_COUNTER = "num_batches_tracked"  # of a norm: no weight, and missing from many files
_NAMED = 3  # tensors in a message
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_ENDS = {"weight", "bias", "running_mean", "running_var"}  # of names; a norm's have one shape
_POSITIONS = "pos_embed"  # in the name of the positions of a vision transformer's patches
_OTHER = "name a file of weights of {}, or change backbone to the network of this file"
_KERNEL = 4  # dimensions of the weights of a convolution


@dataclass(frozen=True)
class Wanted:
    """What a network takes from a file.

    backbone: its name. state: its state dict, on the meta device. last: path of its last linear
    layer, which is taken only if `last_kept`. image_size: side of the images in pixels.
    """

    backbone: str
    state: Mapping[str, Tensor]
    last: str
    last_kept: bool
    image_size: int

    def takes(self, name: str) -> bool:
        """Whether the tensor of this name comes from the file."""
        return self.last_kept or not self.is_last(name)

    def is_last(self, name: str) -> bool:
        """Whether a tensor of this name belongs to the last linear layer."""
        return name.startswith(f"{self.last}.")

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All tensors that it takes."""
        return {name: tensor for name, tensor in self.state.items() if self.takes(name)}


def matched(file: WeightsFile, wanted: Wanted, match: str) -> dict[str, Tensor]:
    """Tensors of the file by their names in the network, in float32.

    Integers are not taken, except the counters of norms: they are constants of the network.

    Args:
        file: the file.
        wanted: what the network takes.
        match: "name", or "order" for other names in the order of the network.

    Raises:
        InputError: tensors are missing, unexpected, of another shape or type, or not finite.
    """
    given = _in_order(file, wanted) if match == "order" else file.tensors
    given = {name: tensor for name, tensor in given.items() if wanted.takes(name)}
    _require_classes(file, wanted, given)
    _require_same_tensors(file, wanted, given)
    taken: dict[str, Tensor] = {}
    for name, tensor in given.items():
        is_float = wanted.state[name].is_floating_point()
        if not is_float and not name.endswith(_COUNTER):
            continue
        if tensor.dtype not in (_FLOATS if is_float else (*_FLOATS, torch.int64, torch.int32)):
            kind = str(tensor.dtype).removeprefix("torch.")
            raise unusable(file.path, f"{name} in {kind}, a type that erde does not convert")
        taken[name] = tensor.float() if is_float else tensor
        if not bool(taken[name].isfinite().all()):
            raise unusable(file.path, f"numbers that are not finite in float32, in {name}")
    return taken


def _require_classes(file: WeightsFile, wanted: Wanted, given: Mapping[str, Tensor]) -> None:
    """Check that a last layer which is taken has the number of classes of the images."""
    name = f"{wanted.last}.weight"
    if not wanted.last_kept or name not in given or not given[name].dim():
        return
    classes, expected = wanted.state[name].shape[0], given[name].shape[0]
    if classes != expected:
        raise InputError(
            f"last_layer: kept does not fit the last layer of {file.path}.",
            got=f"images of {classes:,} classes",
            expected=f"the {expected:,} classes of the weights",
            hint="write last_layer: new, which trains a last layer for your classes",
        )


def _require_same_tensors(file: WeightsFile, wanted: Wanted, given: Mapping[str, Tensor]) -> None:
    """Check that each tensor that is taken is there, with its shape, and that there are no others.

    Counters of norms may be missing.
    """
    own = wanted.tensors
    needed = [name for name in own if not name.endswith(_COUNTER)]
    missing = [name for name in needed if name not in given]
    unexpected = [name for name in given if name not in own]
    reshaped = [name for name in own if name in given and given[name].shape != own[name].shape]
    if not (missing or unexpected or reshaped):
        return
    if not (missing or unexpected) and all(_POSITIONS in name for name in reshaped):
        _refuse_image_size(file, wanted, given[reshaped[0]], own[reshaped[0]])
    hint = _OTHER.format(wanted.backbone)
    if file.in_order and _fits_in_order(file, wanted):
        hint = "write match: order; the file has the same shapes in the same order"
    elif missing and all(wanted.is_last(name) for name in missing):
        hint = "write last_layer: new; the file has no last layer"
    shapes = [
        f"{name} {list(given[name].shape)} instead of {list(own[name].shape)}" for name in reshaped
    ]
    problems = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    raise InputError(
        f"The tensors of {file.path} are not those of {wanted.backbone}.",
        got="; ".join(_listed(what, names) for what, names in problems.items() if names),
        expected=f"its {len(needed)} tensors"
        + ("" if wanted.last_kept else " without the last layer")
        + ", each with its shape, and no others",
        hint=hint,
    )


def _listed(what: str, names: list[str]) -> str:
    named = [brief(name) for name in names[:_NAMED]]
    return f"{len(names)} {what}: {', '.join(named)}" + (", ..." if len(names) > _NAMED else "")


def _refuse_image_size(file: WeightsFile, wanted: Wanted, given: Tensor, own: Tensor) -> None:
    """Name the image size of a vision transformer's weights, if its positions tell it.

    Args:
        file: the file.
        wanted: what the network takes.
        given: positions of the file, [1, tokens, channels].
        own: positions of the network, the same for its image size.
    """
    kernels = [tensor for tensor in wanted.state.values() if tensor.dim() == _KERNEL]
    if not kernels or own.dim() != given.dim() or own.shape[2:] != given.shape[2:]:
        return
    patch = kernels[0].shape[-1]
    prefix = own.shape[1] - (wanted.image_size // patch) ** 2  # such as a class token
    patches = given.shape[1] - prefix
    side = isqrt(max(patches, 0))
    if side == 0 or side**2 != patches:
        return
    raise InputError(
        f"The weights in {file.path} are for images of another size.",
        got=f"image_size {wanted.image_size}",
        expected=f"image_size {side * patch}, for which the positions of its patches were trained",
        hint=f"write image_size: {side * patch}",
    )


def _in_order(file: WeightsFile, wanted: Wanted) -> dict[str, Tensor]:
    """Give the tensors of a file the names of the network's, one after the other.

    Raises:
        InputError: the file has no order, another number of tensors, or another order of names.
    """
    if not file.in_order:
        raise InputError(
            f"match: order cannot be used for {file.path}.",
            got="a safetensors file, which sorts its tensors by name",
            expected="a state dict that PyTorch has saved",
            hint="remove match, or save the state dict with torch.save and name that file",
        )
    pairs = _pairs(file, wanted)
    if pairs is None:
        raise InputError(
            f"The number of tensors in {file.path} is not that of {wanted.backbone}.",
            got=f"{len(_sized(file.tensors))}, not counting {_COUNTER}",
            expected=f"{len(_sized(wanted.state))}",
            hint=_OTHER.format(wanted.backbone),
        )
    for own, given in pairs.items():
        if not _same_end(own, given):
            raise InputError(
                f"The tensors of {file.path} are in another order than those of {wanted.backbone}.",
                got=f"{brief(given)} in the place of {own}",
                expected="the same kinds of tensors in the same order",
                hint=_OTHER.format(wanted.backbone),
            )
    return {own: file.tensors[given] for own, given in pairs.items()}


def _fits_in_order(file: WeightsFile, wanted: Wanted) -> bool:
    """Whether match: order would find the shape of each tensor that is taken."""
    pairs = _pairs(file, wanted)
    return pairs is not None and all(
        file.tensors[given].shape == wanted.state[own].shape and _same_end(own, given)
        for own, given in pairs.items()
        if wanted.takes(own)
    )


def _same_end(own: str, given: str) -> bool:
    """Whether two names do not state different kinds of tensors, such as weight and bias."""
    ends = {own.rpartition(".")[2], given.rpartition(".")[2]}
    return len(ends) == 1 or not ends <= _ENDS


def _pairs(file: WeightsFile, wanted: Wanted) -> dict[str, str] | None:
    """Names in the file by those in the network, one after the other; None: not as many."""
    own, given = _sized(wanted.state), _sized(file.tensors)
    return dict(zip(own, given, strict=True)) if len(own) == len(given) else None


def _sized(tensors: Mapping[str, Tensor]) -> list[str]:
    """Names of the tensors that are not counters, which have no dimension."""
    return [name for name, tensor in tensors.items() if tensor.dim()]
