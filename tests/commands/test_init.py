"""`erde init`: a recipe for a folder of images, the same whatever the machine is doing."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.workflows import planned_training

from ..conftest import Cli, JsonOf

pytestmark = pytest.mark.usefixtures("short_timings")


def write_images(
    root: Path, counts: dict[str, int], side: int = 40, mode: str = "RGB", ending: str = "png"
) -> Path:
    """Noise of another colour for each class, in `root/<class>/*`."""
    generator = np.random.default_rng(0)
    for label, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        for number in range(count):
            shape = (side, side + 10) if mode in ("L", "I;16") else (side, side + 10, 3)
            pixels = generator.integers(0, 100, shape) + 60 * label
            kind = np.uint16 if mode == "I;16" else np.uint8
            image = Image.fromarray((pixels * (16 if mode == "I;16" else 1)).astype(kind))
            image.save(root / name / f"{number:03}.{ending}")
    return root


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_images(tmp_path / "photos", {"cat": 30, "dog": 30})


def test_the_recipe_has_a_reason_for_each_choice_and_fits_a_screen(
    photos: Path, json_of: JsonOf, tmp_path: Path
) -> None:
    found = json_of("init", "photos", "--minutes", 2)
    path = tmp_path / "photos.yaml"
    assert found["path"] == "photos.yaml"
    lines = path.read_text().splitlines()
    assert len(lines) <= 60
    assert lines[0] == "# 60 images of 2 classes: 50 x 40 pixels, in colour"
    assert "for 2 minutes on" in lines[1]
    for key in ("image_size", "calibration_fraction", "crop", "flip", "exits", "max_drop"):
        assert any(f"{key}:" in line and " # " in line for line in lines), key
    recipe = load_recipe(str(path))
    assert recipe.name == "photos"
    assert recipe.data.root == str(photos)
    assert found["plan"]["teacher"]["epochs"] == recipe.training.teacher.epochs
    assert found["plan"]["data"]["classes"][0] == {
        "class_name": "cat", "train": 19, "calibration": 5, "test": 6,
    }  # fmt: skip


def test_the_table_of_images_and_the_plan_are_printed(photos: Path, cli: Cli) -> None:
    code, out, err = cli("init", photos)
    assert code == 0, err
    for part in (
        "student 3 of 3",
        "Plan (",
        "calibration",
        "memory: about",
        "erde run photos.yaml",
    ):
        assert part in out, part
    assert "cat" in err


@pytest.fixture
def busy() -> Iterator[None]:
    """Two processes that do nothing but take time."""
    command = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(command) for _ in range(2)]
    yield
    for other in others:
        other.kill()
        other.wait()


def test_a_busy_machine_gives_the_same_bytes(
    photos: Path, cli: Cli, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    assert cli("init", "photos", "--out", "idle.yaml")[0] == 0
    request.getfixturevalue("busy")
    assert cli("init", "photos", "--out", "busy.yaml")[0] == 0
    idle, busy = ((tmp_path / f"{name}.yaml").read_text() for name in ("idle", "busy"))
    assert busy == idle.replace('"idle"', '"busy"')


def test_a_machine_slower_than_the_table_is_a_warning_and_changes_nothing(
    photos: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planned_training, "seconds_per_step", lambda made: 1e-6)
    _, _, err = cli("init", "photos", "--out", "usual.yaml")
    assert "slower than the table" not in err
    monkeypatch.setattr(planned_training, "seconds_per_step", lambda made: 1000.0)
    _, _, err = cli("init", "photos", "--out", "slow.yaml")
    assert "slower than the table" in err
    assert "hours, not 30 minutes" in err
    usual, slow = ((tmp_path / f"{name}.yaml").read_text() for name in ("usual", "slow"))
    assert slow == usual.replace('"usual"', '"slow"')


def test_minutes_and_threads_decide_how_much_is_trained(photos: Path, cli: Cli) -> None:
    work = []
    for number, given in enumerate([("1", "1"), ("1", "2"), ("30", "2")]):
        line = ("init", "photos", "--out", f"{number}.yaml", "--minutes", given[0])
        assert cli(*line, "--threads", given[1])[0] == 0
        recipe = load_recipe(f"{number}.yaml")
        work.append(recipe.training.teacher.epochs * recipe.data.image_size**2)
    assert work == sorted(work)
    assert work[0] < work[-1]


def test_splits_with_folders_of_their_own_need_no_fraction(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for split, count in (("train", 20), ("valid", 8), ("test", 5)):
        write_images(tmp_path / "photos" / split, {"a": count, "b": count})
    assert cli("init", "photos")[0] == 0
    text = (tmp_path / "photos.yaml").read_text()
    assert "_fraction" not in text
    assert load_recipe("photos.yaml").data.root == str(tmp_path / "photos")


def test_grey_uneven_deep_and_broken_files_are_seen(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = write_images(tmp_path / "scans", {"rare": 12, "common": 40}, mode="I;16")
    shutil.copy(root / "rare/000.png", root / "rare/broken.png")
    (root / "rare/broken.png").write_bytes(b"no image")
    code, _, err = cli("init", "scans")
    assert code == 0, err
    assert "broken.png" in err
    text = (tmp_path / "scans.yaml").read_text()
    assert text.startswith("# 53 images of 2 classes: 50 x 40 pixels, grey")
    data = load_recipe("scans.yaml").data
    assert (data.bit_depth, data.unreadable) == (12, "skip")
    assert '"common" has 40 images, "rare" 13: class_weights: balanced' in text


def test_transparent_and_moving_images_are_settled_in_the_recipe(photos: Path, cli: Cli) -> None:
    clear = Image.new("RGBA", (50, 40), (9, 9, 9, 0))
    clear.save(photos / "cat/clear.png")
    frames = [Image.new("L", (50, 40), grey) for grey in (1, 200)]
    frames[0].save(photos / "dog/moving.gif", save_all=True, append_images=frames[1:])
    assert cli("init", "photos")[0] == 0
    text = Path("photos.yaml").read_text()
    assert "  transparent: white" in text
    assert "  frames: first" in text
    assert "unreadable" not in text


def test_images_elsewhere_are_named_by_their_whole_path(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_images(tmp_path / "far" / 'my "photos": #1', {"a": 12, "b": 12})
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert cli("init", root, "--out", "mine.yaml")[0] == 0
    recipe = load_recipe("mine.yaml")
    assert (recipe.data.root, recipe.name) == (str(root), "mine")


def test_the_recipe_can_be_moved_with_its_images(
    photos: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recipes").mkdir()
    assert cli("init", "photos", "--out", "recipes/mine.yaml")[0] == 0
    (tmp_path / "moved").mkdir()
    for name in ("photos", "recipes"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    recipe = load_recipe(str(tmp_path / "moved/recipes/mine.yaml"))
    assert recipe.data.root == str(tmp_path / "moved/photos")
