"""Every shipped recipe goes the whole way, in two real steps of training for each network."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from erde_cli.core.models.architecture import build_model, resolve_architecture
from erde_cli.core.models.profile import profile_model
from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.recipe.shipped import shipped_recipes
from tests.published_files import WRITERS, accept
from tests.published_weights import place_weights

from .conftest import JsonOf

PER_CLASS = {"cifar10": (4, 2), "svhn": (4, 2), "cifar100": (2, 1)}  # train, test images
STEPS = 2
SMALLER = {  # pretrained networks, and an epoch in which the whole student is trained
    "pretrained-photos": [
        "data.image_size=64",
        "student.image_size=48",
        "training.student.heads_first=0",
    ]
}


def write_folders(root: Path) -> None:
    """Write `root/train|test/<class>/*.png`, three classes."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 4)):
        for colour, name in enumerate(("red", "green", "blue")):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 128, (40, 36, 3), dtype=np.uint8)
                pixels[..., colour] += 100
                Image.fromarray(pixels).save(root / split / name / f"{number}.png")


def images_of(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], int]:
    """Make a data set small enough; what to set for it, and the size of its train split."""
    if name == "digits":
        return [], 1078
    if name == "imagefolder":
        write_folders(folder)
        return [f"data.root={folder}"], 32
    train, test = PER_CLASS[name]
    WRITERS[name](folder, train, test)
    accept(monkeypatch, folder)
    classes = 100 if name == "cifar100" else 10
    return [f"data.root={folder}"], (train - 1) * classes


def test_every_shipped_recipe_goes_the_whole_way_in_two_steps(
    json_of: JsonOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place_weights(tmp_path / "hub", monkeypatch, "efficientnet_b0", "mobilenet_v3_small")
    seen = []
    for shipped in shipped_recipes():
        recipe = load_recipe(shipped.name)
        kind = recipe.data.dataset
        given, images = images_of(kind, tmp_path / shipped.name / "images", monkeypatch)
        given += SMALLER.get(shipped.name, [])
        for role in ("teacher", "student"):
            given += [f"training.{role}.epochs=1", f"training.{role}.batch_size={images // STEPS}"]
        sets = [part for text in given for part in ("--set", text)]
        run = tmp_path / shipped.name / "run"

        trained = json_of("train-teacher", shipped.name, "--out", run, *sets)
        distilled = json_of("distill", shipped.name, "--out", run, *sets)
        for role, found in (("teacher", trained), ("student", distilled)):
            assert found["epochs"] == 1
            [row] = (run / "logs" / role / "metrics.jsonl").read_text().splitlines()
            [timing] = (run / "logs" / role / "timings.jsonl").read_text().splitlines()
            steps = json.loads(timing)["images"] / (images // STEPS)
            assert (shipped.name, steps) == (shipped.name, STEPS)
            assert np.isfinite(json.loads(row)["loss"])
        calibrated = json_of("calibrate", run / "student", "--max-macs", 1)
        assert len(calibrated["thresholds"]) == recipe.student.exit_count - 1
        profile = json_of("profile", run / "student")
        assert len(profile["exits"]) == recipe.student.exit_count
        assert profile["full_macs"] < json_of("profile", run / "teacher")["full_macs"]
        evaluated = json_of("evaluate", run / "student", "--split", "test")
        assert sum(exit_["exit_rate"] for exit_ in evaluated["exits"]) == pytest.approx(1)
        seen.append(shipped.name)
    assert len(seen) == 10


def test_the_demo_has_a_cheap_first_exit_and_a_small_teacher() -> None:
    """What its exits cost; that images leave at them is a figure of the README."""
    recipe = load_recipe("digits")
    size = recipe.data.image_size
    teacher, student = (
        profile_model(build_model(resolve_architecture(network, 10, size)), size)
        for network in (recipe.teacher, recipe.student)
    )
    assert teacher.static_macs <= 10_400_000
    assert teacher.static_macs / student.static_macs > 5
    assert student.cumulative_macs[0] < 0.1 * student.full_macs
    assert student.cumulative_macs[1] < 0.5 * student.full_macs
