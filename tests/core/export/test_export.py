"""Exports beyond what the command shows: other networks, thresholds in float32, manifests."""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from erde_cli.core.calibration.thresholds_file import (
    ThresholdsDocument,
    thresholds_document,
)
from erde_cli.core.device import make_context
from erde_cli.core.export.network import export_network
from erde_cli.core.export.onnx_prediction import OnnxPredictor
from erde_cli.core.export.onnx_runtime import open_exported
from erde_cli.core.export.onnx_single import write_onnx_file
from erde_cli.core.export.onnx_staged import write_stages
from erde_cli.core.export.record import ExportRecord
from erde_cli.core.export.torch_export import TorchExported, write_torch_export
from erde_cli.core.images.pixels import PixelRules
from erde_cli.core.inference.exit_rule import ExitRule
from erde_cli.core.inference.routing import all_scores, first_exit, route
from erde_cli.core.models.architecture import Architecture, build_model
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.runner.answers import float32_thresholds
from erde_cli.core.thresholds.scores import ENTROPY, Score

from ...other_scores import OTHERS, name_of, shipped

FIGURES = {
    "accuracy": 0.5, "full_accuracy": 0.5, "agreement": 0.5, "expected_macs": 1.0,
    "expected_latency": None, "balanced_accuracy": None, "full_balanced_accuracy": None,
}  # fmt: skip


def record_of(
    thresholds: list[float],
    temperatures: list[float] | None = None,
    score: Score = ENTROPY,
    **changed: Any,
) -> ExportRecord:
    exits = len(thresholds) + 1
    figures = {**FIGURES, "exit_rates": [1 / exits] * exits}
    point = {
        **figures, "thresholds": thresholds, "held_out": None, "half_b_exits": [1] * exits,
        "certified": False, "bounds": None,
    }  # fmt: skip
    calibration = thresholds_document({
        **figures, "criterion": score.name, "unit": score.unit,
        "thresholds": thresholds, "temperatures": temperatures,
        "target": {"kind": "max_drop", "value": 1, "unit": "points", "how": "searched",
                   "metric": "accuracy"},
        "met": True, "met_where_chosen": True, "certified": False, "source": "calibration split",
        "split_fingerprint": "", "images": 2, "precision": "float32", "device": "cpu",
        "weights_digest": "", "held_out": figures, "exit_accuracy": None,
        "exit_balanced_accuracy": None,
        "half_b_exits": [1] * exits, "latency": None, "frontier": [point], "certificate": None,
    })  # fmt: skip
    content = {
        "format": 1, "class_names": [f"class {number}" for number in range(5)],
        "image_size": 16, "pixels": PixelRules().to_json(), "preprocessing": True,
        "normalisation": {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.1]},
        "weights_digest": "d", "calibration": calibration.model_dump(), "versions": {},
        "cumulative_macs": list(range(1, exits + 1)),
    }  # fmt: skip
    return ExportRecord.model_validate({**content, **changed})


def trained_like(architecture: Architecture) -> EarlyExitNet:
    """A network whose norms have something to fold, and whose heads say something."""
    model = build_model(architecture).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                for values in (module.weight, module.running_var):
                    assert values is not None
                    values.uniform_(0.5, 1.5, generator=generator)
                for values in (module.bias, module.running_mean):
                    assert values is not None
                    values.uniform_(-0.5, 0.5, generator=generator)
    return model


PIXELS = np.random.default_rng(1).integers(0, 256, (7, 16, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("backbone", "depth", "cuts", "head"),
    [("wrn", 10, (1, 2), "erde"), ("vgg", 8, (3,), "gap"), ("resnet", 8, (), "gap")],
)
def test_every_backbone_answers_as_route_does(
    tmp_path: Path, backbone: str, depth: int, cuts: tuple[int, ...], head: str
) -> None:
    architecture = Architecture(backbone, depth, 4, cuts, head, classes=5, image_size=16)
    model = trained_like(architecture)
    record = record_of([0.0] * len(cuts), [0.7, 1.5, 2.0][: len(cuts) + 1])
    exported = export_network(model, record)
    images = torch.from_numpy(record.model_copy(update={"preprocessing": False}).inputs(PIXELS))
    write_onnx_file(exported, tmp_path / "one.onnx")
    (tmp_path / "stages").mkdir()
    write_stages(exported, tmp_path / "stages")
    with torch.inference_mode():
        scores = all_scores(model(images), record.temperatures)
    middle = scores.median(dim=0).values.tolist()[:-1]
    shown = set()
    for opened in (open_exported(tmp_path / name, threads=1) for name in ("one.onnx", "stages")):
        for thresholds in itertools.product(*([0.0, theta + 1e-4, math.inf] for theta in middle)):
            routed = route(model, images, thresholds, record.temperatures)
            found = opened.answer(PIXELS, thresholds)
            assert found.exits.tolist() == routed.exit.tolist()
            assert found.labels.tolist() == routed.logits.argmax(dim=-1).tolist()
            shown |= set(found.exits.tolist())
    assert shown == set(range(len(cuts) + 1))


@pytest.mark.parametrize("score", OTHERS, ids=name_of)
def test_an_export_leaves_by_the_score_of_its_calibration(
    tmp_path: Path, score: Score, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped(score, monkeypatch)
    model = trained_like(Architecture("resnet", 8, 4, (1, 2), "gap", classes=5, image_size=16))
    warm = [0.7, 1.5, 2.0]
    images = torch.from_numpy(record_of([0, 0], preprocessing=False).inputs(PIXELS))
    with torch.inference_mode():
        scores = all_scores(model(images), warm, score)
        entropies = all_scores(model(images), warm)
    middle = [float(column.sort().values[[2, 3]].mean()) for column in scores.T[:-1]]
    exits = route(model, images, middle, warm, score).exit.tolist()
    assert len(set(exits)) > 1
    assert exits != first_exit(entropies, middle).tolist()
    exported = export_network(model, record_of(middle, warm, score))
    write_onnx_file(exported, tmp_path / "one.onnx")
    (tmp_path / "stages").mkdir()
    write_stages(exported, tmp_path / "stages")
    write_torch_export(exported, tmp_path / "all.pt2")
    one, staged = (open_exported(tmp_path / name, threads=1) for name in ("one.onnx", "stages"))
    for opened in (one, staged, TorchExported(tmp_path / "all.pt2")):
        assert opened.answer(PIXELS).exits.tolist() == exits
        assert opened.record.score == score
    taken = entropies[torch.arange(len(exits)), exits]
    for network in (one, staged):  # what a prediction shows stays entropy
        found = OnnxPredictor(network).answer(torch.from_numpy(PIXELS), ExitRule(tuple(middle)))
        torch.testing.assert_close(found.entropies, taken, rtol=0, atol=1e-5)


def test_a_calibration_of_an_unknown_score_or_unit_is_refused() -> None:
    content = record_of([0.5]).calibration.model_dump()
    for changed in ({"criterion": "margin"}, {"unit": "bits"}):
        with pytest.raises(ValidationError, match="is not a score of erde"):
            ThresholdsDocument.model_validate({**content, **changed})


def test_a_score_at_the_threshold_does_not_leave(tmp_path: Path) -> None:
    model = trained_like(Architecture("resnet", 8, 4, (1,), "gap", classes=5, image_size=16))
    exported = export_network(model, record_of([0.5]))
    write_onnx_file(exported, tmp_path / "one.onnx")
    write_stages(exported, tmp_path)
    first = onnxruntime.InferenceSession(tmp_path / "stage0.onnx")
    score = first.run(["score"], {"image": PIXELS[:1]})[0][0]
    for opened in (open_exported(tmp_path / "one.onnx"), open_exported(tmp_path)):
        for nats, exit_ in ((score, 1), (np.nextafter(score, np.float32(9)), 0)):
            assert opened.answer(PIXELS[:1], [float(nats)]).exits == exit_


def test_the_network_stays_as_it_is() -> None:
    model = trained_like(Architecture("resnet", 8, 4, (1,), "gap", classes=5, image_size=16))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    export_network(model, record_of([1.0]))
    assert before.keys() == model.state_dict().keys()
    assert all(parameter.requires_grad for parameter in model.parameters())


@given(theta=st.floats(0, 10), steps=st.integers(-2, 2))
def test_float32_thresholds_decide_as_the_exact_ones(theta: float, steps: int) -> None:
    score = np.float32(theta)
    for _ in range(abs(steps)):
        score = np.nextafter(score, np.float32(math.copysign(np.inf, steps)))
    rounded = float32_thresholds([theta])[0]
    assert rounded.dtype == np.float32
    assert (score < rounded) == (float(score) < theta)


def test_never_and_always_stay_what_they_are() -> None:
    assert float32_thresholds([0.0, math.inf]).tolist() == [0.0, math.inf]
    assert float32_thresholds([]).shape == (0,)


def test_the_record_survives_the_metadata_and_knows_its_lengths() -> None:
    record = record_of([0.5, math.pi], class_names=["käse", "猫"])
    texts = record.to_metadata()
    assert ExportRecord.from_metadata({**texts, "other": "{"}) == record
    with pytest.raises(ValueError, match="versions"):
        ExportRecord.from_metadata({k: v for k, v in texts.items() if k != "erde.versions"})
    calibration = record.calibration.model_copy(update={"thresholds": [0.5]}).model_dump()
    with pytest.raises(ValueError, match="2 expected"):
        record_of([0.5], calibration=calibration)


def test_the_record_keeps_a_crop_and_refuses_half_of_one() -> None:
    rules = PixelRules("black", 12, "first", 0.9, "bicubic")
    record = record_of([0.5], pixels=rules.to_json())
    assert ExportRecord.from_metadata(record.to_metadata()).rules == rules
    for changed in (
        {"resize": "squash"}, {"crop_share": None}, {"crop_share": 0.09}, {"crop_share": 1.1},
        {"interpolation": "nearest"}, {"resize": "pad"},
    ):  # fmt: skip
        with pytest.raises(ValidationError):
            record_of([0.5], pixels={**rules.to_json(), **changed})


def test_preprocessing_is_the_normaliser_to_the_bit(tmp_path: Path) -> None:
    from erde_cli.core.data.normalisation import Normaliser

    record = record_of([0.5])
    model = trained_like(Architecture("resnet", 8, 4, (1,), "gap", classes=5, image_size=16))
    first = export_network(model, record).network.stages[0]
    assert isinstance(first, nn.Sequential)
    normalise = Normaliser(record.measured_normalisation, 16, make_context("cpu"))
    pixels = torch.from_numpy(PIXELS)
    assert torch.equal(first[0](pixels), normalise(pixels))


def test_one_exit_needs_no_thresholds(tmp_path: Path) -> None:
    model = trained_like(Architecture("resnet", 8, 4, (), "gap", classes=5, image_size=16))
    write_onnx_file(export_network(model, record_of([])), tmp_path / "one.onnx")
    graph = onnx.load(tmp_path / "one.onnx").graph
    assert [value.name for value in graph.input] == ["image"]
    assert open_exported(tmp_path / "one.onnx").answer(PIXELS).exits.tolist() == [0] * 7
