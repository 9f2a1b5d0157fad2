"""A network is given the same numbers by evaluate, predict and every export, for odd photos."""

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from erde_cli import load
from erde_cli.app import main
from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.bundle.document import DOCUMENT, PixelsDocument
from erde_cli.core.data.given_images import pixels_of
from erde_cli.core.data.normalisation import Normaliser
from erde_cli.core.export.onnx_prediction import OnnxPredictor
from erde_cli.core.export.torch_export import TorchExported
from erde_cli.core.images.pixels import PixelRules
from erde_cli.core.models.library.networks import library_network
from erde_cli.core.storage.json_files import write_json
from erde_cli.core.workflows.export import ExportRequest, record_of

from ..conftest import Cli

NAME, SIDE = "torchvision/mnasnet0_5", 32
RECIPE = f"""
data:
  dataset: imagefolder
  root: photos
  image_size: {SIDE}
  resize: crop
  interpolation: bicubic
  augmentation: {{crop: 1}}
teacher: {{backbone: {NAME}, exits: [4], head: gap, weights: first.safetensors}}
student: {{depth: 8, width: 1, exits: 2}}
training:
  teacher: {{epochs: 1, batch_size: 16, learning_rate: 0.01}}
  student: {{epochs: 1}}
calibration: {{threshold: 0.5}}
"""
TRAINED = PixelRules(crop_share=0.875, interpolation="bicubic")
RULES = [
    TRAINED, PixelRules(), PixelRules(crop_share=0.875), PixelRules(interpolation="bicubic"),
    PixelRules("black", 12, crop_share=0.6, interpolation="bicubic"),
]  # fmt: skip


def noise(height: int, width: int, channels: int = 3) -> np.ndarray[Any, Any]:
    generator = np.random.default_rng(1000 * height + width)
    return generator.integers(0, 256, (height, width, channels), np.uint8)


def write_photos(root: Path) -> None:
    for name in ("a", "b"):
        for split in ("train", "test"):
            (root / split / name).mkdir(parents=True)
        for number in range(12):
            size = (30 + number, 50 + (name == "a"))
            Image.fromarray(noise(*size)).save(root / f"train/{name}/{number}.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    odd = root / "test/a"
    Image.fromarray(noise(47, 31)).save(odd / "1.jpg", exif=turned)
    Image.fromarray(noise(61, 200)).save(odd / "2.webp", lossless=True)
    Image.fromarray(noise(9, 13, 4), "RGBA").save(odd / "3.png")
    Image.fromarray(noise(90, 22, 2), "LA").save(odd / "4.png")
    Image.fromarray(noise(21, 43)).quantize(7).save(odd / "5.png", transparency=3)
    deep = noise(33, 35)[..., 0].astype(np.uint16) << 4
    Image.fromarray(deep).save(root / "test/b/6.png")
    Image.fromarray(noise(39, 37)[..., 0]).save(root / "test/b/7.png")
    Image.fromarray(noise(SIDE, SIDE)).save(root / "test/b/8.png")


FILES = [f"a/{name}" for name in ("1.jpg", "2.webp", "3.png", "4.png", "5.png")]
FILES += [f"b/{number}.png" for number in (6, 7, 8)]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos, a trained network of a library, and its exports."""
    here = tmp_path_factory.mktemp("pixels")
    write_photos(here / "photos")
    (here / "mine.yaml").write_text(RECIPE)
    network, _ = library_network(NAME, None, SIDE)
    save_file(network.state_dict(), here / "first.safetensors")
    bundle = str(here / "run/teacher")
    lines = [
        ["train-teacher", str(here / "mine.yaml"), "--out", str(here / "run")],
        ["calibrate", bundle, "--threshold", "0.5"],
        ["export", bundle, "--format", "onnx", "--out", str(here / "m.onnx")],
        ["export", bundle, "--format", "torch-export", "--out", str(here / "m.pt2")],
    ]
    for line in lines:
        assert main([*line, "-q"]) == 0, line
    return here


@pytest.fixture(params=RULES, ids=lambda rules: f"{rules.resize}-{rules.interpolation}-{rules[0]}")
def bundle(here: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Bundle:
    """The trained network as if it had been trained by other rules."""
    trained = load(here / "run/teacher")
    assert trained.document.rules == TRAINED
    shutil.copytree(trained.path, tmp_path / "bundle")
    pixels = PixelsDocument.model_validate(request.param.to_json())
    images = trained.document.input.model_copy(update={"pixels": pixels})
    document = trained.document.model_copy(update={"input": images}).sealed()
    write_json(tmp_path / "bundle" / DOCUMENT, document.model_dump())
    return load(tmp_path / "bundle")


Given = tuple[torch.Tensor, torch.Tensor]  # uint8 images, and the network's float32 input


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[Given]:
    """Every batch of all test images that is normalised, before and after."""
    batches: list[Given] = []
    real = Normaliser.__call__

    def normalise(self: Normaliser, images: torch.Tensor) -> torch.Tensor:
        normalised = real(self, images)
        if len(images) == len(FILES):
            batches.append((images.clone(), normalised.clone()))
        return normalised

    monkeypatch.setattr(Normaliser, "__call__", normalise)
    return batches


def with_record_of(bundle: Bundle, here: Path, out: Path) -> Path:
    """The exported file with the record that an export of this bundle has."""
    model = onnx.load(here / "m.onnx")
    record = record_of(bundle, ExportRequest("onnx", out))
    onnx.helper.set_model_props(model, record.to_metadata())
    onnx.save(model, out)
    return out


def onnx_inputs(file: Path, pixels: torch.Tensor) -> torch.Tensor:
    """What the first convolution in an exported file is given, one image after the other."""
    model = onnx.load(file)
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    model.graph.output.append(onnx.ValueInfoProto(name=first.input[0]))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    inputs = [session.run([first.input[0]], {"image": one[None].numpy()})[0] for one in pixels]
    return torch.from_numpy(np.concatenate(inputs))


def by_the_listing(file: Path, photo: Path) -> Any:
    """The image that the listing in the documentation makes of a photo."""
    docs = Path(__file__).parents[2] / "docs"
    page = (docs / "export.md").read_text()
    listing = page.split("```python\n")[1].split("\n\nprobabilities")[0]
    for written, here in (('"digits.onnx"', file), ('"photos/a.png"', photo)):
        assert listing.count(written) == 1
        listing = listing.replace(written, f'"{here}"')
    names: dict[str, Any] = {}
    sys.path.insert(0, str(docs / "examples"))
    try:
        exec(listing, names)  # noqa: S102
    finally:
        sys.path.pop(0)
    return names["image"]


def test_evaluate_predict_and_exports_give_a_network_the_same_numbers(
    here: Path, tmp_path: Path, bundle: Bundle, given: list[Given], cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for command in (["evaluate", bundle.path], ["predict", bundle.path, here / "photos/test"]):
        code, _, err = cli(*command, "--threads", 1)
        assert code == 0, err
    bundle.predict([here / "photos/test" / name for name in FILES])
    (pixels, inputs), *others = given
    assert len(others) >= 2
    for other_pixels, other_inputs in others:
        assert torch.equal(other_pixels, pixels)
        assert torch.equal(other_inputs, inputs)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = ((pixels / 255 - mean) / std).permute(0, 3, 1, 2)
    torch.testing.assert_close(inputs, expected, rtol=0, atol=1e-5)

    exported: list[torch.Tensor] = []
    real = OnnxPredictor.answer
    monkeypatch.setattr(
        OnnxPredictor, "answer", lambda self, images, *rest: exported.append(images.clone())
        or real(self, images, *rest),
    )  # fmt: skip
    file = with_record_of(bundle, here, tmp_path / "m.onnx")
    code, _, err = cli("predict", file, here / "photos/test")
    assert code == 0, err
    assert torch.equal(torch.cat(exported), pixels)
    torch.testing.assert_close(onnx_inputs(file, pixels), inputs, rtol=0, atol=1e-6)
    for name, image in zip(FILES, pixels, strict=True):
        found = by_the_listing(file, here / "photos/test" / name)
        np.testing.assert_array_equal(found, image[None].numpy(), name)


def test_a_program_of_torch_export_names_the_rules_of_its_pixels(
    here: Path, given: list[Given], cli: Cli
) -> None:
    assert cli("evaluate", here / "run/teacher")[0] == 0
    exported, (pixels, inputs) = TorchExported(here / "m.pt2"), given[0]
    record = exported.record
    files = [here / "photos/test" / name for name in FILES]
    found = next(pixels_of(files, record.image_size, len(files), record.rules))
    assert torch.equal(found, pixels)
    plain = record.model_copy(update={"preprocessing": False})
    assert torch.equal(torch.from_numpy(plain.inputs(found.numpy())), inputs)
    with torch.inference_mode():
        logits = load(here / "run/teacher").model(inputs)
    labels = [logits[number, exit_].argmax() for number, exit_ in enumerate(
        exported.answer(found.numpy()).exits
    )]  # fmt: skip
    assert exported.answer(found.numpy()).labels.tolist() == labels


def test_a_student_is_not_distilled_from_a_teacher_of_another_resize(here: Path, cli: Cli) -> None:
    line = ["distill", here / "mine.yaml", "--teacher", here / "run/teacher", "--out", here / "s"]
    code, _, err = cli(*line, "--set", "data.resize=squash", "--set", "data.interpolation=bilinear")
    assert code == 2
    assert "trained with other settings for reading" in err
    back = "--set data.resize=crop --set data.crop_share=0.875 --set data.interpolation=bicubic"
    assert back in " ".join(err.split())
