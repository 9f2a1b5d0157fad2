"""Convert a torch module to an ONNX graph that contains nothing about this machine."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence

import onnx
import torch
from torch import Tensor, nn

from erde_cli.core.errors import ErdeError
from erde_cli.core.export.record import ExportRecord
from erde_cli.core.provenance import versions_of

OPSET = 18  # what every ONNX Runtime since 1.14 (2023) reads
_IR = 8  # the file format that came with it
_DOC = (
    "Early-exit image classifier with {classes} classes. The metadata with the prefix erde. "
    "describe its input, classes, exits and thresholds."
)


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
    rename(graph, prefix, {name: name for name in (input_name, *output_names)})
    return graph


def model_of(
    graph: onnx.GraphProto, record: ExportRecord, about_file: Mapping[str, str] | None = None
) -> onnx.ModelProto:
    """ONNX model of a graph, checked.

    Args:
        graph: of the network or one stage.
        record: its metadata.
        about_file: further metadata.

    Raises:
        ErdeError: the graph is not valid.
    """
    version = versions_of("erde-cli")["erde-cli"]
    graph.doc_string = f"Image classifier with {record.exit_count} exits, from erde."
    model = onnx.helper.make_model(
        graph,
        producer_name="erde",
        producer_version=version,
        model_version=number_of(version),
        doc_string=_DOC.format(classes=len(record.class_names)),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=_IR,
    )
    onnx.helper.set_model_props(model, {**record.to_metadata(), **(about_file or {})})
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ErdeError(f"The exported graph is not valid ONNX: {error}") from error
    return model


def number_of(version: str) -> int:
    """Integer of a version of erde: major * 10^6 + minor * 10^3 + patch, so 0.1.0 is 1000."""
    major, minor, patch = (*map(int, re.findall(r"\d+", version)[:3]), 0, 0, 0)[:3]
    return major * 10**6 + minor * 10**3 + patch


def operators(graph: onnx.GraphProto) -> Iterator[str]:
    """Names of the operators of a graph and of all graphs inside it."""
    for node in graph.node:
        yield node.op_type
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from operators(attribute.g)


def _clean(graph: onnx.GraphProto) -> None:
    """Remove the exporter's notes about the source code, which contain paths."""
    graph.ClearField("metadata_props")
    graph.ClearField("doc_string")
    graph.ClearField("value_info")
    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def rename(graph: onnx.GraphProto, prefix: str, names: Mapping[str, str]) -> None:
    """Rename the values in `names`, and put a prefix before all others and all nodes."""

    def renamed(name: str) -> str:
        return names.get(name, prefix + name) if name else name

    for node in graph.node:
        node.name = prefix + node.name
        node.input[:] = [renamed(name) for name in node.input]
        node.output[:] = [renamed(name) for name in node.output]
    for tensor in graph.initializer:
        tensor.name = renamed(tensor.name)
