"""One ONNX file for batch 1 that stops early: each later stage is inside an `If`.

    stage 0, head 0, score < thresholds[0] ?
      then: logits of exit 0
      else: stage 1, head 1, score < thresholds[1] ?
              then: logits of exit 1
              else: stage 2, head 2 ...

The comparison is the same for every score: smaller is more certain. `probabilities` and `label`
are computed once, from the resulting logits.

Inputs: one image, thresholds float32 [exits - 1]. Outputs: probabilities float32 [1, classes],
label int64 [1], exit int64 [1].
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from erde_cli.core.export.network import ExportNetwork, ExportStage
from erde_cli.core.export.onnx_graph import graph_of, model_of, rename
from erde_cli.core.export.onnx_logits import write_static
from erde_cli.core.export.onnx_resize import prepend_resize
from erde_cli.core.export.record import ExportRecord, Quantisation
from erde_cli.core.runner.answers import float32_thresholds
from erde_cli.core.runner.metadata import PREFIX

IMAGE, THRESHOLDS = "image", "thresholds"
PROBABILITIES, LABEL, EXIT = "probabilities", "label", "exit"
_LOGITS, _TEMPERATURES = "logits", "temperatures"
_TRANSPARENT = ("MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze")


class _Result(NamedTuple):
    """Names of a branch's outputs: logits float32 [1, classes], exit int64 [1]."""

    logits: str
    exit: str


def write_onnx_file(exported: ExportNetwork, path: Path) -> None:
    """Write the file. Its input `thresholds` is optional; the calibrated ones are the default.

    With `static_exit` in the record it is a static network up to that exit.

    Raises:
        ErdeError: the result is not valid ONNX.
    """
    record = exported.record
    if record.static_exit is not None:
        write_static(exported, path, record.static_exit)
        return
    graph = _graph(_stages(exported), record)
    if record.described_input.resized_by == "graph":
        prepend_resize(graph, record.described_input)
    onnx.save(model_of(graph, record), path)


def write_int8_file(
    stages: Sequence[onnx.GraphProto], record: ExportRecord, how: Quantisation, path: Path
) -> None:
    """Write the file from quantised stages of a staged export.

    Raises:
        ErdeError: the result is not valid ONNX.
    """
    last = len(stages) - 1
    graphs = [_from_staged(graph, index, index == last) for index, graph in enumerate(stages)]
    about_file = {f"{PREFIX}quantisation": how.model_dump_json()}
    onnx.save(model_of(_graph(graphs, record), record, about_file), path)


def _from_staged(staged: onnx.GraphProto, index: int, is_last: bool) -> onnx.GraphProto:
    """A stage of a staged export as `_stages` writes it: features, logits and score."""
    maker = {name: node for node in staged.node for name in node.output}
    names = {
        staged.input[0].name: IMAGE if index == 0 else _name(index - 1, "features"),
        maker["label"].input[0]: _name(index, "logits"),
    }
    held: list[onnx.NodeProto] = []
    if not is_last:
        names |= {"next_features": _name(index, "features"), "score": _name(index, "score")}
        if maker["next_features"].op_type in _TRANSPARENT:
            names["next_features"] = _name(index, "pooled")
            held = [_held(names["next_features"], _name(index, "features"))]
    needed, waiting = set(), list(names)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += maker[name].input if name in maker else []
    graph = onnx.GraphProto(name=staged.name)
    graph.input.add().CopyFrom(staged.input[0])
    graph.input[0].name = names[staged.input[0].name]
    graph.node.extend(node for node in staged.node if needed & set(node.output))
    graph.initializer.extend(tensor for tensor in staged.initializer if tensor.name in needed)
    rename(graph, _name(index, ""), names)
    graph.node.extend(held)
    return graph


def _held(value: str, result: str) -> onnx.NodeProto:
    """A copy of a value that no optimiser removes: its maximum over one input.

    ONNX Runtime (1.32) moves a DequantizeLinear behind nodes that only move values, and aborts the
    process if an `If` follows directly.
    """
    return helper.make_node("Max", [value], [result], name=result)


def _graph(graphs: Sequence[onnx.GraphProto], record: ExportRecord) -> onnx.GraphProto:
    classes = len(record.class_names)
    first = graphs[0]
    # Batch 1, not the exporter's symbolic "batch", because a branch serves one image.
    first.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    inputs, constants = [first.input[0]], list(first.initializer)
    if record.exit_count > 1:
        shape = [record.exit_count - 1]
        inputs.append(helper.make_tensor_value_info(THRESHOLDS, TensorProto.FLOAT, shape))
        constants.append(numpy_helper.from_array(float32_thresholds(record.thresholds), THRESHOLDS))
    if record.temperatures is not None:
        column = np.array(record.temperatures, dtype=np.float32)[:, None]  # Gather gives [1, 1]
        constants.append(numpy_helper.from_array(column, _TEMPERATURES))
    nodes = [
        *_nodes_from(graphs, classes, 0, _Result(_LOGITS, EXIT)),
        *_final_nodes(record.temperatures is not None),
    ]
    outputs = [
        helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, [1, classes]),
        helper.make_tensor_value_info(LABEL, TensorProto.INT64, [1]),
        helper.make_tensor_value_info(EXIT, TensorProto.INT64, [1]),
    ]
    return helper.make_graph(nodes, "erde", inputs, outputs, initializer=constants)


def _stages(exported: ExportNetwork) -> list[onnx.GraphProto]:
    """Graph of each stage with its head; names are unique across the graphs."""
    network, graphs = exported.network, []
    for index, example in enumerate(exported.stage_examples()):
        input_name = IMAGE if index == 0 else _name(index - 1, "features")
        prefix, logits = _name(index, ""), _name(index, "logits")
        if index == network.exit_count - 1:
            module: nn.Module = nn.Sequential(network.stages[index], network.heads[index])
            output_names = [logits]
        else:
            module = ExportStage(exported, index)
            output_names = [_name(index, "features"), logits, _name(index, "score")]
        graphs.append(graph_of(module.eval(), example, input_name, output_names, prefix))
    return graphs


def _nodes_from(
    graphs: Sequence[onnx.GraphProto], classes: int, index: int, result: _Result
) -> list[onnx.NodeProto]:
    """Nodes of one stage and all later ones; `result` names their outputs."""
    nodes = list(graphs[index].node)
    if index == len(graphs) - 1:
        return [*nodes, *_leave(index, result)]
    position, theta, leaves = (_name(index, what) for what in ("number", "threshold", "leaves"))
    now = _Result(_name(index, "left/logits"), _name(index, "left/exit"))
    later = _Result(_name(index + 1, "result/logits"), _name(index + 1, "result/exit"))
    rest = _nodes_from(graphs, classes, index + 1, later)
    choice = helper.make_node(
        "If", [leaves], list(result), name=_name(index, "if"),
        then_branch=_branch("leave", _leave(index, now), now, classes),
        else_branch=_branch("go_on", rest, later, classes, graphs[index + 1].initializer),
    )  # fmt: skip
    return [
        *nodes,
        helper.make_node("Constant", [], [position], name=position, value_int=index),
        helper.make_node("Gather", [THRESHOLDS, position], [theta], name=theta),
        helper.make_node("Less", [_name(index, "score"), theta], [leaves], name=leaves),
        choice,
    ]


def _branch(
    name: str,
    nodes: list[onnx.NodeProto],
    result: _Result,
    classes: int,
    constants: Iterable[onnx.TensorProto] = (),
) -> onnx.GraphProto:
    outputs = [
        helper.make_tensor_value_info(result.logits, TensorProto.FLOAT, [1, classes]),
        helper.make_tensor_value_info(result.exit, TensorProto.INT64, [1]),
    ]
    return helper.make_graph(nodes, name, [], outputs, initializer=list(constants))


def _leave(index: int, result: _Result) -> list[onnx.NodeProto]:
    """Nodes that leave at an exit. Identity: a branch cannot return an outer value directly."""
    logits = _name(index, "logits")
    return [
        helper.make_node("Identity", [logits], [result.logits], name=result.logits),
        helper.make_node("Constant", [], [result.exit], name=result.exit, value_ints=[index]),
    ]


def _final_nodes(has_temperatures: bool) -> list[onnx.NodeProto]:
    """Final nodes. The label is taken before scaling, which could make two logits equal."""
    nodes = [helper.make_node("ArgMax", [_LOGITS], [LABEL], name=LABEL, axis=-1, keepdims=0)]
    scaled = _LOGITS
    if has_temperatures:
        scaled, temperature = "scaled_logits", "temperature"
        nodes += [
            helper.make_node("Gather", [_TEMPERATURES, EXIT], [temperature], name=temperature),
            helper.make_node("Div", [_LOGITS, temperature], [scaled], name=scaled),
        ]
    softmax = helper.make_node("Softmax", [scaled], [PROBABILITIES], name=PROBABILITIES, axis=-1)
    return [*nodes, softmax]


def _name(index: int, what: str) -> str:
    return f"stage{index}/{what}"
