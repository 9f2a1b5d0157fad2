"""One ONNX file for batch 1 that stops early: each later stage is inside an `If`.

    stage 0, head 0, score < thresholds[0] ?
      then: logits of exit 0
      else: stage 1, head 1, score < thresholds[1] ?
              then: logits of exit 1
              else: stage 2, head 2 ...

The comparison is the same for every score: smaller is more certain. `probabilities` and `label`
are computed once, from the logits that result.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from erde_cli.core.export.network import ExportNetwork, ExportStage
from erde_cli.core.export.onnx_graph import graph_of, model_of
from erde_cli.core.export.record import float32_thresholds

IMAGE, THRESHOLDS = "image", "thresholds"
PROBABILITIES, LABEL, EXIT = "probabilities", "label", "exit"
_LOGITS, _TEMPERATURES = "logits", "temperatures"


class _Result(NamedTuple):
    """Names of the two outputs of every branch."""

    logits: str
    exit: str


def write_onnx_file(exported: ExportNetwork, path: Path) -> None:
    """Write the file; its thresholds are an input, by default the calibrated ones.

    Raises:
        ErdeError: the result is not valid ONNX.
    """
    graph = _whole(exported)
    onnx.save(model_of(graph, exported.record.to_metadata()), path)


def _whole(exported: ExportNetwork) -> onnx.GraphProto:
    record, classes = exported.record, exported.network.classes
    graphs = _stages(exported)
    first = graphs[0]
    first.input[0].type.tensor_type.shape.dim[0].dim_value = 1  # instead of the name "batch"
    inputs, constants = [first.input[0]], list(first.initializer)
    if record.exit_count > 1:
        early = [record.exit_count - 1]
        inputs.append(helper.make_tensor_value_info(THRESHOLDS, TensorProto.FLOAT, early))
        constants.append(numpy_helper.from_array(float32_thresholds(record.thresholds), THRESHOLDS))
    if record.temperatures is not None:
        by_exit = np.array(record.temperatures, dtype=np.float32)[:, None]
        constants.append(numpy_helper.from_array(by_exit, _TEMPERATURES))
    nodes = [
        *_from(graphs, classes, 0, _Result(_LOGITS, EXIT)),
        *_answer(record.temperatures is not None),
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
        takes = IMAGE if index == 0 else _name(index - 1, "features")
        prefix, logits = _name(index, ""), _name(index, "logits")
        module: nn.Module = ExportStage(exported, index)
        gives = [_name(index, "features"), logits, _name(index, "score")]
        if index == network.exit_count - 1:
            module, gives = nn.Sequential(network.stages[index], network.heads[index]), [logits]
        graphs.append(graph_of(module.eval(), example, takes, gives, prefix))
    return graphs


def _from(
    graphs: list[onnx.GraphProto], classes: int, index: int, result: _Result
) -> list[onnx.NodeProto]:
    """Nodes of one stage and all later ones; `result` names their outputs."""
    nodes = list(graphs[index].node)
    if index == len(graphs) - 1:
        return [*nodes, *_leave(index, result)]
    number, theta, leaves = (_name(index, what) for what in ("number", "threshold", "leaves"))
    left = _Result(_name(index, "left/logits"), _name(index, "left/exit"))
    later = _Result(_name(index + 1, "result/logits"), _name(index + 1, "result/exit"))
    rest = _from(graphs, classes, index + 1, later)
    choice = helper.make_node(
        "If", [leaves], list(result), name=_name(index, "if"),
        then_branch=_branch("leave", _leave(index, left), left, classes),
        else_branch=_branch("go_on", rest, later, classes, graphs[index + 1].initializer),
    )  # fmt: skip
    return [
        *nodes,
        helper.make_node("Constant", [], [number], name=number, value_int=index),
        helper.make_node("Gather", [THRESHOLDS, number], [theta], name=theta),
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
    """Nodes that leave at an exit; a branch cannot return an outer value without Identity."""
    logits = _name(index, "logits")
    return [
        helper.make_node("Identity", [logits], [result.logits], name=result.logits),
        helper.make_node("Constant", [], [result.exit], name=result.exit, value_ints=[index]),
    ]


def _answer(has_temperatures: bool) -> list[onnx.NodeProto]:
    """Final nodes. The label is taken before scaling, which could round two logits to one."""
    nodes = [helper.make_node("ArgMax", [_LOGITS], [LABEL], name=LABEL, axis=-1, keepdims=0)]
    scaled = _LOGITS
    if has_temperatures:
        scaled, temperature = "scaled_logits", "temperature"
        nodes += [
            helper.make_node("Gather", [_TEMPERATURES, EXIT], [temperature], name=temperature),
            helper.make_node("Div", [_LOGITS, temperature], [scaled], name=scaled),
        ]
    return [
        *nodes,
        helper.make_node("Softmax", [scaled], [PROBABILITIES], name=PROBABILITIES, axis=-1),
    ]


def _name(index: int, what: str) -> str:
    return f"stage{index}/{what}"
