"""A bundle is what it says it is, or it is refused by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from erde_cli.core.bundle.bundle import load_bundle
from erde_cli.core.errors import BundleError
from erde_cli.core.storage.files import digest_of_file
from erde_cli.core.thresholds.scores import ENTROPY

from ...edited import edit_json


def test_a_loaded_bundle_has_everything_needed_to_use_it(student: Path) -> None:
    bundle = load_bundle(student)
    assert not bundle.model.training
    assert bundle.class_names == tuple("0123456789")
    assert bundle.image_size == 8
    assert bundle.recipe.seed == 3
    thresholds = bundle.thresholds()
    assert thresholds is not None
    assert len(thresholds.values) == 2
    logits = bundle.model(torch.zeros(2, 3, 8, 8))
    assert logits.shape == (2, 3, 10)


def test_the_document_holds_no_time_and_names_versions_and_digests(student: Path) -> None:
    text = (student / "bundle.json").read_text()
    document = json.loads(text)
    assert set(document["versions"]) == {"python", "erde-cli", "torch", "numpy", "safetensors"}
    assert document["weights_digest"] == digest_of_file(student / "model.safetensors")
    assert len(document["split_fingerprint"]) == len(document["inputs_digest"]) == 64
    assert "time" not in text
    assert "date" not in text


ORIGIN = {"source": "a.pth", "sha256": "0" * 64, "tensors": 1, "license": None}


@pytest.mark.parametrize(
    "path", ["", "architecture", "input", "input.pixels", "normalisation", "first_weights"]
)
def test_a_key_that_this_version_does_not_know_is_refused_at_every_level(
    student: Path, path: str
) -> None:
    """So a version that knows no resize rules, for instance, never predicts from other pixels."""

    def add(document: dict[str, Any]) -> None:
        document["first_weights"] = dict(ORIGIN)
        inner = document
        for name in path.split(".") if path else ():
            inner = inner[name]
        inner["newer"] = 1

    edit_json(student / "bundle.json", lambda document: document.update(first_weights=ORIGIN))
    load_bundle(student)
    edit_json(student / "bundle.json", add)
    with pytest.raises(BundleError, match="is not what erde writes") as caught:
        load_bundle(student)
    assert "newer" in str(caught.value.got)


def test_no_rule_for_pixels_has_a_default(student: Path) -> None:
    text = (student / "bundle.json").read_text()
    rules = json.loads(text)["input"]["pixels"]
    for name in rules:
        (student / "bundle.json").write_text(text)
        edit_json(student / "bundle.json", lambda d, name=name: d["input"]["pixels"].pop(name))
        with pytest.raises(BundleError, match="is not what erde writes") as caught:
            load_bundle(student)
        assert name in str(caught.value.got)


def test_a_pickle_in_the_place_of_the_weights_is_not_opened(student: Path) -> None:
    path = student / "model.safetensors"
    torch.save({"x": torch.zeros(1)}, path)
    edit_json(student / "bundle.json", lambda d: d.update(weights_digest=digest_of_file(path)))
    with pytest.raises(BundleError, match="do not fit"):
        load_bundle(student)


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: d.update(temperatures=[1.0, 1.0]),
        lambda d: d.update(unit="bits"),
        lambda d: d.update(precision="int8"),
        lambda d: d.pop("met"),
    ],
    ids=["too few temperatures", "other unit", "other precision", "key missing"],
)
def test_thresholds_that_erde_did_not_write_are_refused(
    student: Path, edit: Callable[[dict[str, Any]], None]
) -> None:
    edit_json(student / "thresholds.json", edit)
    with pytest.raises(BundleError) as caught:
        load_bundle(student).thresholds()
    assert "erde calibrate" in caught.value.hint


def test_thresholds_in_either_written_form_are_read(student: Path) -> None:
    edit_json(student / "thresholds.json", lambda d: d.update(thresholds=["never", "always"]))
    thresholds = load_bundle(student).thresholds()
    assert thresholds is not None
    assert thresholds.values == [0.0, float("inf")]


def test_each_image_leaves_at_its_own_exit_under_the_bundles_thresholds(student: Path) -> None:
    bundle = load_bundle(student)
    generator = torch.Generator().manual_seed(0)
    side = bundle.image_size
    images = torch.randn(40, 3, side, side, generator=generator)
    with torch.no_grad():
        logits = bundle.model(images)
    scores = ENTROPY.value(logits)
    # Between the two that lie furthest apart, so that no rounding moves an image.
    middle = scores[:, 0].sort().values[10:30]
    widest = int((middle[1:] - middle[:-1]).argmax())
    limit = float(middle[widest : widest + 2].mean())
    edit_json(student / "thresholds.json", lambda d: d.update(thresholds=[limit, "never"]))
    routed = load_bundle(student).route(images)
    assert torch.equal(routed.exit, torch.where(scores[:, 0] < limit, 0, 2))
    torch.testing.assert_close(routed.logits, logits[torch.arange(40), routed.exit])
    one = bundle.route(images[:1])
    assert (one.exit.item(), bundle.route(images[:1]).exit.item()) == (routed.exit[0].item(),) * 2


def test_a_bundle_routes_at_its_temperatures(student: Path) -> None:
    bundle = load_bundle(student)
    images = torch.randn(40, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        scores = ENTROPY.value(bundle.model(images)[:, 0] / 3)
    ordered = scores.sort().values
    below = 10 + int(ordered[10:30].diff().argmax())  # the last bits of a score can differ
    limit = float(ordered[below : below + 2].mean())
    edit_json(
        student / "thresholds.json",
        lambda d: d.update(temperatures=[3.0, 1.0, 1.0], thresholds=[limit, "never"]),
    )
    assert torch.equal(bundle.route(images).exit, torch.where(scores < limit, 0, 2))


def test_an_image_cannot_leave_early_before_calibration(student: Path) -> None:
    (student / "thresholds.json").unlink()
    with pytest.raises(BundleError, match="has no thresholds") as caught:
        load_bundle(student).route(torch.zeros(1, 3, 8, 8))
    assert "erde calibrate" in caught.value.hint


def test_thresholds_are_read_once_and_again_when_they_are_chosen_anew(student: Path) -> None:
    bundle = load_bundle(student)
    first = bundle.thresholds()
    assert first is not None
    assert bundle.thresholds() is first
    edit_json(student / "thresholds.json", lambda d: d.update(thresholds=["never", "always"]))
    again = bundle.thresholds()
    assert again is not None
    assert again.values == [0.0, float("inf")]
    (student / "thresholds.json").unlink()
    assert bundle.thresholds() is None


def test_another_stride_or_share_is_a_change_of_the_bundle(student: Path) -> None:
    path = student / "bundle.json"
    document = json.loads(path.read_text())
    document["architecture"]["head_dropout"] = 0.25
    path.write_text(json.dumps(document))
    with pytest.raises(BundleError, match="damaged, or was changed"):
        load_bundle(student)
