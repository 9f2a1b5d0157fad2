"""Multiply-adds (MACs) of a module. All MACs in erde come from `count_macs`.

Convolutions, linear layers, matrix products and attention are counted. Norms, pooling, activations
and element-wise operators count as zero, by name. Any other operator is an error: published figures
of early exits are too low where an operator was silently counted as zero.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from erde_cli.core.errors import UnsupportedOperatorError
from erde_cli.core.models.early_exit import evaluation_mode

_Handler = Callable[[Sequence[Any], Sequence[Any]], int]


def _shape(value: Any) -> list[int]:
    """Shape of a value in a traced graph."""
    sizes: list[int] = value.type().sizes()
    return sizes


def _convolution(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """MACs of one position, times batch and positions."""
    weight = _shape(inputs[1])
    transposed = inputs[6].toIValue() if len(inputs) > 6 else False
    positions = _shape(inputs[0]) if transposed else _shape(outputs[0])
    return positions[0] * prod(positions[2:]) * prod(weight)


def _linear(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    return prod(_shape(outputs[0])) * _shape(inputs[0])[-1]


def _addmm(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    return prod(_shape(outputs[0])) * _shape(inputs[1])[-1]


def _attention(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """Products of queries with keys, and of the attention weights with the values."""
    query, key, value = (_shape(item) for item in inputs[:3])
    return prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _self_attention(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """Projections of every token, and the products of attention; the heads share the channels."""
    query = _shape(inputs[0])
    projections = prod(_shape(inputs[5])) + prod(_shape(inputs[7]))
    return prod(query[:-1]) * projections + _attention(inputs, outputs)


_COUNTED: dict[str, _Handler] = {
    "aten::_convolution": _convolution,
    "aten::convolution": _convolution,
    "aten::linear": _linear,
    "aten::addmm": _addmm,
    "aten::mm": _linear,
    "aten::matmul": _linear,
    "aten::bmm": _linear,
    "aten::scaled_dot_product_attention": _attention,
    "aten::_native_multi_head_attention": _self_attention,  # nn.MultiheadAttention, not training
}

_ZERO = [
    # norm
    "batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "linalg_vector_norm",
    # pooling
    "avg_pool2d", "max_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "mean", "sum",
    # activation
    "relu", "relu_", "gelu", "silu", "silu_", "sigmoid", "tanh", "hardtanh", "hardtanh_",
    "hardswish", "hardswish_", "hardsigmoid", "leaky_relu", "leaky_relu_", "elu", "prelu", "relu6",
    "relu6_", "selu", "celu", "glu", "mish", "mish_", "softplus", "softmax", "log_softmax",
    "dropout", "dropout_", "feature_dropout",
    # element-wise
    "add", "add_", "sub", "sub_", "mul", "mul_", "div", "div_", "neg", "exp", "log", "sqrt",
    "rsqrt", "pow", "rsub", "ne", "clamp_min", "addcmul", "var", "fill_", "zero_",
    # shape only
    "stack", "clone", "pad", "constant_pad_nd", "flatten", "reshape", "view", "mT",
    "expand_as", "numel", "ceil", "channel_shuffle", "pixel_shuffle", "pixel_unshuffle",
]  # fmt: skip


def count_macs(module: nn.Module, inputs: Tensor) -> int:
    """Multiply-adds of one forward pass of a module, in evaluation mode.

    Args:
        module: any module that takes one tensor.
        inputs: one batch, [batch, ...]; the count is for the whole batch.

    Raises:
        UnsupportedOperatorError: an operator is in neither list.
    """
    from fvcore.nn import FlopCountAnalysis

    logging.getLogger("fvcore.nn.jit_analysis").setLevel(logging.ERROR)
    with evaluation_mode(module), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch.jit.trace is deprecated; fvcore needs it
        analysis = FlopCountAnalysis(module, inputs)
        analysis.clear_op_handles()
        analysis.set_op_handle(**{f"aten::{name}": None for name in _ZERO})
        analysis.set_op_handle(**_COUNTED)
        total = int(analysis.total())
        unknown = sorted(analysis.unsupported_ops())
    if unknown:
        raise UnsupportedOperatorError(
            f"Cannot count the multiply-adds of {', '.join(unknown)}.",
            expected="operators listed in erde_cli/core/models/macs.py",
            hint="add a handler there, or list the operator as free of multiply-adds",
        )
    return total
