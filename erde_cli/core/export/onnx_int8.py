"""Stages in int8: convolutions and linear layers quantised, all that decides left in float32.

Static: the ranges of what flows between the layers are measured beforehand, on images. Weights are
int8 with a scale for each output channel, activations uint8, as ONNX Runtime recommends for CPUs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
from onnx import TensorProto
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from erde_cli.core.errors import ErdeError
from erde_cli.core.export.onnx_graph import model_of
from erde_cli.core.export.onnx_stages import Array, Stages
from erde_cli.core.export.record import Quantisation

QUANTISED = ("Conv", "Gemm")
# A Relu behind a quantised layer becomes part of its range; any other stays what it is.
_OPERATORS = [*QUANTISED, "Relu"]

Batches = Callable[[], Iterator[Array]]
Tell = Callable[[int, int], None]


class _Feeds:
    """What ONNX Runtime measures the ranges of a stage on: one batch after the other."""

    def __init__(self, name: str, batches: Iterator[Array]) -> None:
        self._name, self._batches = name, batches

    def get_next(self) -> dict[str, Array] | None:
        """Give the next batch; None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {self._name: batch}


def quantise_stages(
    folder: Path, files: Sequence[str], batches: Batches, threads: int | None, tell: Tell
) -> None:
    """Replace the files of stages by int8 ones.

    Each stage sees what the quantised stages before it make of the images, as it will in use.

    Args:
        folder: where the files lie.
        files: their names, in the order of the stages.
        batches: gives images as the first stage takes them, anew with every call.
        threads: of ONNX Runtime.
        tell: receives how many stages are done, of how many.

    Raises:
        ErdeError: a stage cannot be quantised.
    """
    before = Stages(threads)
    for index, name in enumerate(files):
        model = onnx.load(folder / name)
        # Not kept: the features of many images are larger than the images.
        found = (before.features(batch) for batch in batches())
        graph = _quantised(model, _Feeds(model.graph.input[0].name, found), name)
        onnx.save(model_of(graph, {}), folder / name)
        before.add(folder / name)
        tell(index + 1, len(files))


def quantisation(images: int) -> Quantisation:
    """What the manifest says of stages that were quantised on a number of images."""
    return Quantisation(
        weights="int8", activations="uint8", operators=list(QUANTISED), range_images=images
    )


def _quantised(model: onnx.ModelProto, feeds: _Feeds, name: str) -> onnx.GraphProto:
    with TemporaryDirectory() as aside:
        prepared, written = Path(aside) / "prepared.onnx", Path(aside) / "int8.onnx"
        try:
            quant_pre_process(model, prepared)
            quantize_static(
                prepared,
                written,
                feeds,
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=_OPERATORS,
                per_channel=True,
                # Weights of 7 bits: with 8, x86 without VNNI saturates where sums of two products
                # pass 16 bits, and the thresholds would not hold on another machine.
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                # 256 levels of logits would tell entropies apart too coarsely, and tie labels.
                extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
            )
        except Exception as error:
            raise ErdeError(f"ONNX Runtime could not quantise {name}: {error}") from error
        graph: onnx.GraphProto = onnx.load(written).graph
    # Names of files and tools, and shapes of values that are no longer there.
    for field in ("metadata_props", "doc_string", "value_info", "quantization_annotation"):
        graph.ClearField(field)
    if left := _left_in_float(graph):
        raise ErdeError(f"ONNX Runtime left layers of {name} in float: {', '.join(left)}.")
    return graph


def _left_in_float(graph: onnx.GraphProto) -> list[str]:
    """Names of the layers whose weights are no int8 tensor."""
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    stored = {
        node.output[0]: types.get(node.input[0])
        for node in graph.node
        if node.op_type == "DequantizeLinear"
    }
    layers = [node for node in graph.node if node.op_type in QUANTISED]
    return [node.name for node in layers if stored.get(node.input[1]) != TensorProto.INT8]
