"""`erde backbones`, and a run whose networks are a library's."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from erde_cli import load
from erde_cli.core.inference.routing import route
from erde_cli.core.models.library.networks import library_network
from erde_cli.core.recipe.schema import ROLES
from erde_cli.core.storage.files import digest_of_file
from erde_cli.core.thresholds.scores import ENTROPY

from ..conftest import Cli, JsonOf

RECIPE = """
seed: 3
data: {dataset: digits, image_size: 32, augmentation: {crop: 1}}
teacher: {backbone: torchvision/shufflenet_v2_x0_5, stem: small, exits: 3}
student: {backbone: torchvision/mnasnet0_5, exits: [4, 9], head: gap, weights: first.safetensors}
training:
  teacher: {epochs: 1, batch_size: 128, learning_rate: 0.05}
  student:
    {epochs: 1, learning_rate: 0.005, optimizer: adamw, train: {from: 1}, stage_rates: [1, 0.1, 1]}
calibration: {max_drop: 5}
"""
NOT_NEEDED = [
    "torch._dynamo", "sympy", "fvcore", "onnx", "scipy", "sklearn", "matplotlib", "pydantic", "timm"
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from erde_cli.app import main

    here = tmp_path_factory.mktemp("library")
    (here / "mine.yaml").write_text(RECIPE)
    network, _ = library_network("torchvision/mnasnet0_5", None, 32)
    save_file(network.state_dict(), here / "first.safetensors", {"license": "bsd-3-clause"})
    assert main(["run", str(here / "mine.yaml"), "--out", str(here / "run"), "-q"]) == 0
    return here / "run"


def test_the_networks_of_torchvision_are_listed_with_their_cost(json_of: JsonOf) -> None:
    found = json_of("backbones", "resnet")
    assert found["image_size"] == 224
    rows = {row["name"]: row for row in found["backbones"]}
    assert len(rows) == 7  # wide ones included
    assert rows["torchvision/resnet50"] == {
        "name": "torchvision/resnet50", "parameters": 25_557_032, "macs": 4_089_184_256,
        "exits": 16,
    }  # fmt: skip


def test_the_listing_imports_only_what_it_needs() -> None:
    """torch's compiler alone takes a second."""
    code = (
        "import sys; sys.argv = ['erde', 'backbones', '-q']\n"
        "from erde_cli.__main__ import main\n"
        "code = main()\n"
        f"print(code, [name for name in {NOT_NEEDED} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("\n0 []\n"), done.stderr
    assert "torchvision/wide_resnet50_2" in done.stdout


def test_a_word_in_no_name_is_answered_with_near_names(cli: Cli) -> None:
    code, _, err = cli("backbones", "torchvision/resnet19")
    assert code == 2
    assert "type erde backbones torchvision/resnet1" in err


def test_a_bundle_names_its_network_and_the_version_of_its_library(run: Path) -> None:
    for role, name in (("teacher", "shufflenet_v2_x0_5"), ("student", "mnasnet0_5")):
        document = json.loads((run / role / "bundle.json").read_text())
        architecture = document["architecture"]
        assert architecture["backbone"] == f"torchvision/{name}"
        assert (architecture["depth"], architecture["width"]) == (None, None)
        assert "torchvision" in document["versions"]
    assert json.loads((run / "teacher/bundle.json").read_text())["architecture"]["stem"] == "small"


def test_a_bundle_names_its_first_weights_and_has_their_normalisation(run: Path) -> None:
    documents = [json.loads((run / role / "bundle.json").read_text()) for role in ROLES]
    assert documents[0]["first_weights"] is None
    assert documents[1]["first_weights"] == {
        "source": "first.safetensors",
        "sha256": digest_of_file(run.parent / "first.safetensors"),
        "tensors": len(load_file(run.parent / "first.safetensors")) - 2,
        "license": "bsd-3-clause",
    }
    assert documents[1]["normalisation"]["mean"] == [0.485, 0.456, 0.406]
    assert documents[0]["normalisation"]["mean"] != documents[1]["normalisation"]["mean"]


def test_a_frozen_stage_of_a_bundle_has_its_first_weights_and_the_others_have_not(
    run: Path,
) -> None:
    first = list(load_file(run.parent / "first.safetensors").values())
    kept = [
        all(any(torch.equal(value, one) for one in first) for value in stage.state_dict().values())
        for stage in load(run / "student").model.stages
    ]
    assert kept == [True, False, False]


def test_the_content_of_the_weights_decides_a_network_and_not_their_folder(
    run: Path, tmp_path: Path, cli: Cli
) -> None:
    shutil.copytree(run.parent, tmp_path / "moved")
    line = ("run", tmp_path / "moved/mine.yaml", "--out", tmp_path / "moved/run")
    code, _, err = cli(*line)
    assert (code, err.count("nothing has changed, kept")) == (0, 4), err
    network, _ = library_network("torchvision/mnasnet0_5", None, 32)
    save_file(network.state_dict(), tmp_path / "moved/first.safetensors")
    code, _, err = cli(*line, "--set", "training.student.epochs=1", "--force")
    assert code == 0, err
    assert "(licence: not stated); the last layer is new" in err
    (tmp_path / "moved/first.safetensors").unlink()
    code, _, err = cli(*line)
    assert (code, "Traceback" in err) == (2, False)
    assert "file of weights" in err


def test_a_loaded_student_routes_as_its_full_forward_pass(run: Path) -> None:
    bundle = load(run / "student")
    images = torch.randn(64, 3, 32, 32)
    with torch.no_grad():
        logits = bundle.model(images)
        thresholds = ENTROPY.value(logits).median(dim=0).values[:-1].tolist()
        routed = route(bundle.model, images, thresholds)
    for image, exit_ in enumerate(routed.exit.tolist()):
        torch.testing.assert_close(routed.logits[image], logits[image, exit_], rtol=1e-4, atol=1e-4)
    assert len(set(routed.exit.tolist())) > 1


@pytest.mark.parametrize("kind", ["onnx", "onnx-staged", "torch-export"])
def test_a_student_is_exported_and_verified(run: Path, tmp_path: Path, kind: str, cli: Cli) -> None:
    pytest.importorskip("onnx")
    out = tmp_path / {"onnx": "m.onnx", "onnx-staged": "stages", "torch-export": "m.pt2"}[kind]
    code, _, err = cli("export", run / "student", "--format", kind, "--out", out)
    assert code == 0, err
    assert out.exists()


@pytest.mark.parametrize(
    ("network", "part"),
    [
        ("{backbone: torchvision/resnet19}", "torchvision/resnet18"),
        ("{backbone: torchvision/resnet18, exits: 20}", "exits"),
        ("{backbone: torchvision/resnet18, exits: [2, 30]}", "rising block numbers"),
        ("{backbone: torchvision/vgg11, stem: small}", "stem"),
    ],
)
def test_a_network_that_cannot_be_built_is_one_message(
    network: str, part: str, tmp_path: Path, cli: Callable[..., Any]
) -> None:
    code, _, err = cli(
        "train-teacher", "digits", "--set", f"teacher={network}", "--set", "data.image_size=32",
        "--out", tmp_path / "run",
    )  # fmt: skip
    assert (code, "Traceback" in err) == (2, False), err
    assert part in err
    assert not (tmp_path / "run/teacher").exists()
