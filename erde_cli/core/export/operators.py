"""ONNX operators of exported graphs: those of each format, and those that portable ones leave out.

A runtime must support these. Networks of torchvision, timm and other packages may add their own,
such as HardSwish; everything around the network stays as listed. `docs/export.md` repeats them.
"""

from __future__ import annotations

# A convolution, linear layer or activation of erde's own families and heads.
NETWORK = frozenset(
    {"Add", "AveragePool", "BatchNormalization", "Conv", "Gemm", "MaxPool", "ReduceMean", "Relu",
     "Reshape"}
)  # fmt: skip
PREPROCESSING = frozenset({"Cast", "Mul", "Sub", "Transpose"})
# Before it with `--input any`; without a crop only Resize.
RESIZING = frozenset(
    {"Add", "Cast", "Div", "Mul", "ReduceMin", "Resize", "Round", "Shape", "Slice", "Sub"}
)
# Softmax and score; each exit at its temperature.
DECISION = frozenset(
    {"ArgMax", "Div", "Exp", "LogSoftmax", "Mul", "Neg", "ReduceSum", "Softmax"}
)  # fmt: skip
BRANCHES = frozenset({"Constant", "Gather", "Identity", "If", "Less"})

INT8 = frozenset({"DequantizeLinear", "Max", "QuantizeLinear"})  # Max only in the single file
# Operators that converters to LiteRT (onnx2tf) and ncnn (pnnx) refuse, or read wrongly.
NOT_PORTABLE = frozenset(
    {"ArgMax", "Cast", "ConstantOfShape", "Expand", "Gather", "GatherElements", "GatherND", "If",
     "Loop", "NonZero", "Range", "Scan", "Shape", "Where"}
)  # fmt: skip
PORTABLE = NETWORK | {"Mul", "Sub"}
