"""Quantise stages to int8: convolutions and linear layers; scores and labels stay in float32.

Static quantisation: the ranges of activations are measured beforehand, on images. Weights are int8
with a scale per output channel, activations uint8, as ONNX Runtime recommends for CPUs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
from onnx import TensorProto
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from erde_cli.core.arrays import Array
from erde_cli.core.errors import ErdeError
from erde_cli.core.events import Progress
from erde_cli.core.export.onnx_stages import Stages
from erde_cli.core.export.record import Quantisation

QUANTISED = ("Conv", "Gemm")
# A Relu after a quantised layer becomes part of its range; other ones are left alone.
_OPERATORS = [*QUANTISED, "Relu"]


class _Feeds:
    """Batches on which ONNX Runtime measures the ranges of a stage."""

    def __init__(self, name: str, batches: Iterator[Array]) -> None:
        self._name, self._batches = name, batches

    def get_next(self) -> dict[str, Array] | None:
        """Return the next batch; None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {self._name: batch}


def quantise_stages(
    folder: Path,
    files: Sequence[str],
    batches: Callable[[], Iterator[Array]],
    threads: int | None,
    progress: Progress,
) -> None:
    """Replace the files of stages by int8 ones.

    The ranges of a stage are measured behind the quantised stages before it, as in use.

    Args:
        folder: of the files.
        files: names, in the order of the stages.
        batches: returns the batches for the first stage; called once for each stage.
        threads: of ONNX Runtime.
        progress: receives the number of stages done, and of all.

    Raises:
        ErdeError: a stage cannot be quantised.
    """
    quantised = Stages(threads)
    for index, name in enumerate(files):
        model = onnx.load(folder / name)
        # Computed anew for each stage: features are larger than the images.
        features = (quantised.features(batch) for batch in batches())
        graph = _quantised(model, _Feeds(model.graph.input[0].name, features), name)
        model.graph.CopyFrom(graph)  # `stage_model` writes the metadata, once all is known
        onnx.save(model, folder / name)
        quantised.add(folder / name)
        progress(index + 1, len(files))


def quantisation(images: int) -> Quantisation:
    """Entry of the manifest for stages whose ranges were measured on a number of images."""
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
                # Weights of 7 bits: with 8, sums of two products overflow 16 bits on x86 without
                # VNNI and saturate, so the thresholds would not hold on another machine.
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                # 256 levels of logits would make entropies too coarse, and labels tie.
                extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
            )
        except Exception as error:
            raise ErdeError(f"ONNX Runtime could not quantise {name}: {error}") from error
        graph: onnx.GraphProto = onnx.load(written).graph
    # Names of files and tools, and shapes of values that no longer exist.
    for field in ("metadata_props", "doc_string", "value_info", "quantization_annotation"):
        graph.ClearField(field)
    if layers := _left_in_float(graph):
        raise ErdeError(f"ONNX Runtime left layers of {name} in float: {', '.join(layers)}.")
    return graph


def _left_in_float(graph: onnx.GraphProto) -> list[str]:
    """Names of the layers whose weights are not int8."""
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    stored = {
        node.output[0]: types.get(node.input[0])
        for node in graph.node
        if node.op_type == "DequantizeLinear"
    }
    layers = [node for node in graph.node if node.op_type in QUANTISED]
    return [node.name for node in layers if stored.get(node.input[1]) != TensorProto.INT8]
