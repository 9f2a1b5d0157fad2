"""`erde init` and `erde run FOLDER` where images are few and large: pretrained networks."""

from pathlib import Path

import pytest

from erde_cli.core.recipe import photo_starting_point
from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.workflows.first_recipe import first_recipe
from erde_cli.core.workflows.options import Options
from tests.published_weights import no_connection, place_weights

from ..conftest import Cli, JsonOf
from .test_init import write_images

pytestmark = pytest.mark.usefixtures("short_timings")
NETWORKS = ("efficientnet_b0", "mobilenet_v3_small")
SMALL = [
    part
    for text in (
        "data.image_size=48", "student.image_size=32", "teacher.exits=2", "student.exits=2",
        "training.teacher.epochs=2", "training.student.epochs=2",
        "training.student.stage_rates=[0.3, 0.3]", "training.student.batch_size=8",
    )
    for part in ("--set", text)
]  # fmt: skip


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of photos of 210 x 200 pixels."""
    monkeypatch.chdir(tmp_path)
    return write_images(tmp_path / "photos", {"cat": 10, "dog": 10}, side=200, ending="jpg")


@pytest.fixture
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return no_connection(tmp_path / "hub", monkeypatch)


def test_photos_get_pretrained_networks_and_a_plan_without_their_weights(
    photos: Path, no_weights: Path, json_of: JsonOf
) -> None:
    found = json_of("init", "photos", "--minutes", 60)
    assert not no_weights.exists()
    text = Path("photos.yaml").read_text()
    assert len(text.splitlines()) <= 60
    assert max(map(len, text.splitlines())) <= 100
    for line in ("pretrained: true", "image_size: 224", "resized_crop: 0.35", "heads_first: 1,"):
        assert any(line in row and " # " in row for row in text.splitlines()), line
    recipe = load_recipe("photos.yaml")
    assert recipe.data.root == str(photos)
    for network, name in zip((recipe.teacher, recipe.student), NETWORKS, strict=True):
        assert (network.backbone, network.pretrained) == (f"torchvision/{name}", True)
    assert (recipe.image_size("teacher"), recipe.image_size("student")) == (224, 160)
    assert recipe.training.teacher.train == "heads"
    assert (recipe.training.student.train, recipe.kept_views("student")) == ("all", 4)
    assert found["plan"]["teacher"]["seconds_of_features"] > 0
    assert found["plan"]["student"]["epochs"] == recipe.training.student.epochs


def test_without_pretrained_networks_the_recipe_is_that_of_small_images(
    photos: Path, no_weights: Path, cli: Cli
) -> None:
    assert cli("init", "photos", "--no-pretrained", "--minutes", 1)[0] == 0
    text = Path("photos.yaml").read_text()
    for word in ("pretrained", "torchvision", "resize:", "train:", "teacher_cache"):
        assert word not in text
    recipe = load_recipe("photos.yaml")
    assert recipe.teacher.backbone == "resnet"
    assert recipe.data.augmentation.crop == recipe.data.image_size // 8


def test_small_images_get_pretrained_networks_where_they_are_asked_for(
    tmp_path: Path, no_weights: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "icons", {"cat": 10, "dog": 10}, side=40)
    assert cli("init", "icons", "--pretrained")[0] == 0
    recipe = load_recipe("icons.yaml")
    assert (recipe.image_size("teacher"), recipe.image_size("student")) == (128, 96)
    assert recipe.student.pretrained


def test_a_folder_of_photos_runs_from_weights_in_torchs_hub_folder(
    photos: Path, tmp_path: Path, json_of: JsonOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    place_weights(tmp_path / "hub", monkeypatch, *NETWORKS)
    report = json_of("run", "photos", *SMALL)
    text = Path("runs/photos/recipe.yaml").read_text()
    assert text.count("pretrained: true") == 2
    assert report["teacher"]["full_macs"] > report["student"]["full_macs"]


def test_a_run_without_a_connection_trains_from_scratch_and_says_what_is_missing(
    photos: Path, no_weights: Path, cli: Cli
) -> None:
    texts = (
        "data.image_size=16", "data.augmentation.crop=2", "training.teacher.epochs=1",
        "training.student.epochs=1", "teacher.depth=8", "teacher.width=4",
    )  # fmt: skip
    code, _, err = cli("run", "photos", *(part for text in texts for part in ("--set", text)))
    assert code == 0, err
    words = " ".join(err.split())
    assert "no connection" in words
    assert "trained from scratch" in words
    assert str(no_weights / "efficientnet_b0_rwightman-7f5810bc.pth") in err.replace("\n", "")
    assert "pretrained" not in Path("runs/photos/recipe.yaml").read_text()


def test_a_recipe_without_a_connection_names_the_file_and_the_other_recipe(
    photos: Path, no_weights: Path, cli: Cli
) -> None:
    assert cli("init", "photos", "--quiet")[0] == 0
    code, _, err = cli("run", "photos.yaml", "--out", "run", *SMALL)
    assert code == 1
    assert str(no_weights / "mobilenet_v3_small-047dcff4.pth") in err.replace("\n", "")
    assert "erde init FOLDER --no-pretrained" in " ".join(err.split())
    assert not Path("run/teacher").exists()


def test_too_short_a_time_leaves_the_heads_alone(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speeds = dict.fromkeys(photo_starting_point.PHOTO_SPEEDS, (5.0, 0.5, 20.0))
    monkeypatch.setattr(photo_starting_point, "PHOTO_SPEEDS", speeds)
    first = first_recipe(photos, Path("photos.yaml"), "photos", 1, Options("cpu"))
    recipe = first.recipe
    assert recipe.training.student.train == "heads"
    assert recipe.data.augmentation.resized_crop is None
    assert recipe.distillation.teacher_cache.views is None
    assert "the time is short" in first.text
