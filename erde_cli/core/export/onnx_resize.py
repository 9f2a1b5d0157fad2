"""Resize and crop inside an ONNX graph, for `erde export --input any`.

Resize on uint8 pixels in channels last, linear with antialiasing, rounds in ONNX Runtime almost as
Pillow does: at most 1 level apart. Other runtimes lack it or differ more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from erde_cli.core.arrays import ImageArray
from erde_cli.core.errors import ErdeError
from erde_cli.core.export.input_record import InputRecord
from erde_cli.core.images.pixels import PixelRules, to_rgb

_RESIZED = "resize/image"
_LEVELS = 1  # of 255, between ONNX Runtime and Pillow


def prepend_resize(graph: onnx.GraphProto, described: InputRecord) -> None:
    """Let a graph take a whole image, uint8 [1, height, width, 3] of any size.

    Args:
        graph: takes an image of the network's size; changed in place.
        described: its input.
    """
    name = described.name
    for node in graph.node:
        node.input[:] = [_RESIZED if one == name else one for one in node.input]
    nodes, constants = _nodes(described)
    kept = list(graph.node)
    graph.ClearField("node")
    graph.node.extend([*nodes, *kept])
    graph.initializer.extend(constants)
    image = next(one for one in graph.input if one.name == name)
    shape: list[int | str] = [1, "height", "width", 3]
    image.CopyFrom(helper.make_tensor_value_info(name, TensorProto.UINT8, shape))


def require_pillows_pixels(path: Path, described: InputRecord, rules: PixelRules) -> None:
    """Check that a file resizes as Pillow does, for images of several sizes.

    Raises:
        ErdeError: a pixel differs by more than 1 level.
    """
    import onnxruntime

    model = onnx.load(path)
    model.graph.output.append(onnx.ValueInfoProto(name=_RESIZED))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    side = described.size
    for height, width in (
        (side, side), (2 * side + 3, side + 1), (side // 2 + 1, 3 * side), (3, 5), (480, 641),
    ):  # fmt: skip
        image = _picture(height, width)
        found = session.run([_RESIZED], {described.name: image[None]})[0][0]
        expected = np.asarray(to_rgb(Image.fromarray(image), side, rules)[0])
        largest = int(np.abs(found.astype(int) - expected).max())
        if largest > _LEVELS:
            raise ErdeError(
                "The file does not resize as Pillow does, so it was not kept.",
                got=f"{largest} of 255 levels apart for an image of {width} x {height}",
                expected=f"at most {_LEVELS}",
            )


def _picture(height: int, width: int) -> ImageArray:
    """Smooth colours under noise, uint8 [height, width, 3]."""
    y, x, c = np.ogrid[:height, :width, :3]
    smooth = 96 + 64 * np.sin(x / 23 + c) + 32 * np.cos(y / 17)
    noise = np.random.default_rng(0).integers(0, 64, (height, width, 3))
    picture: ImageArray = (smooth + noise).astype(np.uint8)
    return picture


def _nodes(described: InputRecord) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Nodes from the whole image to the network's size, and their constants."""
    side, short = described.size, described.short_side
    if short is None:
        return [_resize("sides", _RESIZED, described.name)], [_whole("sides", [side, side])]
    constants = [
        _whole("short", [short]), _whole("side", [side]), _whole("axes", [1, 2]),
        _whole("first", [1]), _whole("last", [3]), _whole("of_shape", [0]),
        numpy_helper.from_array(np.array([0.5], np.float32), "resize/half"),
    ]  # fmt: skip
    nodes = [
        _node("Shape", [described.name], "shape"),
        _node("Slice", ["shape", "first", "last", "of_shape"], "given"),  # height, width
        _node("ReduceMin", ["given", "of_shape"], "shortest", keepdims=1),
        _node("Mul", ["given", "short"], "scaled"),
        _node("Div", ["scaled", "shortest"], "sides"),  # integers: rounded down
        _resize("sides", "resize/whole", described.name),
        _node("Sub", ["sides", "side"], "left_over"),
        _node("Cast", ["left_over"], "left_over_float", to=TensorProto.FLOAT),
        _node("Mul", ["left_over_float", "half"], "margin"),
        _node("Round", ["margin"], "rounded"),  # half to even, as Python rounds
        _node("Cast", ["rounded"], "start", to=TensorProto.INT64),
        _node("Add", ["start", "side"], "end"),
        _node("Slice", ["whole", "start", "end", "axes"], "image"),
    ]
    return nodes, constants


def _node(kind: str, takes: list[str], gives: str, **attributes: Any) -> onnx.NodeProto:
    inputs = [one if one == "image" else f"resize/{one}" for one in takes]
    name = f"resize/{gives}"
    return helper.make_node(kind, inputs, [name], name=name, **attributes)


def _resize(sides: str, gives: str, image: str) -> onnx.NodeProto:
    return helper.make_node(
        "Resize", [image, "", "", f"resize/{sides}"], [gives], name=gives, mode="linear",
        coordinate_transformation_mode="half_pixel", antialias=1, exclude_outside=1, axes=[1, 2],
    )  # fmt: skip


def _whole(name: str, values: list[int]) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), f"resize/{name}")
