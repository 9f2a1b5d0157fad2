"""The check vector of an export: its pixels, its answers, and what is noticed with it."""

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from pydantic import ValidationError

from erde_cli.core.errors import BundleError, ErdeError
from erde_cli.core.export.check_vector import TOLERANCE, CheckVector, vector_pixels
from erde_cli.core.export.network import export_network
from erde_cli.core.export.onnx_logits import LogitsFiles, open_any
from erde_cli.core.export.onnx_runtime import open_exported
from erde_cli.core.export.onnx_single import write_onnx_file
from erde_cli.core.export.onnx_staged import write_stages
from erde_cli.core.export.record import ExportRecord
from erde_cli.core.export.self_check import (
    check_vector,
    expected_vector,
    observed_vector,
    require_right,
)
from erde_cli.core.export.torch_export import TorchExported, write_torch_export
from erde_cli.core.inference.routing import all_scores
from erde_cli.core.models.architecture import Architecture
from erde_cli.core.models.early_exit import EarlyExitNet

from .test_export import record_of, trained_like

TEMPERATURES = [0.7, 1.5]


@pytest.fixture(scope="module")
def model() -> EarlyExitNet:
    return trained_like(Architecture("resnet", 8, 4, (1,), "gap", classes=5, image_size=16))


@pytest.fixture(scope="module")
def record(model: EarlyExitNet) -> ExportRecord:
    """With thresholds that send no image to the last exit, so that the check must force it."""
    bare = record_of([9.0], TEMPERATURES)
    return bare.model_copy(update={"test": expected_vector(model, bare)})


@pytest.fixture(scope="module")
def one_file(
    model: EarlyExitNet, record: ExportRecord, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("check") / "one.onnx"
    write_onnx_file(export_network(model, record), path)
    return path


def vector_of(record: ExportRecord) -> CheckVector:
    assert record.test is not None
    return record.test


def test_the_pixels_follow_the_written_formula() -> None:
    assert vector_pixels(300, 3)[7, 2].tolist() == [66, 80, 94]  # by hand: exports keep it
    text = vector_of_formula()
    for size, n in ((8, 0), (16, 7), (300, 3)):
        pixels = vector_pixels(size, n)
        assert pixels.shape == (size, size, 3)
        for y, x, c in ((0, 0, 0), (1, 5, 2), (7, 2, 1), (size - 1, size - 2, 2)):
            assert pixels[y, x, c] == eval(text, {"x": x, "y": y, "c": c, "n": n})  # noqa: S307


def vector_of_formula() -> str:
    formula = CheckVector.model_json_schema()["properties"]["formula"]["const"]
    left, right = formula.split(" = ")
    assert left == "pixel[y][x][c]"
    return str(right).replace("mod", "%")


def test_answers_are_those_of_the_network(model: EarlyExitNet, record: ExportRecord) -> None:
    vector = vector_of(record)
    pixels = vector_pixels(16, vector.n)[None]
    images = torch.from_numpy(record.model_copy(update={"preprocessing": False}).inputs(pixels))
    with torch.inference_mode():
        logits = model(images)
        scores = all_scores(logits, TEMPERATURES)[0]
        shares = [(logits[0, i] / TEMPERATURES[i]).softmax(dim=-1) for i in (0, 1)]
    assert [one.exit for one in vector.exits] == [0, 1]
    assert [one.label for one in vector.exits] == logits[0].argmax(dim=-1).tolist()
    assert [one.score for one in vector.exits] == pytest.approx(scores.tolist(), abs=1e-4)
    likely = [float(share.max()) for share in shares]
    assert [one.probability for one in vector.exits] == pytest.approx(likely, abs=1e-4)


def test_every_format_answers_its_vector(
    model: EarlyExitNet, record: ExportRecord, one_file: Path, tmp_path: Path
) -> None:
    for preprocessing in (True, False):
        changed = record.model_copy(update={"preprocessing": preprocessing})
        network = export_network(model, changed)
        (tmp_path / "stages").mkdir(exist_ok=True)
        write_stages(network, tmp_path / "stages")
        write_torch_export(network, tmp_path / "all.pt2")
        opened = [open_exported(tmp_path / "stages"), TorchExported(tmp_path / "all.pt2")]
        for exported in (*opened, open_exported(one_file)):
            rows = check_vector(exported, vector_of(exported.record))
            assert [one.found.exit for one in rows] == [0, 1]
            assert all(one.is_right for one in rows), rows
            assert max(one.difference for one in rows) < 1e-4
            require_right(rows)


def test_files_that_return_logits_answer_their_vector(model: EarlyExitNet, tmp_path: Path) -> None:
    bare = record_of([9.0], TEMPERATURES)
    for number, changed in enumerate(
        ({"static_exit": 1}, {"static_exit": 0, "portable": True}, {"portable": True})
    ):
        described = bare.model_copy(update=changed).with_input()
        network = export_network(
            model, described.model_copy(update={"test": expected_vector(model, described)})
        )
        place = tmp_path / f"{number}.onnx"
        if described.static_exit is None:
            place.mkdir()
            write_stages(network, place)
        else:
            write_onnx_file(network, place)
        exported = open_any(place)
        assert isinstance(exported, LogitsFiles)
        assert ExportRecord.model_validate(exported.record.model_dump()) == network.record
        rows = check_vector(exported, vector_of(exported.record))
        assert [one.found.exit for one in rows] == list(described.answering_exits)
        assert max(one.difference for one in rows) < 1e-4
        require_right(rows)
        other = exported.record.model_dump()
        other["test"]["exits"][0]["exit"] = {0: 1, 1: 0, None: 2}[described.static_exit]
        with pytest.raises(ValidationError, match="an exit"):
            ExportRecord.model_validate(other)


def test_a_changed_weight_is_noticed(one_file: Path, tmp_path: Path) -> None:
    network = onnx.load(one_file)
    scale = next(one for one in network.graph.initializer if one.dims == [3])
    changed = numpy_helper.to_array(scale) * np.float32(1.1)
    scale.CopyFrom(numpy_helper.from_array(changed, scale.name))
    onnx.save(network, tmp_path / "changed.onnx")
    exported = open_exported(tmp_path / "changed.onnx")
    rows = check_vector(exported, vector_of(exported.record))
    assert max(one.difference for one in rows) > TOLERANCE
    assert not all(one.is_right for one in rows)
    with pytest.raises(ErdeError, match="was not kept"):
        require_right(rows)
    scale.CopyFrom(numpy_helper.from_array(changed * np.float32(np.nan), scale.name))
    onnx.save(network, tmp_path / "nan.onnx")
    exported = open_exported(tmp_path / "nan.onnx")
    with pytest.raises(BundleError, match="not a number"):
        check_vector(exported, vector_of(exported.record))


def test_another_label_or_exit_is_wrong_within_the_tolerance_too(one_file: Path) -> None:
    exported = open_exported(one_file)
    (right, _) = check_vector(exported, vector_of(exported.record))
    for changed in ({"label": (right.found.label + 1) % 5}, {"exit": 1}):
        wrong = type(right)(right.expected, right.found.model_copy(update=changed), 1.0)
        assert not wrong.is_right


def test_an_int8_export_is_compared_with_its_own_answers(one_file: Path) -> None:
    exported = open_exported(one_file)
    vector = observed_vector(exported, 5)
    assert vector.n == 5
    assert all(one.is_right for one in check_vector(exported, vector))


def test_a_vector_of_other_exits_and_labels_is_refused(record: ExportRecord) -> None:
    content = record.model_dump()
    for key, value in (("exit", 2), ("label", 5), ("probability", 1.5), ("score", math.nan)):
        first, *others = content["test"]["exits"]
        exits = [{**first, key: value}, *others]
        with pytest.raises(ValidationError, match=key):
            ExportRecord.model_validate({**content, "test": {**content["test"], "exits": exits}})
    first, second = content["test"]["exits"]
    for exits in ([first], [second], [second, first], [first, first], [first, second, second]):
        with pytest.raises(ValidationError, match="an exit is missing, repeated or unknown"):
            ExportRecord.model_validate({**content, "test": {**content["test"], "exits": exits}})
    for macs in (0, 2**63, 10**400):
        with pytest.raises(ValidationError, match="cumulative_macs"):
            ExportRecord.model_validate({**content, "cumulative_macs": [1, macs]})
    for changed in ({"n": 8}, {"n": -1}, {"tolerance": 0}, {"formula": "x"}, {"exits": []}):
        with pytest.raises(ValidationError):
            ExportRecord.model_validate({**content, "test": {**content["test"], **changed}})
