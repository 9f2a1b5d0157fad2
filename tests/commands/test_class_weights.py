"""Class weights in real trainings: what they change, and what they leave as it was."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ..conftest import Cli
from ..edited import edit_json

BALANCED = ("--set", "training.student.class_weights=balanced")


@pytest.fixture(scope="module")
def rare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recipe of 400 images of one class and 6 of another, whose brightness overlaps."""
    here = tmp_path_factory.mktemp("rare")
    draw = np.random.default_rng(0)
    for split, counts in (("train", (400, 6)), ("valid", (20, 20)), ("test", (200, 200))):
        for name, mean, count in zip(("common", "rare"), (100, 130), counts, strict=True):
            folder = here / "images" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                noise = draw.normal(draw.normal(mean, 15), 20, (8, 8, 3))
                Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    path = here / "rare.yaml"
    path.write_text(
        "data: {dataset: imagefolder, root: images, image_size: 8, augmentation: {crop: 0}}\n"
        "teacher: {depth: 8, width: 2, exits: 2}\n"
        "student: {depth: 8, width: 4, exits: 2, head: gap}\n"
        "distillation: {method: cross_entropy}\n"
        "training:\n"
        "  teacher: {epochs: 1}\n"
        "  student: {epochs: 8, batch_size: 58, learning_rate: 0.05, precision: float32}\n"
    )
    return path


def test_balanced_finds_the_rare_class_over_three_seeds(
    rare: Path, tmp_path: Path, json_of: Callable[..., dict[str, Any]]
) -> None:
    gained = []
    for seed in (1, 2, 3):
        recall = []
        for more in ((), BALANCED):
            run = tmp_path / f"{seed}-{len(more)}"
            json_of("distill", rare, "--out", run, "--seed", seed, "--threads", 1, *more)
            found = json_of("evaluate", run / "student", "--threads", 1)
            [row] = [row for row in found["classes"] if row["class_name"] == "rare"]
            recall.append(row["recall"])
        gained.append(recall[1] - recall[0])
    assert min(gained) >= 0.2, gained


def digest_of(run: Path) -> str:
    return str(json.loads((run / "student/bundle.json").read_text())["weights_digest"])


def test_none_and_weights_of_one_train_the_same_bytes_and_others_do_not(
    folder_recipe: Path, tmp_path: Path, cli: Cli
) -> None:
    digests = {}
    for name in ("", "none", "{dark: 1, light: 1}", "{dark: 1, light: 2}"):
        more = ("--set", f"training.student.class_weights={name}") if name else ()
        method = ("--set", "distillation.method=cross_entropy")
        run = tmp_path / f"run {name}"
        assert cli("distill", folder_recipe, "--out", run, "-q", *method, *more)[0] == 0
        digests[name] = digest_of(run)
    last = digests.pop("{dark: 1, light: 2}")
    assert len(set(digests.values())) == 1
    assert last not in digests.values()


def test_a_run_from_before_the_key_is_kept_and_another_value_is_named(
    tiny_recipe: Path, run_copy: Path, cli: Cli
) -> None:
    def without(document: dict[str, Any]) -> None:
        for role in ("teacher", "student"):
            del document["recipe"]["training"][role]["class_weights"]

    for role in ("teacher", "student"):
        edit_json(run_copy / role / "bundle.json", without)
    edit_json(run_copy / "run.json", without)
    code, _, err = cli("run", tiny_recipe, "--out", run_copy)
    assert (code, err.count("nothing has changed, kept")) == (0, 4), err
    for journal in (True, False):
        if not journal:
            (run_copy / "run.json").unlink()
        code, _, err = cli("run", tiny_recipe, "--out", run_copy, *BALANCED)
        assert code == 2
        assert "\n  training.student.class_weights: none there, balanced here\n" in err
        assert err.count(" there, ") == 1


def test_other_class_weights_make_another_comparison(
    tiny_recipe: Path, tmp_path: Path, cli: Cli
) -> None:
    few = ("--seeds", 1, "--methods", "cross_entropy", "--out", tmp_path / "run", "-q")
    epochs = ("--set", "training.teacher.epochs=1", "--set", "training.student.epochs=1")
    assert cli("compare", tiny_recipe, *few, *epochs)[0] == 0
    code, _, err = cli("compare", tiny_recipe, *few, *epochs, *BALANCED)
    assert code == 2
    assert "recipe.training.student.class_weights: none there, balanced here" in err
    assert cli("compare", tiny_recipe, *few, *epochs)[0] == 0
