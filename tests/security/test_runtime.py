"""What `erde_cli.runtime` opens is untrusted: one kind of error, and nothing else happens."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from erde_cli.runtime import BundleError, DataError, InputError, open_model

from ..core.export.test_export import record_of
from .test_images import png, text_bomb

SIDE, CLASSES = 8, 5
RIGHT = {"label": [0], "exit": [0], "probabilities": [[1.0, 0, 0, 0, 0]]}


def write_model(path: Path, answers: dict[str, Any] = RIGHT, **metadata: str) -> onnx.ModelProto:
    """A file that always gives the same answers, with metadata of erde."""
    types = {"label": np.int64, "exit": np.int64, "probabilities": np.float32}
    tensors = {
        name: onnx.numpy_helper.from_array(np.array(value, types[name]), f"{name}_value")
        for name, value in answers.items()
    }
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, [1, SIDE, SIDE, 3])
    graph = helper.make_graph(
        [helper.make_node("Identity", [f"{name}_value"], [name]) for name in tensors],
        "made", [image],
        [helper.make_tensor_value_info(name, one.data_type, None) for name, one in tensors.items()],
        initializer=list(tensors.values()),
    )  # fmt: skip
    opset = helper.make_opsetid("", 18)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    helper.set_model_props(model, record_of([], image_size=SIDE).to_metadata() | metadata)
    onnx.save(model, path)
    return model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    write_model(path)
    [row] = open_model(path).predict(np.zeros((SIDE, SIDE, 3), np.uint8))
    assert (row.label, row.exit, row.confidence, row.entropy) == (0, 0, 1.0, 0.0)
    return path


def refused(path: Path) -> str:
    """Message of the error; it states what was expected, and what to type next."""
    with pytest.raises(BundleError) as caught:
        open_model(path)
    assert isinstance(caught.value, InputError)
    assert caught.value.expected
    assert caught.value.hint
    return str(caught.value)


@pytest.mark.parametrize("location", ["../../outside.bin", "/etc/passwd", "weights.bin"])
def test_no_other_file_is_opened(
    location: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = onnx.load(model)
    tensor = content.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    model.write_bytes(content.SerializeToString())
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: pytest.fail("opened"))
    assert "is in another file" in refused(model)


@pytest.mark.parametrize("dims", [[2**40], [2**62, 2**62], [-1], [2**31, 1, 1, 1]])
def test_a_tensor_that_claims_to_be_huge_is_refused(dims: list[int], model: Path) -> None:
    content = onnx.load(model)
    content.graph.initializer[0].dims[:] = dims
    model.write_bytes(content.SerializeToString())
    assert "cannot be run" in refused(model)


@pytest.mark.parametrize(
    "metadata",
    [
        {"erde.image_size": "100000"}, {"erde.image_size": "1" * 5000}, {"erde.image_size": "NaN"},
        {"erde.class_names": '["a", "\\u001b[2J"]'}, {"erde.class_names": "[" * 10_000},
        {"erde.class_names": '["a", "../b"]'}, {"erde.cumulative_macs": "[0, 1e999]"},
        {"erde.cumulative_macs": f"[{2**63}]"}, {"erde.cumulative_macs": "[1" + "0" * 400 + "]"},
        {"erde.calibration": '{"thresholds": [1], "thresholds": [1]}'},
        {"erde.calibration": '{"thresholds": ["' + "b" * 17_000_000 + '"]}'},
        {"erde.calibration": '{"thresholds": [], "criterion": 1' + "0" * 400 + "}"},
        {"erde.pixels": "7"},
        {"erde.normalisation": '{"mean": [0, 0, 0], "mean": [0, 0, 0], "std": [1, 1, 1]}'},
        {"erde.class_names": '["a", "' + "b" * 17_000_000 + '"]'}, {"erde.format": "0"},
    ],
)  # fmt: skip
def test_metadata_that_erde_does_not_write_are_refused(
    metadata: dict[str, str], tmp_path: Path
) -> None:
    write_model(tmp_path / "model.onnx", **metadata)
    message = refused(tmp_path / "model.onnx")
    assert "is not what erde export writes" in message
    assert len(message) < 1000
    assert message.replace("\n", "").isprintable()


def test_what_is_no_file_of_erde_is_refused(tmp_path: Path) -> None:
    pipe, text, empty = tmp_path / "pipe", tmp_path / "a.onnx", tmp_path / "b.onnx"
    os.mkfifo(pipe)
    text.write_text("no model")
    empty.touch()
    ort = tmp_path / "c.onnx"  # ONNX Runtime's own format, which could name other files
    ort.write_bytes(b"\x20\0\0\0ORTM" + bytes(100))
    large = tmp_path / "d.onnx"
    with large.open("wb") as file:
        file.truncate(2**31)  # takes no space
    assert "larger than" in refused(large)
    for path in (pipe, text, empty, ort, tmp_path, Path("/dev/zero"), tmp_path / "none"):
        assert refused(path)


@pytest.mark.parametrize(
    "changed",
    [
        {"label": [5]}, {"label": [-1]}, {"exit": [1]}, {"label": [0, 0]}, {"label": 0},
        {"probabilities": [[1.0]]}, {"probabilities": [[float("nan")] * CLASSES]},
    ],
)  # fmt: skip
def test_answers_that_no_export_gives_are_refused(changed: dict[str, Any], tmp_path: Path) -> None:
    write_model(tmp_path / "model.onnx", RIGHT | changed)
    opened = open_model(tmp_path / "model.onnx")
    with pytest.raises(BundleError):
        opened.predict(np.zeros((SIDE, SIDE, 3), np.uint8))


def test_a_bomb_is_an_error_of_the_image(model: Path, tmp_path: Path) -> None:
    opened = open_model(model)
    for content in (png(60_000, 60_000), png(8, 8, text_bomb(80), rows=8), b"%!PS-Adobe-3.0 EPSF"):
        (tmp_path / "bomb.png").write_bytes(content)
        for image in (content, tmp_path / "bomb.png"):
            with pytest.raises(DataError, match="cannot be read as an image"):
                opened.predict(image)
