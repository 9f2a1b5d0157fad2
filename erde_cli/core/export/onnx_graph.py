"""Convert a torch module to an ONNX graph that contains nothing about this machine."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import onnx
import torch
from torch import Tensor, nn

from erde_cli.core.errors import ErdeError

OPSET = 18  # what every ONNX Runtime since 1.14 (2023) reads
_IR = 8  # the file format that came with it


def graph_of(
    module: nn.Module,
    example: Tensor,
    input_name: str,
    output_names: Sequence[str],
    prefix: str = "",
) -> onnx.GraphProto:
    """ONNX graph of a module with one input and any batch size.

    Args:
        module: in evaluation mode.
        example: an input of two images.
        input_name: name of the input.
        output_names: names of the outputs.
        prefix: of all other names.

    Raises:
        ErdeError: the exporter needs more than plain ONNX operators.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about its own code
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            verbose=False,
            external_data=False,
            opset_version=OPSET,
            input_names=[input_name],
            output_names=list(output_names),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    if program is None or program.model_proto.functions:
        raise ErdeError("torch's ONNX exporter did not produce plain operators.")
    graph: onnx.GraphProto = program.model_proto.graph
    _clean(graph)
    _rename(graph, prefix, {input_name, *output_names})
    return graph


def model_of(graph: onnx.GraphProto, metadata: dict[str, str]) -> onnx.ModelProto:
    """ONNX model of a graph, checked.

    Raises:
        ErdeError: the graph is not valid.
    """
    model = onnx.helper.make_model(
        graph,
        producer_name="erde",
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=_IR,
    )
    onnx.helper.set_model_props(model, metadata)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ErdeError(f"The exported graph is not valid ONNX: {error}") from error
    return model


def _clean(graph: onnx.GraphProto) -> None:
    """Remove the exporter's notes about the source code, which contain paths."""
    graph.ClearField("metadata_props")
    graph.ClearField("doc_string")
    graph.ClearField("value_info")
    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def _rename(graph: onnx.GraphProto, prefix: str, kept: set[str]) -> None:
    def renamed(name: str) -> str:
        return name if not name or name in kept else prefix + name

    for node in graph.node:
        node.name = prefix + node.name
        node.input[:] = [renamed(name) for name in node.input]
        node.output[:] = [renamed(name) for name in node.output]
    for tensor in graph.initializer:
        tensor.name = renamed(tensor.name)
