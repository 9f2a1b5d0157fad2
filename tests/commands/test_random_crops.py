"""Trainings on random crops of photos and on TrivialAugment, through the real command line."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ..conftest import Cli
from .test_resume import bytes_of, stop_after


@pytest.fixture
def crops(folder_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe for the folder of images with random crops, and an empty cache."""
    monkeypatch.setenv("ERDE_CACHE", str(tmp_path / "cache"))
    text = folder_recipe.read_text()
    more = "{crop: 0, resized_crop: 0.4, trivial_augment: true}"
    folder_recipe.write_text(text.replace("{crop: 1}", more))
    for number, path in enumerate(sorted(folder_recipe.parent.glob("images/*/*/*.png"))):
        pixels = np.random.default_rng(number).integers(0, 256, (18, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return folder_recipe


def test_a_stopped_training_goes_on_with_the_same_views(
    crops: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    code, _, err = cli("train-teacher", crops, "--out", straight)
    assert code == 0, err
    assert "Train photos for random crops, at 9 x 9 pixels: 10 kB" in err
    with monkeypatch.context() as patch:
        stop_after(3, patch)
        assert cli("train-teacher", crops, "--out", stopped)[0] == 128 + signal.SIGTERM
    assert cli("train-teacher", crops, "--out", stopped, "--resume")[0] == 0
    assert bytes_of(stopped) == bytes_of(straight)
    for change in ("resized_crop=0.8", "trivial_augment=false"):
        changed = ("--set", f"data.augmentation.{change}")
        assert cli("train-teacher", crops, "--out", tmp_path / change, *changed)[0] == 0
        assert bytes_of(tmp_path / change) != bytes_of(straight)


def test_the_teachers_cached_logits_are_those_of_the_same_views(
    crops: Path, tmp_path: Path, cli: Cli
) -> None:
    assert cli("train-teacher", crops, "--out", tmp_path / "run")[0] == 0
    views = ("--set", "distillation.teacher_cache.views=1")
    caches = tmp_path / "cache/teacher"

    def distil(*more: str) -> bytes:
        out = tmp_path / "".join(("student", *more))
        teacher = ("--teacher", tmp_path / "run/teacher")
        code, _, err = cli("distill", crops, "--out", out, *teacher, *views, *more)
        assert code == 0, err
        return (out / "student/model.safetensors").read_bytes()

    filled = distil()
    assert distil() == filled  # read
    changes = ("photo_size=16", "augmentation.trivial_augment=false")
    for count, change in enumerate(changes, 2):
        assert distil("--set", f"data.{change}") != filled
        assert len(list(caches.iterdir())) == count
