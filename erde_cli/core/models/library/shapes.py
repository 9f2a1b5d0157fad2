"""Multiply-adds of a network from the shapes of its layers, without weights and without computing.

`erde_cli/core/models/macs.py` traces a forward pass, which needs weights and seconds. Here the
network's forward pass runs on a `Shape` instead of a tensor, and torch passes every operator on it
to the table below. The table counts as `macs.py` does. An operator that is not in the table is an
error. All figures that erde stores come from `macs.py`; these are for listings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from erde_cli.core.models.library.shape import (
    RULES,
    Count,
    Shape,
    Sizes,
    broadcast,
    element_wise,
    shape_among,
    unsupported,
)


def count_shapes(module: nn.Module, sizes: Sizes) -> tuple[int, Sizes]:
    """Multiply-adds of one forward pass in evaluation mode, and the sizes of what comes out.

    Args:
        module: its weights are not read and can be on the meta device.
        sizes: of the input, the batch included.

    Raises:
        UnsupportedOperatorError: there is no rule for an operator.
        ValueError: the input is too small for a layer.
    """
    count = Count()
    try:
        with _prepared(module, count), torch.no_grad():
            output = module(Shape(sizes, count))
    except (TypeError, RuntimeError) as error:  # of torch: a shape where it needs a tensor
        raise unsupported(str(error).splitlines()[0]) from error
    return count.macs, tuple(output.shape)


@contextmanager
def _prepared(module: nn.Module, count: Count) -> Iterator[None]:
    """Evaluation mode, with shapes in place of the tables of a Swin's position biases.

    The attributes are set in the modules' dictionaries, which takes half the time.
    """
    modules = list(module.modules())
    training = [vars(inner) for inner in modules if inner.training]
    tables: list[tuple[dict[str, Any], str, Any]] = [
        (held, name, held[name])
        for inner in modules
        for held, name in (
            (inner._parameters, "relative_position_bias_table"),
            (inner._parameters, "logit_scale"),  # of V2
            (inner._buffers, "relative_coords_table"),
        )
        if name in held
    ]
    try:
        for attributes in training:
            attributes["training"] = False
        for held, name, table in tables:
            held[name] = Shape(tuple(table.shape), count)
        yield
    finally:
        for attributes in training:
            attributes["training"] = True
        for held, name, table in tables:
            held[name] = table


def _matmul(first: Any, second: Any) -> Shape:
    known = shape_among(first, second)
    batch = broadcast(first.shape[:-2], second.shape[:-2])
    sizes = (*batch, first.shape[-2], second.shape[-1])
    known.count.macs += prod(sizes) * first.shape[-1]
    return known.of(*sizes)


def _each(value: Any, count: int) -> Sequence[int]:
    """A setting of a layer for every side of its input."""
    return (value,) * count if isinstance(value, int) else tuple(value)


def _places(
    sizes: Sequence[int], kernel: Any, stride: Any, padding: Any, dilation: Any, up: bool = False
) -> list[int]:
    """Sides of what a convolution or a pooling puts out."""
    settings = [_each(value, len(sizes)) for value in (kernel, stride, padding, dilation)]
    places = []
    for size, k, s, p, d in zip(sizes, *settings, strict=True):
        span = size + 2 * p - d * (k - 1) - 1
        places.append((span + (s - 1 if up else 0)) // s + 1)
    if min(places) < 1:
        raise ValueError("the images are too small for this network")
    return places


def _convolution(
    features: Shape, weight: Tensor, bias: Any = None,
    stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
) -> Shape:  # fmt: skip
    batch, _, *sizes = features.shape
    places = _places(sizes, tuple(weight.shape[2:]), stride, padding, dilation)
    features.count.macs += batch * prod(places) * weight.numel()
    return features.of(batch, weight.shape[0], *places)


def _split(features: Shape, sizes: Sequence[int], dim: int = 0) -> list[Shape]:
    before, after = features.shape[:dim], features.shape[dim:][1:]
    return [features.of(*before, size, *after) for size in sizes]


def _max_pool(
    features: Shape, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Shape:  # fmt: skip
    sizes = features.shape[2:]
    places = _places(sizes, kernel_size, stride or kernel_size, padding, dilation, ceil_mode)
    return features.of(*features.shape[:2], *places)


def _avg_pool(
    features: Shape, kernel_size: Any, stride: Any = None, padding: Any = 0,
    ceil_mode: bool = False, *rest: Any,
) -> Shape:  # fmt: skip
    return _max_pool(features, kernel_size, stride, padding, 1, ceil_mode)


def _adaptive(features: Shape, output_size: Any, *rest: Any, **keys: Any) -> Shape:
    return features.of(*features.shape[:-2], *_each(output_size, 2))


def _linear(features: Any, weight: Any, bias: Any = None) -> Shape:
    known = shape_among(features, weight)
    outputs, inputs = weight.shape
    known.count.macs += prod(features.shape[:-1]) * outputs * inputs
    return known.of(*features.shape[:-1], outputs)


def _cat(tensors: Sequence[Any], dim: int = 0) -> Shape:
    known = shape_among(*tensors)
    sizes = list(known.shape)
    sizes[dim] = sum(tensor.shape[dim] for tensor in tensors)
    return known.of(*sizes)


def _pad(features: Shape, pad: Sequence[int], *rest: Any, **keys: Any) -> Shape:
    sizes = list(features.shape)
    for place in range(len(pad) // 2):
        sizes[-1 - place] += pad[2 * place] + pad[2 * place + 1]
    return features.of(*sizes)


def _attention(query: Shape, key: Shape, value: Shape, *rest: Any, **keys: Any) -> Shape:
    products = prod(query.shape[:-1]) * key.shape[-2]
    query.count.macs += products * (query.shape[-1] + value.shape[-1])
    return query.of(*query.shape[:-1], value.shape[-1])


def _multi_head(query: Shape, key: Shape, *rest: Any, **keys: Any) -> tuple[Shape, None]:
    """Self-attention of [tokens, batch, channels]: four projections and two products."""
    tokens, batch, channels = query.shape
    query.count.macs += batch * (4 * tokens * channels**2 + 2 * tokens**2 * channels)
    return query, None


def _same(features: Shape, *rest: Any, **keys: Any) -> Shape:
    return features


RULES |= {
    F.conv1d: _convolution,
    F.conv2d: _convolution,
    F.linear: _linear,
    torch.matmul: _matmul,
    Tensor.matmul: _matmul,
    F.scaled_dot_product_attention: _attention,
    F.multi_head_attention_forward: _multi_head,
    torch.max_pool2d: _max_pool,
    F.max_pool2d: _max_pool,
    F.avg_pool2d: _avg_pool,
    F.adaptive_avg_pool2d: _adaptive,
    torch.cat: _cat,
    F.pad: _pad,
    torch.flatten: Shape.flatten,
    torch.permute: Shape.permute,
    torch.transpose: Shape.transpose,
    torch.mean: Shape.mean,
    torch.split: _split,
    torch.addcmul: lambda first, second, third: element_wise(second, third),
    **dict.fromkeys(
        (
            torch.add, torch.mul, torch.sub, torch.div, Tensor.add, Tensor.mul, Tensor.sub,
            Tensor.__add__, Tensor.__mul__, Tensor.__sub__, Tensor.__radd__, Tensor.__rmul__,
        ),
        element_wise,
    ),
    **dict.fromkeys(
        (
            F.batch_norm, F.layer_norm, F.group_norm, F.rms_norm, F.normalize, F.relu, F.relu6,
            F.hardtanh, F.hardswish, F.hardsigmoid, F.silu, F.gelu, F.leaky_relu, F.softmax,
            F.dropout, torch.clamp, torch.sigmoid, torch.rsqrt, torch.roll, Tensor.type_as,
        ),
        _same,
    ),
}  # fmt: skip
