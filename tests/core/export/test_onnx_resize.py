"""A file that takes images of any size resizes and crops as Pillow does."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

from erde_cli.core.errors import ErdeError
from erde_cli.core.export.network import export_network
from erde_cli.core.export.onnx_resize import prepend_resize, require_pillows_pixels
from erde_cli.core.export.onnx_runtime import open_exported
from erde_cli.core.export.onnx_single import write_onnx_file
from erde_cli.core.export.operators import RESIZING
from erde_cli.core.export.record import ExportRecord
from erde_cli.core.images.pixels import PixelRules, to_rgb
from erde_cli.core.models.architecture import Architecture
from erde_cli.core.runner.metadata import read_metadata

from .test_export import PIXELS, record_of, trained_like

RULES = [PixelRules(), PixelRules(crop_share=0.875), PixelRules(crop_share=0.3)]
SIDES = [(16, 16), (1, 1), (18, 17), (17, 18), (33, 31), (9, 640), (300, 7), (53, 100), (15, 90)]


def any_record(rules: PixelRules) -> ExportRecord:
    return record_of([0.5], pixels=rules.to_json()).with_input("graph")


@pytest.fixture(scope="module")
def squared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that takes images of the network's size."""
    path = tmp_path_factory.mktemp("squared") / "one.onnx"
    model = trained_like(Architecture("resnet", 8, 4, (1,), "gap", classes=5, image_size=16))
    write_onnx_file(export_network(model, record_of([0.5])), path)
    return path


@pytest.fixture(scope="module", params=RULES, ids=str)
def written(
    request: pytest.FixtureRequest, squared: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, PixelRules]:
    """The same for images of any size."""
    path = tmp_path_factory.mktemp("any") / "any.onnx"
    model, record = onnx.load(squared), any_record(request.param)
    prepend_resize(model.graph, record.described_input)
    onnx.helper.set_model_props(model, record.to_metadata())
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path, request.param


def test_pixels_are_at_most_one_level_from_pillow(written: tuple[Path, PixelRules]) -> None:
    path, rules = written
    model = onnx.load(path)
    model.graph.output.append(onnx.ValueInfoProto(name="resize/image"))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    noise = np.random.default_rng(0)
    for height, width in SIDES:
        image = noise.integers(0, 256, (height, width, 3), dtype=np.uint8)
        found = session.run(["resize/image"], {"image": image[None]})[0][0]
        expected = np.asarray(to_rgb(Image.fromarray(image), 16, rules)[0])
        assert found.shape == (16, 16, 3)
        assert np.abs(found.astype(int) - expected).max() <= 1, (height, width)


def test_pixels_that_are_already_squared_keep_their_answers(
    written: tuple[Path, PixelRules], squared: Path
) -> None:
    """So that predict, verification and the check vector need no other pixels."""
    found, expected = open_exported(written[0]), open_exported(squared)
    for thresholds in ([0.0], [np.inf]):
        mine, others = found.answer(PIXELS, thresholds), expected.answer(PIXELS, thresholds)
        np.testing.assert_allclose(mine.probabilities, others.probabilities, atol=1e-6)


def test_a_file_that_resizes_otherwise_is_refused(
    written: tuple[Path, PixelRules], tmp_path: Path
) -> None:
    path, rules = written
    described = any_record(rules).described_input
    require_pillows_pixels(path, described, rules)
    model = onnx.load(path)
    resize = next(node for node in model.graph.node if node.op_type == "Resize")
    mode = next(one for one in resize.attribute if one.name == "coordinate_transformation_mode")
    mode.s = b"asymmetric"
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(ErdeError, match="does not resize as Pillow does"):
        require_pillows_pixels(tmp_path / "other.onnx", described, rules)


def test_it_consists_of_the_listed_operators(written: tuple[Path, PixelRules]) -> None:
    nodes = onnx.load(written[0]).graph.node
    kinds = {node.op_type for node in nodes if node.name.startswith("resize/")}
    assert kinds == (RESIZING if written[1].resize == "crop" else {"Resize"})


def test_the_metadata_name_the_runtime(written: tuple[Path, PixelRules]) -> None:
    described = open_exported(written[0]).record.input
    assert described is not None
    assert (described.resized_by, described.only_runtime) == ("graph", "onnxruntime")


@pytest.mark.parametrize(("size", "share"), [(32, 0.875), (18, 0.875), (224, 0.875), (8, 0.1)])
def test_a_frame_has_the_short_side_and_the_pixels_in_the_middle(size: int, share: float) -> None:
    rules = PixelRules(crop_share=share)
    record = record_of([0.5], pixels=rules.to_json(), image_size=size).with_input("graph")
    short = record.described_input.short_side
    image = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    metadata = read_metadata(record.model_dump(mode="json"))
    for whole, one in zip(metadata.framed(image), image, strict=True):
        assert whole.shape == (short, short, 3)
        back = np.asarray(to_rgb(Image.fromarray(whole), size, rules)[0])
        np.testing.assert_array_equal(back, one)
