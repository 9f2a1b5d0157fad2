"""The runner: the answers of the network, whatever form of image or export it gets."""

import io
import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import ExifTags, Image

from erde_cli.core.arrays import Array
from erde_cli.core.data.given_images import pixels_of
from erde_cli.core.data.normalisation import Normalisation, Normaliser
from erde_cli.core.device import make_context
from erde_cli.core.images.pixels import PixelRules
from erde_cli.core.runner.metadata import Metadata, normalised, parse_entries, read_metadata
from erde_cli.runtime import BundleError, DataError, InputError, Model, Prediction, open_model

from ..export.test_export import record_of
from .exports import PIXELS, SIDE, write_exports


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports")
    write_exports(folder)
    return folder


@pytest.fixture(params=["one.onnx", "stages"])
def model(exports: Path, request: pytest.FixtureRequest) -> Model:
    return open_model(exports / request.param, threads=1)


def shown(rows: Sequence[Prediction]) -> list[tuple[int, str, int, int]]:
    return [(row.label, row.class_name, row.exit, row.macs) for row in rows]


def test_a_row_holds_what_the_network_answers(model: Model) -> None:
    answers = model.answer(PIXELS)
    rows = model.predict(PIXELS)
    assert {row.exit for row in rows} == {0, 1, 2}
    assert [row.exit for row in rows] == answers.exits.tolist()
    assert [row.label for row in rows] == answers.labels.tolist()
    assert [row.macs for row in rows] == [row.exit + 1 for row in rows]
    assert [row.class_name for row in rows] == [f"class {row.label}" for row in rows]
    chosen = answers.probabilities.max(axis=1)
    assert [row.confidence for row in rows] == pytest.approx(chosen.tolist())
    entropies = -(answers.probabilities * np.log(answers.probabilities)).sum(axis=1)
    assert [row.entropy for row in rows] == pytest.approx(entropies.tolist(), abs=1e-5)


def test_both_forms_and_any_batch_give_the_same_rows(exports: Path) -> None:
    one, staged = open_model(exports / "one.onnx"), open_model(str(exports / "stages"))
    expected = shown(one.predict(PIXELS))
    for batch in (None, 1, 2, 9, 50):
        assert shown(staged.predict(PIXELS, batch=batch)) == expected
    for thresholds in ("never", "always", [0.0, np.inf], ["always", 0.5], 0.7):
        found = staged.predict(PIXELS, thresholds=thresholds)
        assert shown(found) == shown(one.predict(PIXELS, thresholds=thresholds))
    assert [row.exit for row in one.predict(PIXELS, thresholds="never")] == [2] * len(PIXELS)


def test_files_become_the_pixels_that_erde_makes(model: Model, tmp_path: Path) -> None:
    photo = Image.fromarray(PIXELS[0]).resize((31, 20))
    held = Image.Exif()
    held[ExifTags.Base.Orientation] = 6
    photo.save(tmp_path / "turned.jpg", exif=held)
    Image.fromarray((np.arange(400, dtype=np.uint16) * 160).reshape(20, 20)).save(
        tmp_path / "deep.png"
    )
    photo.convert("L").save(tmp_path / "grey.webp")
    paths = sorted(map(str, tmp_path.iterdir()))
    expected = model.predict(next(pixels_of(paths, SIDE, 9)).numpy())
    contents = [Path(path).read_bytes() for path in paths]
    for forms in (
        paths, contents, map(io.BytesIO, contents), [Image.open(path) for path in paths],
    ):  # fmt: skip
        assert model.predict(forms) == expected
    assert model.predict(paths[0]) == expected[:1]
    assert model.predict(torch.from_numpy(PIXELS)) == model.predict(PIXELS)
    assert model.predict([]) == []


def test_a_file_without_preprocessing_gets_normalised_images(tmp_path: Path, exports: Path) -> None:
    write_exports(tmp_path, preprocessing=False)
    for name in ("one.onnx", "stages"):
        expected = open_model(exports / name).predict(PIXELS)
        assert shown(open_model(tmp_path / name).predict(PIXELS)) == shown(expected)


def test_normalisation_is_that_of_torch_to_the_bit() -> None:
    mean, std = (0.4914, 0.48, 0.1 / 3), (0.2023, 1 / 255, 0.201)
    normalise = Normaliser(Normalisation(mean, std), SIDE, make_context("cpu"))
    planes = normalise(torch.from_numpy(PIXELS)).numpy()
    assert np.array_equal(normalised(PIXELS, mean, std), planes)


def metadata_of(**changed: Any) -> Metadata:
    document = record_of([0.5]).model_dump(mode="json")
    return read_metadata(document | {"format": 2} | changed)


def test_a_network_that_crops_gets_the_pixels_inside_a_frame() -> None:
    pixels = PixelRules(crop_share=0.9).to_json()
    for by, shape in (("client", PIXELS.shape), ("graph", (9, 18, 18, 3))):
        inputs = metadata_of(input={"resized_by": by}, pixels=pixels).framed(PIXELS)
        assert inputs.shape == shape
    assert np.array_equal(inputs[:, 1:17, 1:17], PIXELS)
    assert not inputs[:, [0, -1]].any()
    assert not inputs[:, :, [0, -1]].any()
    squashed = metadata_of(input={"resized_by": "graph"})
    assert squashed.framed(PIXELS) is PIXELS


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"format": 9}, "format"), ({"class_names": ["a"]}, "class_names"),
        ({"class_names": ["a", "../b"]}, "class_names"), ({"class_names": "ab"}, "class_names"),
        ({"image_size": 100_000}, "image_size"), ({"image_size": True}, "image_size"),
        ({"preprocessing": 1}, "preprocessing"), ({"cumulative_macs": []}, "cumulative_macs"),
        ({"cumulative_macs": [1, -1]}, "cumulative_macs"), ({"calibration": None}, "calibration"),
        ({"cumulative_macs": [1, 2, 3]}, "thresholds"), ({"pixels": {}}, "transparent"),
        ({"input": {"resized_by": []}}, "resized_by"),
        ({"normalisation": {"mean": [0, 0, 0], "std": [1, 0, 1]}}, "std"),
        ({"pixels": PixelRules().to_json() | {"resize": "crop"}}, "resize"),
        ({"pixels": PixelRules().to_json() | {"crop_share": 0.001}}, "crop_share"),
        ({"pixels": PixelRules().to_json() | {"transparent": []}}, "transparent"),
        ({"pixels": PixelRules().to_json() | {"bit_depth": 17}}, "bit_depth"),
    ],
)  # fmt: skip
def test_metadata_are_checked(changed: dict[str, Any], reason: str) -> None:
    assert metadata_of().exit_count == 2
    with pytest.raises(ValueError, match=reason):
        metadata_of(**changed)


def test_wrong_arguments_are_input_errors(model: Model, exports: Path) -> None:
    small = np.zeros((1, SIDE, SIDE - 1, 3), np.uint8)
    odd: list[Any] = [[[1], [1, 2]], None, "a", {}, PIXELS.astype(object), 3]
    for pixels in (small, PIXELS[:0], PIXELS.astype(np.float32), PIXELS[0], *odd):
        with pytest.raises(InputError, match="do not fit"):
            model.answer(pixels)
    no_thresholds: list[Any] = [np.array([0.5, 0.5]), torch.ones(2), {}, object(), [[1], [2]]]
    for thresholds in ([0.5], ["now", 1], -1.0, float("nan"), *no_thresholds):
        with pytest.raises(InputError, match="threshold"):
            model.predict(PIXELS, thresholds=thresholds)
    wrong: list[Any] = [0, -1, "2", 1.5, 2**70, [1], float("nan")]
    for number in wrong:
        with pytest.raises(InputError, match="batch"):
            model.predict(PIXELS, batch=number)
        with pytest.raises(InputError, match="threads"):
            open_model(exports / "one.onnx", threads=number)
    for path in wrong:
        with pytest.raises(InputError):
            open_model(path)
    with pytest.raises(DataError, match="cannot be read"):
        model.predict(b"no image")
    with pytest.raises(BundleError, match="There is no file"):
        open_model(exports / "none.onnx")


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (("erde.stage", "1"), "got:      stage 2"), (("erde.static_exit", "0"), "static network"),
        (None, "no input `thresholds`"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_stop_early_is_refused(
    entry: tuple[str, str] | None, told: str, exports: Path, tmp_path: Path
) -> None:
    model = onnx.load(exports / "one.onnx")
    if entry is None:  # what onnxsim does
        kept = [value for value in model.graph.input if value.name != "thresholds"]
        del model.graph.input[:]
        model.graph.input.extend(kept)
    else:
        model.metadata_props.add(key=entry[0], value=entry[1])
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(BundleError, match=told):
        open_model(tmp_path / "other.onnx")


def test_entries_about_the_file_are_not_of_the_network() -> None:
    entries = {"erde.format": "2", "erde.quantisation": "{", "author": "{"}
    assert parse_entries(entries) == {"format": 2}


def test_portable_stages_are_refused(exports: Path, tmp_path: Path) -> None:
    shutil.copytree(exports / "stages", tmp_path / "stages")
    path = tmp_path / "stages/manifest.json"
    document = json.loads(path.read_text())
    document["network"]["portable"] = True
    path.write_text(json.dumps(document))
    with pytest.raises(BundleError, match="portable stages"):
        open_model(tmp_path / "stages")


def test_a_manifest_is_checked_before_its_files_are_read(exports: Path, tmp_path: Path) -> None:
    shutil.copytree(exports / "stages", tmp_path / "stages")
    path = tmp_path / "stages/manifest.json"
    document = json.loads(path.read_text())
    first, *others = document["stages"]
    another = {"file": "none.onnx", "digest": first["digest"]}
    for stages, told in (
        ([first] * 3, "a file is named twice"), ([first, *others, another], "3 stages expected"),
        ([another], "3 stages expected"), ([first, *others[:-1], another], "has no none.onnx"),
    ):  # fmt: skip
        path.write_text(json.dumps({**document, "stages": stages}))
        with pytest.raises(BundleError, match=told):
            open_model(tmp_path / "stages")


def test_images_pass_a_stage_in_parts_whatever_the_batch(
    exports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Any = open_model(exports / "stages", threads=1)
    expected, batch, sizes = shown(model.predict(PIXELS)), model._batch, []

    def noted(inputs: Array, limits: Sequence[float]) -> tuple[Array, ...]:
        sizes.append(len(inputs))
        parts: tuple[Array, ...] = batch(inputs, limits)
        return parts

    monkeypatch.setattr("erde_cli.core.runner.model.images_at_once_on_cpu", lambda _: 2)
    monkeypatch.setattr(model, "_batch", noted)
    assert shown(model.predict(PIXELS, batch=9)) == expected
    assert sizes == [2, 2, 2, 2, 1]


def test_threads_share_a_model(model: Model) -> None:
    expected = model.predict(PIXELS)
    with ThreadPoolExecutor(4) as pool:
        assert all(rows == expected for rows in pool.map(model.predict, [PIXELS] * 8))


def test_a_manifest_without_its_lists_is_refused(exports: Path, tmp_path: Path) -> None:
    document = json.loads((exports / "stages/manifest.json").read_text())
    for changed in ([], {}, {**document, "stages": 5}, {**document, "stages": [7]},
                    {**document, "network": None}):  # fmt: skip
        (tmp_path / "manifest.json").write_text(json.dumps(changed))
        with pytest.raises(BundleError, match="not what erde writes"):
            open_model(tmp_path)
